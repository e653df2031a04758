"""Synthetic experience is kept only where it beats both others, and not by luck."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from lstm_ray.plan.experience.verdict import MIXED, Scored, Verdict, decide
from tests import made

STEPS = np.arange(300)


def scored(mean: float, seed: int, **metrics: float) -> Scored:
    """Errors of 300 windows about a mean."""
    error = mean + np.random.default_rng(seed).normal(0, 0.05, 300)
    return Scored(metrics or {"mae": mean}, error, STEPS, np.ones(300))


def verdict(base: float, controls: list[float], mixeds: list[float], **values: Any) -> Verdict:
    arms = [
        [scored(mean, seed + 100 * turn) for seed, mean in enumerate(arm)]
        for turn, arm in enumerate((controls, mixeds))
    ]
    seeds = list(range(7, 7 + len(mixeds)))
    return decide(made.make_config(), {"mae": base}, *arms, seeds, {"rollouts": 1234, "time_warp": 5}, 125, **values)


@pytest.mark.parametrize(
    ("base", "controls", "mixeds", "reason"),
    [
        (1.0, [0.9, 0.91, 0.9], [0.8, 0.79, 0.8], ""),
        (1.0, [0.8, 0.81, 0.8], [0.9, 0.89, 0.9], "no better than as many steps on real"),
        (0.8, [1.0, 1.01, 1.0], [0.9, 0.89, 0.9], "no better than the policy as trained"),
        (1.0, [0.9, 0.9, 0.9], [0.9, 0.9, 0.9], "no better than as many steps on real"),
        (1.0, [0.9, 0.9, 0.9], [0.8999, 0.8999, 0.8999], "may be luck"),
        # Two seeds gain much and the third loses: the seeds' own spread says that it may be luck.
        (1.0, [0.9, 0.9, 0.9], [0.8, 0.8, 0.97], "may be luck"),
        (0.85, [0.95, 0.9, 0.9], [0.86, 0.8, 0.8], "of seed 7, is no better than the policy as trained (0.86)"),
    ],
)
def test_only_a_clear_gain_is_kept(base: float, controls: list[float], mixeds: list[float], reason: str) -> None:
    found = verdict(base, controls, mixeds)
    assert found.kept == (not reason)
    assert reason in " and ".join(found.against)
    assert found.words.startswith(f"Synthetic experience {'kept' if found.kept else 'dropped'}")
    assert f"validation mae {base:.4g} before" in found.words
    assert "1,234 rollouts, 5 time warp" in found.words
    assert "3 seeds" in found.words
    assert found.table()["best"] == (2 if found.kept else 0)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["kept"] == found.kept


def test_no_gain_is_called_no_gain() -> None:
    assert "dropped, no gain:" in verdict(1.0, [0.8, 0.8], [0.9, 0.9]).words
    assert "dropped, no gain:" not in verdict(1.0, [0.9, 0.9], [0.8999, 0.8999]).words


def test_the_words_tell_difference_interval_p_and_test() -> None:
    found = verdict(1.0, [0.9, 0.91, 0.9], [0.8, 0.79, 0.8])
    assert found.paired.gain == pytest.approx(0.107, abs=0.01)
    for part in (
        "90 % interval of the fall +0.0",
        "one-sided p",
        "Diebold-Mariano, 300 origin times",
        "of which 3 gained",
        "125 steps",
    ):
        assert part in found.words


def test_classes_are_judged_by_f1_and_tested_case_by_case() -> None:
    right = np.arange(300) % 10

    def one(wrong_below: int, f1: float) -> Scored:
        return Scored({"macro_f1": f1}, (right < wrong_below).astype(float), STEPS, np.ones(300))

    config = made.classify_config()
    found = decide(config, {"macro_f1": 0.7}, [one(3, 0.7)], [one(2, 0.8)], [7], {"jitter": 9}, 10)
    assert found.kept
    assert found.paired.test == "exact McNemar"
    assert found.paired.p == pytest.approx(0.5**30)
    assert "share of wrong answers falls by 0.1" in found.words
    assert "300 sequences" in found.words
    assert not decide(config, {"macro_f1": 0.9}, [one(3, 0.7)], [one(2, 0.8)], [7], {"jitter": 9}, 10).kept
    assert len(found.picture().traces) == 2, "an interval of one unit is not drawn on the axis of another"


def test_labels_are_compared_block_by_block() -> None:
    config = made.value_config()
    found = decide(config, {"mae": 1.0}, [scored(0.9, 0)], [scored(0.8, 1)], [7], {"jitter": 9}, 10)
    assert found.paired.test == "paired t over blocks of time"
    assert "blocks" in found.words
    assert found.kept


def test_the_picture_shows_every_seed_beside_the_base_and_the_gains_interval() -> None:
    found = verdict(1.0, [0.9, 0.91, 0.92], [0.8, 0.79, 0.81])
    base, *seeds, gain = found.picture().traces
    assert base["y"] == [1.0, 1.0]
    assert [trace["y"] for trace in seeds] == [[0.9, 0.8], [0.91, 0.79], [0.92, 0.81]]
    assert gain["x"] == [MIXED]
    assert found.picture().caption.startswith("Synthetic experience kept")
