"""How fast to learn at each step, and when validation has stopped improving. Knows no torch and no weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from lstm_ray.config import Config

WARM_UP = 0.3
"""Share of the one-cycle schedule in which the learning rate rises (Smith & Topin 2018)."""
EPOCHS, FEWEST_EPOCHS = 12, 6
FEWEST_STEPS, STEPS = {"forecast": 150, "classify": 600, "label": 600}, 1500
"""Passes over the training windows where the config leaves them open: EPOCHS, but more where these are no FEWEST_STEPS
optimiser steps, and fewer, at least FEWEST_EPOCHS, where fewer are STEPS already."""
PATIENCE = 5
STALLS = 4
"""``plateau`` halves the rate this many times within the patience, at most: often enough to matter before the end."""


def num_epochs(config: Config, steps_per_epoch: int) -> int:
    """``max_epochs``, or by default what the size of the training part asks for."""
    enough, plenty = (-(-steps // steps_per_epoch) for steps in (FEWEST_STEPS[config.task], STEPS))
    return config.train.max_epochs or max(enough, min(EPOCHS, max(FEWEST_EPOCHS, plenty)))


def patience(config: Config, steps_per_epoch: int) -> int:
    """``patience``, or by default a third of all epochs, PATIENCE at least."""
    return config.train.patience or max(PATIENCE, num_epochs(config, steps_per_epoch) // 3)


def learning_rate(config: Config, step: int, steps_per_epoch: int, losses: Sequence[float]) -> float:
    """The rate of an optimiser step.

    Args:
        step: of all epochs, from 0.
        losses: validation loss of every finished epoch; ``plateau`` needs no state but these.
    """
    train = config.train
    if train.schedule == "plateau":
        wait = max(1, patience(config, steps_per_epoch) // STALLS)
        return train.learning_rate * 0.5 ** halvings(losses, wait, train.min_improvement)
    return train.learning_rate * SHAPES[train.schedule](step, num_epochs(config, steps_per_epoch) * steps_per_epoch)


def one_cycle(step: int, total: int) -> float:
    """Learning rate as a share of its peak: a cosine up, then a cosine down (Smith & Topin 2018)."""
    peak = WARM_UP * total
    if step < peak:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * step / peak)) / 2
    return 1e-4 + (1 - 1e-4) * (1 + math.cos(math.pi * (step - peak) / max(1.0, total - peak))) / 2


def cosine(step: int, total: int) -> float:
    """From the peak down to nothing, without a warm-up or restarts (Loshchilov & Hutter 2017)."""
    return (1 + math.cos(math.pi * step / total)) / 2


def constant(step: int, total: int) -> float:
    return 1.0


SHAPES: dict[str, Callable[[int, int], float]] = {"one_cycle": one_cycle, "cosine": cosine, "constant": constant}


def longest_stall(losses: Sequence[float], min_improvement: float) -> int:
    """The most epochs in a row in which validation did not improve by more than this share.

    Who has once stalled for long enough has so for good: what other processes add up differs in the last digit.
    """
    bar, stalled, longest = math.inf, 0, 0
    for loss in losses:
        if _improves(loss, bar, min_improvement):
            bar, stalled = loss, 0
        else:
            stalled += 1
            longest = max(longest, stalled)
    return longest


def halvings(losses: Sequence[float], epochs: int, min_improvement: float) -> int:
    """Times that validation went ``epochs`` in a row without improving; each halving starts the count anew."""
    bar, stalled, found = math.inf, 0, 0
    for loss in losses:
        if _improves(loss, bar, min_improvement):
            bar, stalled = loss, 0
        elif (stalled := stalled + 1) == epochs:
            found, stalled = found + 1, 0
    return found


def _improves(loss: float, bar: float, min_improvement: float) -> bool:
    # A likelihood's loss may be negative, so the share is of its size.
    return loss < bar if math.isinf(bar) else bar - loss > min_improvement * abs(bar)
