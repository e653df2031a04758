"""Learning rates over training, and when validation counts as stalled."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.model.schedules import (
    constant,
    cosine,
    halvings,
    learning_rate,
    longest_stall,
    num_epochs,
    one_cycle,
    patience,
)
from tests import made


def test_one_cycle_rises_to_its_peak_and_falls_to_nothing() -> None:
    rates = np.array([one_cycle(step, 100) for step in range(101)])
    assert rates[0] == pytest.approx(0.04)
    assert rates.argmax() == 30
    assert rates[30] == pytest.approx(1)
    assert rates[100] == pytest.approx(1e-4)
    assert (np.diff(rates[:31]) > 0).all()
    assert (np.diff(rates[30:]) < 0).all()
    assert one_cycle(0, 1) == pytest.approx(0.04)


def test_cosine_falls_from_its_peak_to_nothing_and_constant_stays() -> None:
    rates = np.array([cosine(step, 100) for step in range(101)])
    assert rates[[0, 50, 100]] == pytest.approx([1, 0.5, 0])
    assert (np.diff(rates) < 0).all()
    assert {constant(step, 100) for step in range(101)} == {1.0}


@pytest.mark.parametrize(
    ("losses", "least", "stalled"),
    [
        ([], 0.0, 0),
        ([3.0], 0.0, 0),
        ([3.0, 2.0, 2.0, 2.5], 0.0, 2),
        # Who has stalled for a while has so for good.
        ([3.0, 4.0, 4.0, 2.9, 3.0, 2.8], 0.0, 2),
        # Each falls a little, but never by a tenth of what last counted, until together they have.
        ([1.0, 0.95, 0.92], 0.1, 2),
        ([1.0, 0.95, 0.89, 0.85, 0.82, 0.79], 0.1, 2),
        ([1.0, 0.95, 0.89], 0.1, 1),
        # Likelihoods may be negative.
        ([-1.0, -1.05], 0.1, 1),
        ([-1.0, -1.2], 0.1, 0),
        ([0.5, -0.5], 0.1, 0),
    ],
)
def test_an_epoch_counts_as_better_where_its_loss_fell_by_enough(
    losses: list[float], least: float, stalled: int
) -> None:
    assert longest_stall(losses, least) == stalled


def test_plateau_halves_the_rate_each_time_validation_stalls() -> None:
    config = made.make_config(train__schedule="plateau", train__patience=8, train__learning_rate=0.1)
    losses = [3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0]
    found = [learning_rate(config, 5, 10, losses[:epoch]) for epoch in range(len(losses) + 1)]
    assert found == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.025])
    assert halvings(losses, 1, 0.0) == 5


def test_the_rate_is_a_share_of_the_configured_peak() -> None:
    for name, shape in {"one_cycle": one_cycle, "cosine": cosine, "constant": constant}.items():
        config = made.make_config(train__schedule=name, train__learning_rate=0.3, train__max_epochs=4)
        assert learning_rate(config, 7, 5, [1.0, 2.0, 3.0]) == pytest.approx(0.3 * shape(7, 20))


@pytest.mark.parametrize(
    ("steps_per_epoch", "epochs"), [(2, 75), (11, 14), (40, 12), (100, 12), (200, 8), (310, 6), (10_000, 6)]
)
def test_epochs_left_open_make_enough_steps_but_not_more_than_that(steps_per_epoch: int, epochs: int) -> None:
    config = made.make_config(train__max_epochs=None)
    assert num_epochs(config, steps_per_epoch) == epochs
    assert patience(config, steps_per_epoch) == max(5, epochs // 3)
    assert num_epochs(made.make_config(train__max_epochs=5), steps_per_epoch) == 5
