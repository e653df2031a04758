"""How far new data lies from training, on planted shifts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ks_2samp, wasserstein_distance

from lstm_ray.data.preparing.unseen import after_training, alone
from lstm_ray.data.windows import Segments
from lstm_ray.monitor.drift import drift
from lstm_ray.monitor.new_data import shift
from lstm_ray.run_dir import to_json
from tests import made

LENGTH = 1500
PARTS = {"train": (0, 1200), "validation": (1200, 1300), "test": (1300, LENGTH)}


def _noise(seed: int) -> Segments:
    """One series of white noise, of which every value counts."""
    segments, random = made.segments_of([LENGTH], seed=seed), np.random.default_rng(seed)
    shape = segments.target_RC.shape
    return replace(
        segments,
        target_RC=random.normal(10, 2, shape).astype(np.float32),
        observed_RC=np.ones(shape, np.float32),
        past_RP=random.normal(0, 1, segments.past_RP.shape).astype(np.float32),
    )


def _rows(new: Segments, old: Segments, missing: dict[str, float] | None = None) -> list[shift.Row]:
    segments, parts = after_training(old, PARTS, new, 12, False)  # type: ignore[arg-type]
    return shift.measure(segments, parts, drift.reference(old, PARTS), missing or {}, {"load": 0.0})  # type: ignore[arg-type]


def test_a_mean_that_moved_by_two_deviations_is_measured_as_such() -> None:
    old, new = _noise(0), _noise(1)
    new = replace(new, target_RC=new.target_RC + 4)
    load, wind = _rows(new, old)
    assert (load["column"], load["state"], wind["state"]) == ("load", "shifted", "stable")
    assert load["moved_deviations"] == pytest.approx(2, abs=0.15)
    train, found = old.target_RC[:1200, 0].astype(float), new.target_RC[:, 0].astype(float)
    assert load["ks"] == pytest.approx(ks_2samp(train, found, method="asymp").statistic)
    assert load["wasserstein_deviations"] == pytest.approx(wasserstein_distance(train, found) / train.std(), rel=1e-3)
    [text] = [finding.text for finding in shift.findings([load, wind], shift.strangers(new, {"s0"}))][:1]
    assert text.startswith("load is ")
    assert "training deviations higher on average (9.9" in text


def test_a_policy_alone_tells_the_same_psi_and_a_lower_bound_of_the_distance() -> None:
    old, new = _noise(0), _noise(1)
    new = replace(new, target_RC=new.target_RC + 4)
    reference = drift.reference(old, PARTS)  # type: ignore[arg-type]
    without = shift.measure(*alone(new), reference, {}, {})[0]
    with_training = _rows(new, old)[0]
    assert without["psi"] == with_training["psi"]
    assert without["wasserstein_deviations"] is None
    assert with_training["ks"] - 0.1 < without["ks"] <= with_training["ks"] + 1e-9


def test_a_swing_that_training_has_seen_is_no_warning() -> None:
    swing = 6 * np.sign(np.sin(np.arange(LENGTH) * 2 * np.pi / 1200))[:, None].astype(np.float32)
    old, new = _noise(0), _noise(1)
    old = replace(old, target_RC=old.target_RC + swing)
    up = new.stretches(np.asarray([[0, 600]]))
    up = replace(up, target_RC=up.target_RC + 6)
    row = _rows(up, old)[0]
    assert row["column"] == "load"
    assert row["state"] == "shifted"
    assert row["usual_psi"] == pytest.approx(row["psi"], rel=0.2)
    far = replace(up, target_RC=up.target_RC + 6)
    [finding] = [one for one in shift.findings(_rows(far, old), shift.strangers(far, None)) if "load" in one.text]
    assert finding.severity == "warning"


def test_more_missing_new_series_and_unseen_categories_are_said() -> None:
    old, new = _noise(0), _noise(1)
    told = shift.findings(_rows(new, old, {"load": 0.4}), shift.strangers(new, {"another"}))
    words = " ".join(finding.text for finding in told)
    assert "40 % of load is missing, against 0 %" in words
    assert "1 of 1 series are new to the policy" in words


def test_tables_and_figures_are_plain() -> None:
    old, new = _noise(0), _noise(1)
    new = replace(new, target_RC=new.target_RC + 4)
    segments, parts = after_training(old, PARTS, new, 12, False)  # type: ignore[arg-type]
    rows, reference = _rows(new, old), drift.reference(old, PARTS)  # type: ignore[arg-type]
    to_json([shift.table(rows), *shift.figures(rows, reference, segments, parts)])
    assert [figure.id for figure in shift.figures(rows, reference, segments, parts)] == ["shift", "shift-values"]


def test_few_values_are_not_called_unmoved() -> None:
    old, new = _noise(0), _noise(1).stretches(np.asarray([[0, 100]]))
    new = replace(new, target_RC=new.target_RC + 4)
    [finding] = shift.findings(_rows(new, old), shift.strangers(new, None))
    assert "too few for a PSI; load lies farthest from training" in finding.text
    assert finding.severity == "warning"
    assert "units" in finding.advice
    assert shift.in_a_line(_rows(new, old)).startswith("load lies elsewhere than in training, its mean 2")


def test_few_values_like_those_of_training_are_not_called_unmoved_either() -> None:
    rows = _rows(_noise(1).stretches(np.asarray([[0, 100]])), _noise(0))
    assert "too few values to tell" in shift.in_a_line(rows)
    assert shift.findings(rows, {"num_new_series": 0, "unseen_categories": {}})[0].severity == "info"
    assert shift.in_a_line(_rows(_noise(1), _noise(0))) == "no column has shifted"
