"""What grows for sure, what may, and what does not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lstm_ray.stress.leaks import Growth, growth_of, growths_of
from lstm_ray.stress.processes import Sample

TIME_T = np.arange(0, 60, 0.5)
START = 300e6


def fit(value_T: NDArray, what: str = "memory") -> Growth:
    found = growth_of("replicas", what, TIME_T, value_T, 0.1)
    assert found is not None
    return found


def walk(seed: int, deviation: float) -> NDArray:
    """Noise whose values follow each other."""
    random, noise_T = np.random.default_rng(seed), np.zeros(len(TIME_T))
    for t in range(1, len(noise_T)):
        noise_T[t] = 0.7 * noise_T[t - 1] + random.normal(0, deviation)
    return noise_T


def test_a_leak_is_told_with_its_rate() -> None:
    found = fit(START + 1e6 * TIME_T + walk(0, 1e6))
    assert found.state == "leaks"
    assert found.per_hour == pytest.approx(3_600e6, rel=0.1)
    assert found.low < 1e6 * found.seconds < found.high


def test_memory_that_fills_at_first_and_then_stays_does_not_leak() -> None:
    found = fit(START + 100e6 * (1 - np.exp(-TIME_T / 3)) + walk(1, 1e6))
    assert found.state in ("steady", "grows")


def test_slow_growth_is_told_but_is_no_leak() -> None:
    found = fit(START + 0.2e6 * TIME_T)
    assert (found.state, found.growth < found.limit) == ("grows", True)


def test_what_is_too_noisy_to_tell_is_told_as_unclear() -> None:
    assert fit(START + walk(2, 60e6)).state == "unclear"


def test_what_never_changed_is_steady_to_the_byte() -> None:
    found = fit(np.full(len(TIME_T), 53.0), "files")
    assert (found.state, found.growth, found.low, found.high) == ("steady", 0.0, 0.0, 0.0)


def test_noise_alone_is_hardly_ever_called_growth() -> None:
    wrong = sum(fit(START + walk(seed, 1e6)).state in ("grows", "leaks") for seed in range(200))
    assert wrong <= 24, "2.5 % were the samples many and the noise not correlated; at 90 correlated ones a little more"


def test_a_few_files_more_are_no_leak_but_many_are() -> None:
    assert fit(20 + TIME_T / 10, "files").state != "leaks"
    assert fit(20 + TIME_T, "files").state == "leaks"


def test_too_few_samples_tell_nothing() -> None:
    assert growth_of("replicas", "memory", TIME_T[:15], np.full(15, START), 0.1) is None
    assert growth_of("replicas", "memory", TIME_T[:0], TIME_T[:0], 0.1) is None


def test_every_role_is_judged_by_its_memory_and_its_files() -> None:
    samples = [
        Sample(time, role, int(START + grown * time), 50, 0.0)
        for time in TIME_T.tolist()
        for role, grown in (("replicas", 0.0), ("register", 2e6))
    ]
    told = {(one.role, one.what): one.state for one in growths_of(samples, 0.1)}
    assert told == {
        ("replicas", "memory"): "steady",
        ("replicas", "files"): "steady",
        ("register", "memory"): "leaks",
        ("register", "files"): "steady",
    }
