"""Labels of steps are scored where there is a truth, beside baselines that read the training part alone."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import f1_score, mean_absolute_error, r2_score

from lstm_ray.data.steps import labelled_rows, step_ranges
from lstm_ray.data.windows import Segments, rows_of
from lstm_ray.errors import InputError
from lstm_ray.evaluate.choosing.validation import validation_metrics
from lstm_ray.evaluate.labels.baselines import fit_label_baselines, histories
from lstm_ray.evaluate.labels.evaluation import evaluate_labels
from lstm_ray.evaluate.labels.figures import Answers, by_level, stretches
from lstm_ray.evaluate.labels.metrics import label_metrics
from lstm_ray.evaluate.labels.patterns import Race, by_rmse
from lstm_ray.evaluate.told import Evaluation
from lstm_ray.run_dir import to_json
from tests import made

SEGMENTS = {kind: made.labelled_of((240, 60, 200), (0, 100, 30), kind) for kind in ("class", "value")}
SMALL = {"evaluate__missing": [0.3], "evaluate__noise": [0.5], "evaluate__robustness_windows": 5}


class Oracle:
    """Tells the truth, but for the steps that it is told to get wrong."""

    def __init__(self, segments: Segments, wrong: NDArray | None = None) -> None:
        assert segments.label_R is not None
        self.label_R, self.num_classes = segments.label_R.copy(), len(segments.schema.classes)
        for row in [] if wrong is None else wrong:
            self.label_R[row] = 1 - self.label_R[row] if self.num_classes else self.label_R[row] + 10

    def tell_steps(self, segments: Segments, range_S2: NDArray, batch: int = 512) -> NDArray:
        rows = rows_of(range_S2)
        label_M = np.nan_to_num(self.label_R[rows % len(self.label_R)])
        return np.eye(self.num_classes)[label_M.astype(int)] if self.num_classes else label_M[:, None]


def evaluated(kind: str, wrong: int = 0, segments: Segments | None = None) -> tuple[Evaluation, NDArray]:
    segments = segments or SEGMENTS[kind]
    rows = labelled_rows(segments, made.PARTS, "test")
    config = made.label_config(data__label_kind=kind, **SMALL)
    policy = Oracle(segments, rows[:wrong])
    return evaluate_labels(config, "train", policy, made.scaler_of(segments), segments, made.PARTS), rows


def test_classes_are_scored_over_every_labelled_test_step() -> None:
    found, rows = evaluated("class", wrong=10)
    truth = SEGMENTS["class"].label_R[rows].astype(int)  # type: ignore[index]
    told = np.where(np.arange(len(rows)) < 10, 1 - truth, truth)
    assert found.num_windows == len(rows)
    assert found.metrics["accuracy"] == pytest.approx(1 - 10 / len(rows))
    assert found.metrics["macro_f1"] == pytest.approx(f1_score(truth, told, average="macro"))
    assert np.sum(found.details["confusion"]["rows_are_truth"]) == len(rows)
    assert set(found.details["by_class"]) == {"high", "low"}
    assert set(found.baselines) == {"majority", "logistic_regression", "history_logistic"}
    assert 0 < found.metrics["segment_f1"] < 1  # type: ignore[operator]
    by_overlap = found.details["segment_f1_by_overlap"]["policy"]
    assert by_overlap["10"] >= by_overlap["25"] >= by_overlap["50"] == found.metrics["segment_f1"]
    assert found.scaled == {}
    assert "macro F1" in found.summary
    assert f"{len(rows):,} labelled test steps" in found.summary


def test_values_are_scored_in_their_own_units_and_in_training_deviations() -> None:
    found, rows = evaluated("value", wrong=10)
    assert found.metrics["mae"] == pytest.approx(10 * 10 / len(rows), rel=1e-4)
    assert found.metrics["mse"] == pytest.approx(100 * 10 / len(rows), rel=1e-4)
    scale = made.scaler_of(SEGMENTS["value"]).label
    assert scale is not None
    assert found.scaled["mae"] == pytest.approx(found.metrics["mae"] / scale.deviation[0], rel=1e-4)  # type: ignore[operator]
    assert set(found.details["baselines_scaled"]) == set(found.baselines) == {"mean", "ridge"}
    truth, mean = SEGMENTS["value"].label_R[rows], 0.0  # type: ignore[index]
    train = labelled_rows(SEGMENTS["value"], made.PARTS, "train")
    mean = float(SEGMENTS["value"].label_R[train].mean())  # type: ignore[index]
    assert found.baselines["mean"]["mae"] == pytest.approx(
        mean_absolute_error(truth, np.full(len(truth), mean)), rel=1e-4
    )
    assert found.baselines["ridge"]["mae"] < 0.2 * found.baselines["mean"]["mae"], "the label is linear in the inputs"  # type: ignore[operator]


@pytest.mark.parametrize("kind", ["class", "value"])
def test_everything_left_behind_is_plain_json(kind: str) -> None:
    found, _ = evaluated(kind, wrong=3)
    assert json.loads(to_json({"m": found.metrics, "d": found.details, "b": found.baselines, "t": found.tables}))
    ids = [figure.id for figure in found.figures]
    assert [part.topic for part in found.told] == ["Against the baselines", "Where it errs", "Under damage"]
    beside, errs = ([figure.id for figure in part.figures] for part in found.told[:2])
    assert beside[0] == "stretch"
    assert beside[-1] == "error-by-series"
    assert ("roc" in beside) == (kind == "class")
    first = {"class": ["confusion", "calibration"], "value": ["told-beside-true", "bias-by-level"]}[kind]
    assert errs == [*first, "error-by-hour", "error-by-weekday"]
    assert "Series by series" in [table["title"] for table in found.told[1].tables]
    assert {"damage-overview", "robustness"} <= set(ids)
    assert len(set(ids)) == len(ids)
    for figure in found.figures:
        assert figure.caption.endswith(".")
        to_json(figure.model_dump())
    stretch = found.figures[ids.index("stretch")]
    shown = stretch.traces[0]["y"] if kind == "class" else [trace["name"] for trace in stretch.traces]
    assert set(shown) >= {"true", "policy"}
    curves = {curve["kind"]: curve for curve in found.details["robustness"]}
    assert curves["missing"]["metric"] == ("macro_f1" if kind == "class" else "mae")


def test_a_policy_worse_than_a_baseline_is_warned_of() -> None:
    good, _ = evaluated("value")
    bad, _ = evaluated("value", wrong=60)
    assert good.findings[0].severity != "warning"
    assert good.skill == pytest.approx(1)
    assert bad.findings[0].severity == "warning"
    assert "the best baseline" in bad.findings[0].text
    assert "Serve the ridge instead" in bad.findings[0].advice


def test_baselines_are_fitted_on_the_training_part_alone() -> None:
    for segments in SEGMENTS.values():
        spoilt = replace(segments, label_R=np.array(segments.label_R))
        assert spoilt.label_R is not None
        # The validation part chooses how strong a penalty is.
        rows = labelled_rows(segments, made.PARTS, "test")
        spoilt.label_R[rows] = 1 - spoilt.label_R[rows]
        window = made.label_config().window
        whole = np.stack([segments.bounds[:-1], segments.bounds[1:]], axis=1)
        models, others = (fit_label_baselines(some, made.PARTS, window) for some in (segments, spoilt))
        for name, model in models.items():
            np.testing.assert_allclose(others[name].tell_steps(segments, whole), model.tell_steps(segments, whole))


def test_a_history_repeats_the_first_step_and_sees_no_later_one() -> None:
    segments = SEGMENTS["value"]
    rows = np.array([0, 2, 240, 300])
    found = histories(segments, rows, 3)[:, :: 1 + segments.known_RK.shape[1]]
    past = segments.past_RP[:, 0]
    np.testing.assert_array_equal(found, [past[[0, 0, 0]], past[[2, 1, 0]], past[[240] * 3], past[[300] * 3]])


def test_a_test_part_without_labels_and_a_training_part_of_one_class_are_refused() -> None:
    segments = SEGMENTS["class"]
    steps = segments.steps(np.arange(len(segments.past_RP)))
    none = np.where(steps >= 180, np.nan, segments.label_R).astype(np.float32)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no step has a label in the test part"):
        evaluated("class", segments=replace(segments, label_R=none))
    one = np.where(steps < 140, 1, segments.label_R).astype(np.float32)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="labelled steps of the class 'low' alone"):
        evaluated("class", segments=replace(segments, label_R=one))


@pytest.mark.parametrize("kind", ["class", "value"])
def test_validation_reads_the_labelled_steps_of_its_part(kind: str) -> None:
    segments = SEGMENTS[kind]
    policy = made.random_policy(made.label_config(data__label_kind=kind), segments)
    found = validation_metrics(policy, segments, made.PARTS)
    range_S2 = step_ranges(segments, made.PARTS, "validation")
    rows = rows_of(range_S2)
    truth = segments.label_R[rows]  # type: ignore[index]
    told = policy.tell_steps(segments, range_S2)
    counted = ~np.isnan(truth)
    if kind == "class":
        assert found["accuracy"] == pytest.approx((told.argmax(1) == truth)[counted].mean())
    else:
        assert found["mae"] == pytest.approx(np.abs(told[:, 0] - truth)[counted].mean(), rel=1e-5)
    silent = replace(segments, label_R=np.full_like(segments.label_R, np.nan))
    with pytest.raises(InputError, match="no step was labelled in the validation part"):
        validation_metrics(policy, silent, made.PARTS)


def test_the_worst_stretch_is_the_one_with_most_errors() -> None:
    segments = made.labelled_of((900, 900), (0, 0))
    assert segments.label_R is not None
    rows = np.flatnonzero(~np.isnan(segments.label_R))
    truth = segments.label_R[rows]
    wrong = (rows >= 1200) & (rows < 1500)
    policy = np.eye(2)[np.where(wrong, 1 - truth, truth).astype(int)]
    seen = Answers(segments, rows, {"policy": policy, "majority": np.full((len(rows), 2), 0.5)}, truth)
    middle, worst = seen.stretch(0.5), seen.stretch(1.0)
    assert wrong[worst].sum() > 0.9 * wrong.sum()
    assert not wrong[seen.stretch(0.0)].any()
    for shown in (middle, worst):
        assert len(set(segments.series_of(rows[shown]))) == 1, "no stretch crosses a segment"
    assert [figure.id for figure in stretches(seen, "majority")] == ["stretch", "worst-stretch"]


def test_errors_by_level_are_mean_differences_of_equally_many_steps() -> None:
    segments = SEGMENTS["value"]
    assert segments.label_R is not None
    rows = labelled_rows(segments, made.PARTS, "test")
    truth = segments.label_R[rows]
    flat = np.full((len(rows), 1), truth.mean())
    found = by_level(Answers(segments, rows, {"policy": flat}, truth), ["policy"])
    assert found is not None
    assert len(found.names) == 5
    groups = np.array_split(np.sort(truth), 5)
    np.testing.assert_allclose(found.bias_G["policy"], [truth.mean() - group.mean() for group in groups], atol=0.05)
    alike = Answers(segments, rows, {"policy": flat}, np.ones_like(truth))
    assert by_level(alike, ["policy"]) is None


def test_large_errors_that_tell_another_story_than_the_average_one_are_told() -> None:
    def race(rmse: float) -> Race:
        metrics = {"policy": {"mae": 1.0, "rmse": rmse}, "ridge": {"mae": 1.2, "rmse": 2.0}}
        return Race("train", "ridge", metrics, None, "values", 100)

    assert by_rmse(race(1.5)) == []
    told = by_rmse(race(2.5))
    assert [one.severity for one in told] == ["advice"]
    assert "2.5 for the policy, 2 for the ridge" in told[0].text


def test_r2_is_scikit_learns_and_undefined_where_all_labels_are_alike() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=80).astype(np.float32)
    told = truth + rng.normal(size=80).astype(np.float32)
    schema = SEGMENTS["value"].schema
    assert label_metrics(told[:, None], truth, schema)["r2"] == pytest.approx(r2_score(truth, told), rel=1e-5)
    assert label_metrics(told[:, None], np.ones_like(truth), schema)["r2"] is None


def test_a_class_that_the_test_part_lacks_is_named_and_leaves_no_hole() -> None:
    segments = SEGMENTS["class"]
    rows = labelled_rows(segments, made.PARTS, "test")
    label_R = np.array(segments.label_R)
    label_R[rows] = 0
    found, _ = evaluated("class", wrong=5, segments=replace(segments, label_R=label_R))
    assert found.metrics["roc_auc"] is None
    assert found.metrics["segment_f1"] is not None
    assert any(f"All {len(rows):,} test steps are 'high'" in f.text for f in found.findings)
    to_json([found.metrics, found.baselines, found.details, found.tables, [f.model_dump() for f in found.figures]])


def test_a_validation_part_without_labels_tells_no_threshold() -> None:
    segments = SEGMENTS["class"]
    label_R = np.array(segments.label_R)
    label_R[labelled_rows(segments, made.PARTS, "validation")] = np.nan
    found, _ = evaluated("class", wrong=5, segments=replace(segments, label_R=label_R))
    assert not any("on the validation part" in f.text for f in found.findings)
    assert set(found.baselines) == {"majority", "logistic_regression", "history_logistic"}
