"""Which groups of series fare worse than may be luck."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lstm_ray.config import parse
from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.classes.evaluation import evaluate_classes
from lstm_ray.evaluate.forecasts.evaluation import evaluate_forecast
from lstm_ray.evaluate.groups import Errors, Grouping, groupings, judged, told
from lstm_ray.evaluate.labels.evaluation import evaluate_labels
from lstm_ray.run_dir import to_json
from tests import made
from tests.evaluate.forecasts.test_evaluation import CONFIG


def errors_of(error_M: Any, segment_M: Any, step_M: Any, **values: Any) -> Errors:
    count = np.ones(len(error_M))
    given: dict[str, Any] = {"dependence": 12, "what": "mean absolute error", "things": "windows"} | values
    return Errors(np.asarray(error_M), count, np.asarray(segment_M), np.asarray(step_M), **given)


def made_up(worse: float, steps: int = 2000, groups: int = 4, seed: int = 0) -> Errors:
    """Exponential errors of segments side by side in time; those of the last are so many times as large."""
    random = np.random.default_rng(seed)
    size = np.where(np.arange(groups) == groups - 1, worse, 1.0)
    error_SM = random.exponential(1.0, (groups, steps)) * size[:, None]
    return errors_of(error_SM.ravel(), np.repeat(np.arange(groups), steps), np.tile(np.arange(steps), groups))


GROUPING = Grouping("kind", ["a", "b", "c", "d"], np.arange(4))


def test_a_group_that_is_worse_is_flagged_with_its_numbers() -> None:
    found = judged(made_up(2.0), GROUPING)
    assert found[0].value == "d"
    assert found[0].ratio == pytest.approx(2.0 / 1.25, rel=0.1)
    assert [one.value for one in found if one.is_flagged(1.25)] == ["d"]
    [finding] = told(made_up(2.0), [GROUPING], 1.25).findings
    assert finding.severity == "warning"
    assert "By 'kind' the worst group is 'd'" in finding.text
    assert "more than luck" in finding.text


def test_equal_groups_are_not_flagged_more_often_than_stated() -> None:
    """Also where groups are small: at a max_gap that noise alone exceeds often."""
    flagged = 0
    for seed in range(100):
        found = judged(made_up(1.0, steps=200, seed=seed), GROUPING)
        flagged += any(one.is_flagged(1.0 + 1e-9) for one in found)
    assert flagged <= 8, "a 95 % level, over all groups together, and one-sided"


def test_a_small_group_is_told_and_not_judged() -> None:
    whole = made_up(1.0)
    few = errors_of([50.0] * 10, [4] * 10, range(10))
    joined = Errors(
        *(np.concatenate([getattr(whole, n), getattr(few, n)]) for n in ("error_M", "count_M", "segment_M", "step_M")),
        dependence=12,
        what="mean absolute error",
        things="windows",
    )
    grouping = Grouping("kind", ["a", "b", "c", "d", "e"], np.arange(5))
    part = told(joined, [grouping], 1.25)
    [finding] = part.findings
    assert "1 of 5 have fewer than 30 windows and are not judged" in finding.text
    assert "'e'" not in finding.text
    rows = {row[0]: row[-1] for row in part.tables[0]["rows"]}
    assert rows["e"] == "few"


def test_a_gap_that_may_be_luck_is_said_to_be() -> None:
    short = made_up(2.0, steps=40)
    [finding] = told(short, [GROUPING], 1.25).findings
    assert finding.severity == "advice"
    assert "may be luck" in finding.text
    assert "too short a time" in finding.text


def test_groups_are_read_from_names_categories_and_static_numbers() -> None:
    plain = made.segments_of((60, 60), schema=made.schema_of(known=("size",)))
    plain.known_RK[:60, 0], plain.known_RK[60:, 0] = 1.5, 3.0
    schema = plain.schema.model_copy(update={"categories": {"kind": ["shop", "store"]}})
    segments: Segments = replace(
        plain, schema=schema, category_SK=np.array([[0], [2]]), series=["north | one", "south | one"]
    )
    by = {one.column: one for one in groupings(segments, ["kind", "size", "region", "till"], ["region", "till"])}
    assert [by["kind"].values[i] for i in by["kind"].index_S] == ["(not in the training part)", "store"]
    assert [by["size"].values[i] for i in by["size"].index_S] == ["1.5", "3"]
    assert [by["region"].values[i] for i in by["region"].index_S] == ["north", "south"]
    assert by["till"].values == ["one"]


def config_of(**values: Any) -> Any:
    tree = CONFIG.model_dump(mode="json")
    tree["data"]["series_id"] = ["who"]
    tree["evaluate"] |= {"groups": ["who"]} | values
    return parse(tree)


def test_a_forecast_tells_error_bias_and_coverage_of_each_group(make_data, fake_policy) -> None:
    data = make_data(steps=3000)
    policy = fake_policy(quantiles=[0.1, 0.5, 0.9], spread=2.0)
    noisy = data.segments.series_of(np.arange(len(data.segments.target_RC))) == len(data.segments.series) - 1
    data.segments.target_RC[noisy] += np.random.default_rng(0).normal(0, 2, (noisy.sum(), 1)).astype(np.float32)
    found = evaluate_forecast(config_of(), "train", policy, data.scaler, data.segments, data.parts)
    by = found.details["groups"]["by"]["who"]
    to_json(found.details)
    assert [one["value"] for one in by if one["flagged"]] == ["s2"]
    assert {one["value"] for one in by} == {"s0", "s1", "s2"}
    worst = by[0]
    assert worst["coverage"] < by[1]["coverage"]
    assert worst["error"] == pytest.approx(found.details["by_series"]["policy"]["s2"], rel=1e-4)
    assert {"mase", "bias", "coverage"} <= worst.keys()
    assert any(one.topic == "Groups" and one.severity == "warning" for one in found.findings)
    assert any(table["title"] == "By 'who'" for table in found.tables)


def test_labels_are_judged_by_group_too() -> None:
    """One series of labelled steps is always told wrong."""
    config = made.label_config(data__series_id=["site"], evaluate__groups=["site"], evaluate__damage=[])
    segments = made.labelled_of((240, 240))

    class Teller:
        def tell_steps(self, given: Segments, range_S2: Any, batch: int = 512) -> Any:
            rows = [np.arange(a, b) for a, b in range_S2]
            answers = [
                np.eye(len(given.schema.classes))[
                    (np.nan_to_num(given.label_R[r]).astype(int) + (s == 1)) % len(given.schema.classes)
                ]
                for s, r in enumerate(rows)
            ]
            return np.concatenate(answers)

    scaler = made.scaler_of(segments)
    found = evaluate_labels(config, "train", Teller(), scaler, segments, made.PARTS)  # type: ignore[arg-type]
    by = {one["value"]: one for one in found.details["groups"]["by"]["site"]}
    assert sorted(one["error"] for one in by.values()) == [0.0, 1.0]


def test_sequences_are_judged_by_group_too(sequences_data, fake_classifier) -> None:
    """A classified sequence has no inputs but past ones, so its groups are those of its name."""
    data = sequences_data
    odd = np.arange(len(data.segments.series)) % 2
    names = [f"{'odd' if o else 'even'} | {n}" for n, o in enumerate(odd)]
    flipped = np.where(odd == 1, 1 - data.segments.label, data.segments.label)
    segments = replace(data.segments, series=names, label=flipped)
    config = made.classify_config(data__series_id=["ward", "day"], evaluate__groups=["ward"], evaluate__damage=[])
    found = evaluate_classes(config, "train", fake_classifier(), data.scaler, segments, data.parts)
    by = {one["value"]: one for one in found.details["groups"]["by"]["ward"]}
    assert by["odd"]["error"] > 0.5 > by["even"]["error"]
    assert found.details["groups"]["error"] == "share of sequences told wrong"
