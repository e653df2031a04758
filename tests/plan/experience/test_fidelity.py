"""What is unlike real sequences is told apart, what is real is not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from lstm_ray.data.windows import Segments
from lstm_ray.plan.experience import pictures as fidelity_pictures
from lstm_ray.plan.experience.fidelity import CONTROL, Pair, autocorrelations, correlations, fidelity_of, judged
from lstm_ray.plan.experience.making import real_of, variants_of
from lstm_ray.plan.experience.synthetic import Synthetic, together
from tests import made


def waves(seed: int, number: int = 120, noise: float = 0.3) -> np.ndarray:
    """Windows of a day's wave at random phases, and a column that follows it."""
    random = np.random.default_rng(seed)
    phase = random.uniform(0, 2 * np.pi, (number, 1))
    wave = np.sin(phase + 2 * np.pi * np.arange(72) / 24) + random.normal(0, noise, (number, 72))
    return np.stack([wave, wave + random.normal(0, noise, wave.shape)], axis=2)


def pair(made_up: np.ndarray, real: np.ndarray) -> Pair:
    return Pair(made_up, real, np.arange(len(made_up)), np.arange(len(real)))


def test_real_windows_are_not_told_from_other_real_ones() -> None:
    found = judged(pair(waves(0), waves(1)), 1, 48, 48)
    assert found.accuracy is not None
    assert 0.4 < found.accuracy < 0.6
    assert found.wasserstein < 0.1
    assert found.ks < 0.1
    assert found.autocorrelation is not None
    assert found.autocorrelation < 0.05
    assert found.correlation is not None
    assert found.correlation < 0.05


def test_much_noise_is_told_apart() -> None:
    noisy = waves(0) + np.random.default_rng(2).normal(0, 1.0, (120, 72, 2))
    found = judged(pair(noisy, waves(1)), 1, 48, 48)
    assert found.accuracy is not None
    assert found.accuracy > 0.95
    assert found.wasserstein > 0.2
    assert found.autocorrelation is not None
    assert found.autocorrelation > 0.2


def test_a_simulated_end_that_does_not_join_on_is_told_apart() -> None:
    broken = waves(0)
    broken[:, -24:] = waves(3)[:, :24]
    found = judged(pair(broken, waves(1)), 1, 24, 48)
    assert found.accuracy is not None
    assert found.accuracy > 0.7
    assert found.autocorrelation is not None
    assert found.autocorrelation > 0.2, "it hangs on nothing before it"
    assert found.wasserstein < 0.15, "though its values are as they should be"


def test_columns_that_no_longer_move_together_are_seen() -> None:
    parted = waves(0)
    parted[:, :, 1] = waves(3)[:, :, 1]
    found = judged(pair(parted, waves(1)), 1, 48, 48)
    assert found.correlation is not None
    assert found.correlation > 0.5
    assert found.accuracy is not None
    assert found.accuracy < 0.6, "the target itself is real"


def test_distances_are_those_of_known_shapes() -> None:
    steps = np.arange(72.0)
    wave = np.sin(2 * np.pi * steps / 24)[None, :, None].repeat(40, 0)
    acf = autocorrelations(wave, 48, 24)
    np.testing.assert_allclose(acf[[11, 23]], [-1, 1], atol=1e-6)
    np.testing.assert_allclose(correlations(np.concatenate([wave, -wave], axis=2)), [-1])
    moved = judged(pair(waves(0) + 0.5, waves(0)), 1, 48, 4)
    assert moved.wasserstein == pytest.approx(0.5)


def test_columns_that_never_vary_and_few_windows_are_said_to_tell_nothing() -> None:
    flat = np.zeros((8, 30, 2))
    found = judged(pair(flat, flat), 1, 10, 4)
    assert (found.autocorrelation, found.correlation, found.accuracy) == (None, None, None)
    assert found.wasserstein == 0


def real_and_made(segments: Segments, config, kinds: list[str], number: int) -> tuple:
    scaler = made.scaler_of(segments)
    real = real_of(segments, segments.scaled(scaler), scaler, made.PARTS, config)
    return real, together([variants_of(real, kind, number) for kind in kinds], real.items.num_rows)


def shaken(found: Synthetic) -> Synthetic:
    noise = np.random.default_rng(0).normal(0, 3, found.segments.target_RC.shape).astype(np.float32)
    return replace(found, segments=replace(found.segments, target_RC=found.segments.target_RC + noise))


def test_every_kind_is_judged_beside_a_control_and_told_in_words() -> None:
    kinds = ["jitter", "time_warp", "mixup", "recombine"]
    real, found = real_and_made(made.segments_of([240, 240]), made.make_config(), kinds, 40)
    told = fidelity_of(real, found)
    assert list(told) == [*kinds, CONTROL]
    assert all(one.accuracy is not None for one in told.values())
    control = told[CONTROL].accuracy
    assert control is not None
    assert control < 0.65
    awful = fidelity_of(real, shaken(found))
    assert all(one.accuracy > 0.9 for kind, one in awful.items() if kind != CONTROL and one.accuracy)
    table = fidelity_pictures.table(told)
    assert [row[0] for row in table["rows"]] == ["jitter", "time warp", "mixup", "recombine", CONTROL]  # type: ignore[attr-defined]
    json.dumps([table, [one.model_dump() for one in fidelity_pictures.figures(told)]], allow_nan=False)
    assert [one.severity for one in fidelity_pictures.findings(awful)] == ["advice"] * 4
    assert "told apart" in fidelity_pictures.findings(awful)[0].text


def test_sequences_to_classify_and_labelled_ones_are_judged_too() -> None:
    days = made.sequences_of([12, 9, 12, 5] * 20)
    scaler, config = made.scaler_of(days), made.classify_config()
    parts = {"train": (0, 24 * 80), "validation": (24 * 80, 24 * 80), "test": (24 * 80, 24 * 80)}
    real = real_of(days, days.scaled(scaler), scaler, parts, config)  # type: ignore[arg-type]
    found = fidelity_of(real, variants_of(real, "jitter", 60))
    assert found["jitter"].accuracy is not None
    real, one = real_and_made(made.labelled_of([240]), made.label_config(), ["jitter"], 5)
    assert fidelity_of(real, one)["jitter"].windows > 0
