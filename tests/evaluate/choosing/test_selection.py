"""Who goes on: the simplest policy that validation cannot tell from the best."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.evaluate.choosing import selection
from lstm_ray.evaluate.choosing.selection import Selection, Standing, select
from lstm_ray.evaluate.choosing.validation import common_origins, validation_errors
from tests import made

SEGMENTS = made.segments_of([400])
PARTS = {"train": (0, 140), "validation": (140, 400), "test": (400, 400)}


def standing(number, num_parameters, behind, error, loss=1.0):
    return Standing(number, num_parameters, loss, {"mae": 2 + behind}, behind, error)


def choice(*standings):
    return Selection(list(standings), 100, None)


def test_the_simplest_within_one_standard_error_of_the_best_goes_on():
    found = choice(standing(0, 900, 0.3, 0.2), standing(1, 800, 0.1, 0.1), standing(2, 1000, 0.0, 0.0))
    assert (found.best.number, found.chosen.number) == (2, 1)


def test_beyond_one_standard_error_the_best_goes_on_however_large():
    found = choice(standing(0, 10, 0.3, 0.2), standing(1, 10, 0.3, 0.29), standing(2, 1000, 0.0, 0.0))
    assert found.chosen.number == 2


def test_none_is_close_that_is_worse_than_one_clearly_behind():
    """A policy unlike the best differs from it erratically, which must not make it the better choice."""
    erratic = standing(1, 100, 0.3, 0.5)
    found = choice(standing(0, 500, 0.2, 0.1), erratic, standing(2, 1000, 0.0, 0.0))
    assert erratic.is_close
    assert found.chosen.number == 2
    assert choice(standing(0, 500, 0.2, 0.3), erratic, standing(2, 1000, 0.0, 0.0)).chosen.number == 1


def test_of_equals_the_trained_policy_goes_on_and_then_the_lower_loss():
    found = choice(standing(0, 10, 0.1, 0.2, loss=9.0), standing(1, 10, 0.0, 0.0), standing(2, 10, 0.1, 0.2))
    assert found.chosen.number == 0
    far = choice(standing(0, 10, 5.0, 0.2), standing(1, 10, 0.1, 0.2, loss=0.9), standing(2, 10, 0.0, 0.0, loss=1.0))
    assert far.chosen.number == 1


def test_without_a_standard_error_the_best_alone_will_do():
    assert choice(standing(0, 10, 0.1, None), standing(1, 90, 0.0, 0.0)).chosen.number == 1
    assert choice(standing(0, 10, 0.0, None), standing(1, 90, 0.0, 0.0)).chosen.number == 0


def policy_of(seed, **values):
    config = made.make_config(**values)
    return made.random_policy(config.model_copy(update={"seed": seed}), SEGMENTS)


def test_policies_of_all_histories_are_measured_on_the_origins_of_the_longest(monkeypatch):
    """Each segment begins anew, so a longer history has fewer origins."""
    short = made.segments_of([60, 60, 60, 60], [140, 200, 260, 320])
    policies = {0: policy_of(1), 1: policy_of(2, window__history=24, window__patch=6), 2: policy_of(3)}
    asked = []
    real = selection.validation_errors

    def watched(policy, segments, bounds, origins_M):
        asked.append(origins_M)
        return real(policy, segments, bounds, origins_M)

    monkeypatch.setattr(selection, "validation_errors", watched)
    found = select(policies, {1: 0.5, 2: 0.4}, short, PARTS)
    own = [validation_errors(policy, short, PARTS) for policy in policies.values()]
    assert len(own[0].error_M) > len(own[1].error_M) == found.num_cases
    assert found.history == 24
    assert all(np.array_equal(one, asked[0]) for one in asked)
    assert asked[0][0] == 23
    assert found.standings[1].metrics == own[1].metrics
    assert found.standings[0].metrics != own[0].metrics
    assert [one.number for one in found.standings] == [0, 1, 2]
    assert sorted(one.behind for one in found.standings)[0] == 0


def test_the_error_of_the_difference_is_that_of_the_pairs():
    """A policy that errs like the best, a little more everywhere, is clearly behind: unpaired, it would not be."""
    policies = {0: policy_of(1), 1: policy_of(1)}
    with_bias = policies[1].forecast_windows

    def biased(segments, origin_M, batch=512):
        return with_bias(segments, origin_M, batch) * 1.0 + np.float32(5.0)

    policies[1].forecast_windows = biased
    found = select(policies, {}, SEGMENTS, PARTS)
    behind = found.standings[1]
    assert found.best.number == 0
    mine, best = (validation_errors(policies[n], SEGMENTS, PARTS) for n in (1, 0))
    assert behind.behind == pytest.approx(
        float(mine.cost(*(p.sum(0) for p in mine.parts)) - best.cost(*(p.sum(0) for p in best.parts)))
    )
    alone = np.std(best.error_M) / np.sqrt(8)
    assert 0 < behind.error < alone
    assert not behind.is_close
    assert found.history is None


def test_errors_are_those_of_each_window_and_windows_with_nothing_measured_are_no_cases():
    observed = SEGMENTS.observed_RC.copy()
    observed[200:240] = 0
    segments = made.segments_of([400])
    segments = type(segments)(**{**vars(segments), "observed_RC": observed})
    policy = policy_of(1)
    found = validation_errors(policy, segments, PARTS)
    origins_M = common_origins(segments, PARTS, [policy.config.window])
    rows = origins_M[:, None] + np.arange(1, 7)
    error = np.abs(policy.forecast_windows(segments, origins_M)[..., 0, 0] - segments.target_RC[rows][..., 0])
    seen = observed[rows][..., 0] > 0
    held = seen.any(1)
    assert not held.all()
    expected = (error * seen).sum(1)[held] / seen.sum(1)[held]
    np.testing.assert_allclose(found.error_M, expected, rtol=1e-4)
    assert found.step_M.tolist() == origins_M[held].tolist()
    assert found.metrics["mae"] == pytest.approx(float(found.cost(*(part.sum(0) for part in found.parts))), rel=1e-5)


def test_classifiers_are_held_apart_by_macro_f1_over_sequences_in_order():
    lengths = [8] * 60
    segments = made.sequences_of(lengths)
    parts = {"train": (0, 24 * 20), "validation": (24 * 20, 24 * 60), "test": (24 * 60, 24 * 60)}
    config = made.classify_config(window__history=12)
    policies = {n: made.random_policy(config, segments) for n in (0, 1)}

    def knows(share):
        def probabilities(segments, ids_M, batch=512):
            right = np.random.default_rng(1).random(len(ids_M)) < share
            told = np.where(right, segments.label[ids_M], 1 - segments.label[ids_M])
            return np.eye(2)[told] * 0.8 + 0.1

        return probabilities

    policies[0].class_probabilities, policies[1].class_probabilities = knows(0.55), knows(0.95)
    found = select(policies, {}, segments, parts)
    assert found.num_cases == 40
    assert found.best.number == found.chosen.number == 1
    f1 = [one.metrics["macro_f1"] for one in found.standings]
    assert found.trained.behind == pytest.approx(f1[1] - f1[0])
    assert 0 < found.trained.error < found.trained.behind
