"""A calibrated policy: carried, answered everywhere in the same way, and never what futures are sampled by."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_ray.data.scaling.transform import Transform
from lstm_ray.data.windows import Segments, origins
from lstm_ray.errors import InputError
from lstm_ray.evaluate.intervals.calibrating import calibrated, conformal_of
from lstm_ray.evaluate.intervals.sample import sampled
from lstm_ray.model.conformal import Conformal
from lstm_ray.model.policy import Forecast, Policy
from lstm_ray.plan.futures.residuals import errors_of
from lstm_ray.plan.futures.rollouts import roll
from lstm_ray.plan.futures.starts import World, start_of
from lstm_ray.serving import bundle
from tests import made
from tests.test_architecture import BLOCK, python

LEVELS = [0.1, 0.5, 0.9]
SEGMENTS = made.segments_of([240, 240])
ROWS = np.array([60, 90, 300])


def policy(**values: Any) -> Policy:
    return made.random_policy(made.make_config(model__quantiles=LEVELS, **values), SEGMENTS)


def calibrated_policy(**values: Any) -> Policy:
    found = policy(**values)
    found.calibration = calibrated(found, SEGMENTS, made.PARTS)
    assert found.calibration is not None
    return found


def test_calibrated_quantiles_are_answered_by_windows_and_by_series_alike_and_the_median_stays() -> None:
    plain, found = policy(), calibrated_policy()
    before, after = (one.forecast_windows(SEGMENTS, ROWS) for one in (plain, found))
    np.testing.assert_array_equal(after[..., 1], before[..., 1])
    assert np.abs(after - before)[..., [0, 2]].min() > 0
    assert (np.diff(after) >= 0).all()
    segments = replace(SEGMENTS, observed_RC=np.ones_like(SEGMENTS.observed_RC))
    [answer] = found.predict([made.series_input(segments, 90, 12, 6)])
    assert isinstance(answer, Forecast)
    np.testing.assert_allclose(answer.values_HCQ, found.forecast_windows(segments, ROWS[1:2])[0], rtol=1e-4)


def test_asked_by_levels_it_answers_as_the_network_gives_them() -> None:
    found = calibrated_policy()
    asked = found.forecast_windows(SEGMENTS, ROWS, levels=found.quantiles)
    np.testing.assert_array_equal(asked, policy().forecast_windows(SEGMENTS, ROWS))


@pytest.mark.parametrize("values", [{}, {"model__distribution": "student_t"}], ids=["quantiles", "distribution"])
def test_futures_are_sampled_alike_whether_a_policy_is_calibrated_or_not(values: dict[str, Any]) -> None:
    futures = []
    for one in (policy(**values), calibrated_policy(**values)):
        world = World(SEGMENTS, one.scaler, one.config, errors_of(one, SEGMENTS, made.PARTS))
        futures.append(roll(one.forecast_batch, world, start_of(world, ROWS[:1]), 8))
    np.testing.assert_array_equal(futures[0], futures[1])


def test_a_calibration_survives_the_round_trip_and_changes_the_version(tmp_path: Path) -> None:
    plain, found = policy().save(tmp_path), calibrated_policy()
    version = found.save(tmp_path)
    assert version != plain
    assert set(bundle.pack(tmp_path)) == {"policy.json", "weights.safetensors", "conformal.safetensors"}
    for again in (Policy.load(tmp_path), bundle.unpack(bundle.pack(tmp_path)), bundle.unpack(bundle.find(tmp_path))):
        assert again.version == version
        assert again.calibration is not None
        assert again.calibration.words() == found.calibration.words()  # type: ignore[union-attr]
        np.testing.assert_array_equal(again.forecast_windows(SEGMENTS, ROWS), found.forecast_windows(SEGMENTS, ROWS))


def test_a_policy_without_a_calibration_loads_and_leaves_none_behind(tmp_path: Path) -> None:
    calibrated_policy().save(tmp_path)
    policy().save(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"policy.json", "weights.safetensors"}
    assert "conformal" not in json.loads((tmp_path / "policy.json").read_text())
    assert Policy.load(tmp_path).calibration is None


def test_an_altered_or_missing_calibration_is_refused(tmp_path: Path) -> None:
    calibrated_policy().save(tmp_path)
    file = tmp_path / "conformal.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match="was altered"):
        Policy.load(tmp_path)
    file.unlink()
    with pytest.raises(InputError, match=r"conformal\.safetensors"):
        Policy.load(tmp_path)


def logarithms(segments: Segments) -> Policy:
    config = made.make_config(model__quantiles=LEVELS, preprocess__transform="log")
    transform = Transform(kind="log", power=[0.0], offset=[1.0], least=[0.0], unit=[1.0])
    found = made.random_policy(config, segments)
    learned = transform.apply(segments.target_RC)
    scale = found.scaler.target.model_copy(
        update={"mean": [float(learned.mean())], "deviation": [float(learned.std())]}
    )
    found.scaler = found.scaler.model_copy(update={"transform": transform, "target": scale})
    return found


@pytest.mark.parametrize("kind", ["plain", "log", "relu", "counts", "student_t"])
def test_validation_itself_is_held_as_often_as_said_whatever_is_learned(kind: str) -> None:
    segments = SEGMENTS
    if kind == "log":
        found = logarithms(segments)
    elif kind == "counts":
        segments = replace(segments, target_RC=np.rint(segments.target_RC))
        found = policy(model__distribution="negative_binomial")
    else:
        values = {"relu": {"model__output": "relu"}, "student_t": {"model__distribution": "student_t"}}
        found = policy(**values.get(kind, {}))
    found.calibration = calibrated(found, segments, made.PARTS)
    rows = origins(segments, made.PARTS, "validation", found.config.window)
    sample = sampled(found, segments, rows, found.scaler)
    assert found.calibration is not None
    answered = found.forecast_windows(segments, rows)
    # What is judged is what is answered.
    judged = sample.forecast(found.calibration.shift_HCQ, found.calibration.floor_C)
    np.testing.assert_allclose(answered, judged, rtol=2e-3, atol=2e-3)
    seen = np.isfinite(sample.actual_MHC)
    # Rounding puts a value that is the bound itself on either side of it.
    slack = 1e-3 * np.abs(answered[..., 0])
    inside = (answered[..., 0] - slack <= sample.actual_MHC) & (sample.actual_MHC <= answered[..., 2] + slack)
    share = inside[seen].mean()
    assert 0.78 < share < (0.99 if kind == "counts" else 0.9)
    if kind == "counts":
        assert (answered == np.rint(answered)).all()
        assert answered.min() >= 0
    if kind in ("log", "relu"):
        assert answered.min() >= 0


def test_a_policy_without_intervals_or_a_part_without_windows_has_no_calibration() -> None:
    assert calibrated(made.random_policy(made.make_config(), SEGMENTS), SEGMENTS, made.PARTS) is None
    assert calibrated(policy(), SEGMENTS, {**made.PARTS, "validation": (140, 143)}) is None


def test_a_calibration_is_found_from_windows_before_any_calibration() -> None:
    found = calibrated_policy()
    again = calibrated(found, SEGMENTS, made.PARTS)
    assert again is not None
    np.testing.assert_array_equal(again.shift_HCQ, found.calibration.shift_HCQ)  # type: ignore[union-attr]
    rows = origins(SEGMENTS, made.PARTS, "validation", found.config.window)
    assert isinstance(conformal_of(sampled(found, SEGMENTS, rows, found.scaler)), Conformal)


def test_a_calibration_is_read_where_numpy_alone_is_installed() -> None:
    done = python(BLOCK + "sys.modules['torch'] = None\nimport lstm_ray.model.conformal\n")
    assert done.returncode == 0, done.stderr
