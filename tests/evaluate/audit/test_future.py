"""What comes later is scrambled: honest answers stay, those that read it are caught."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lstm_ray.evaluate.audit import future
from lstm_ray.evaluate.forecasts.baselines import LastValue
from tests import made


@dataclass(frozen=True)
class Leaky:
    """The last value, and a hundredth of a step of the horizon (of a past input: of its column)."""

    horizon: int = 12
    past: bool = False
    quantiles: tuple[float, ...] = (0.5,)

    def forecast_windows(self, segments, origins_M, batch=512):
        values = segments.past_RP[:, :1] if self.past else segments.target_RC
        ahead = values[origins_M + 1][:, None, :, None]
        return LastValue(self.horizon).forecast_windows(segments, origins_M) + 0.01 * ahead


class Deaf:
    """Always the same."""

    quantiles = (0.5,)

    def forecast_windows(self, segments, origins_M, batch=512):
        return np.ones((len(origins_M), 12, 1, 1), np.float32)


def _forecasts(data, policy):
    return future.of_forecasts(policy, data.segments, data.parts, data.window, before=0, seed=1)


def test_a_forecast_from_the_past_passes(data, fake_policy):
    check = _forecasts(data, fake_policy())
    assert check.verdict == "passed"
    assert (check.details["changed_by_future"], check.details["changed_by_past"]) == (0, 64)


def test_a_forecast_that_reads_a_little_of_the_future_is_caught(data):
    for leaky in (Leaky(), Leaky(past=True)):
        check = _forecasts(data, leaky)
        assert check.verdict == "failed"
        assert "64 of 64 forecasts changed: they read what is not known yet" in check.text


def test_a_forecast_that_reads_nothing_proves_nothing(data):
    check = _forecasts(data, Deaf())
    assert check.verdict == "failed"
    assert "with the past scrambled only 0 did" in check.text


def test_known_inputs_are_not_scrambled(data):
    later_R = np.ones(len(data.segments.target_RC), dtype=bool)
    after = future.scrambled(data.segments, later_R)
    assert after.known_RK is data.segments.known_RK
    assert (after.target_RC != data.segments.target_RC).mean() > 0.99


def test_a_classifier_that_reads_labels_is_caught_and_an_honest_one_passes(sequences_data, fake_classifier):
    data = sequences_data

    class ReadsLabels:
        def class_probabilities(self, segments, ids_M, batch=512):
            return np.eye(2)[segments.label[ids_M]]

    honest, leaky = (
        future.of_classes(one, data.segments, data.parts, 48, seed=1) for one in (fake_classifier(), ReadsLabels())
    )
    assert honest.verdict == "passed"
    assert leaky.verdict == "failed"


def test_a_labeller_may_see_its_own_patch_and_no_step_after_it():
    segments = made.labelled_of([240, 240])

    class Ahead:
        """Tells each step from the input so many steps later."""

        def __init__(self, steps):
            self.steps = steps

        def tell_steps(self, segments, range_S2, batch=512):
            rows = np.arange(segments.bounds[-1])
            last = np.repeat(segments.bounds[1:], np.diff(segments.bounds)) - 1
            return segments.past_RP[np.minimum(rows + self.steps, last)]

    for patch, steps, verdict in ((4, 3, "passed"), (4, 4, "failed"), (1, 0, "passed"), (1, 1, "failed")):
        window = made.label_config(window={"history": 12, "patch": patch}).window
        check = future.of_labels(Ahead(steps), segments, made.PARTS, window, seed=1)
        assert check.verdict == verdict, (patch, steps, check.text)
