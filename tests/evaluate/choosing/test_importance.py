"""Importance of settings: main effects that are there are found, also where no rank correlation sees them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kruskal, spearmanr

from lstm_ray.evaluate.choosing.importance import ENOUGH, importances


def _made(num: int, effect, noise: float = 0.2, seed: int = 0):
    random = np.random.default_rng(seed)
    settings = [
        {
            "train.learning_rate": float(10 ** random.uniform(-4, -2)),
            "model.normalisation": str(random.choice(["last", "mean", "none"])),
            "model.attention": bool(random.random() < 0.5),
            "train.batch": 8,
        }
        for _ in range(num)
    ]
    return settings, [float(effect(one) + noise * random.normal()) for one in settings]


def test_a_setting_of_names_that_matters_explains_most():
    found = importances(*_made(30, lambda one: one["model.normalisation"] == "none"))
    assert found.of[0].path == "model.normalisation"
    assert found.of[0].share > 0.6
    assert found.of[0].is_likely
    assert found.of[0].direction is None
    assert found.foretold > 0.4
    assert "train.batch" not in {one.path for one in found.of}, "what never changes explains nothing"


def test_a_valley_is_found_where_ranks_see_nothing():
    found = importances(*_made(60, lambda one: abs(np.log10(one["train.learning_rate"]) + 3) * 2))
    assert found.of[0].path == "train.learning_rate"
    assert found.of[0].share > 0.7
    assert abs(found.of[0].direction) < 0.4


def test_of_losses_that_are_noise_the_forest_foretells_nothing():
    assert all(importances(*_made(30, lambda one: 0, seed=seed)).foretold <= 0.1 for seed in range(3))


def test_the_chance_of_numbers_is_spearmans_and_of_names_that_of_kruskal_and_wallis():
    settings, losses = _made(24, lambda one: np.log10(one["train.learning_rate"]), noise=1.0, seed=3)
    found = {one.path: one for one in importances(settings, losses).of}
    rates = [one["train.learning_rate"] for one in settings]
    expected = spearmanr(rates, losses)
    assert found["train.learning_rate"].direction == pytest.approx(expected.statistic)
    assert found["train.learning_rate"].chance == pytest.approx(expected.pvalue, abs=0.03)
    names = [one["model.normalisation"] for one in settings]
    groups = [[loss for loss, own in zip(losses, names, strict=True) if own == name] for name in sorted(set(names))]
    assert found["model.normalisation"].chance == pytest.approx(kruskal(*groups).pvalue, abs=0.05)


def test_few_trials_or_losses_all_alike_say_nothing():
    settings, losses = _made(ENOUGH, lambda one: 0)
    assert importances(settings[:-1], losses[:-1]) is None
    assert importances(settings, [1.0] * ENOUGH) is None
    assert importances([{"train.batch": 8}] * ENOUGH, losses) is None
    assert importances(settings, losses) is not None
