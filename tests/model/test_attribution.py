"""Integrated gradients add up to how far an answer moved, and are nothing for what is not read."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from lstm_ray.errors import InputError
from lstm_ray.model import attribution
from tests import made


def test_attributions_of_a_forecast_add_up_to_how_far_it_moved():
    config, segments = made.make_config(), made.segments_of()
    policy = made.random_policy(config, segments)
    origins = np.arange(20, 60, 2)
    found = attribution.of_forecasts(policy, segments, origins)
    assert found.target_BTC.shape == (20, 18, 1)
    assert np.abs(found.moved_B).max() > 0
    assert found.gap < 0.01
    total = found.target_BTC.sum((1, 2)) + found.past_BTP.sum((1, 2)) + found.known_BTK.sum((1, 2))
    np.testing.assert_allclose(total, found.moved_B - found.gap_B, rtol=1e-4, atol=1e-5)
    assert not found.target_BTC[:, 12:].any(), "what comes after the origin is not read"


@pytest.mark.parametrize("normalisation", ["none", "last", "mean", "mean_deviation"])
def test_they_add_up_however_levels_are_taken_out(normalisation):
    config, segments = made.make_config(model__normalisation=normalisation), made.segments_of()
    found = attribution.of_forecasts(made.random_policy(config, segments), segments, np.arange(20, 60, 2))
    assert found.gap < 0.05


def test_an_input_without_weight_moves_nothing():
    config, segments = made.make_config(), made.segments_of()
    policy = made.random_policy(config, segments)
    original = policy.network.forward

    def blind(target, observed, past, known, category=None, **options):
        return original(target, observed, torch.zeros_like(past) * past, known, category, **options)

    policy.network.forward = blind
    found = attribution.of_forecasts(policy, segments, np.arange(20, 40))
    assert not found.past_BTP.any()
    assert found.target_BTC.any()


def test_attributions_of_a_class_add_up():
    config, segments = made.classify_config(), made.sequences_of([12] * 8)
    found = attribution.of_classes(made.random_policy(config, segments), segments, np.arange(8))
    assert found.target_BTC.shape[2] == 0
    assert found.gap < 0.05


def test_attributions_of_labels_add_up():
    config, segments = made.label_config(), made.labelled_of()
    ranges = np.stack([segments.bounds[:-1] + 20, segments.bounds[:-1] + 40], axis=1)
    found = attribution.of_labels(made.random_policy(config, segments), segments, ranges)
    assert np.abs(found.moved_B).max() > 0
    assert found.gap < 0.05


def test_without_captum_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    config, segments = made.make_config(), made.segments_of()
    with pytest.raises(InputError, match=r"pip install lstm-ray\[explain\]"):
        attribution.of_forecasts(made.random_policy(config, segments), segments, np.arange(20, 24))
