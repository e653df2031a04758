"""Some of many, spread evenly: how what is too much to look at is thinned. Plain numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def evenly(items: NDArray, number: int) -> NDArray:
    """At most ``number`` of some items, spread evenly, the first and the last among them."""
    chosen: NDArray = items[np.unique(np.linspace(0, len(items) - 1, min(number, len(items))).astype(np.int64))]
    return chosen


def at_common_times(step_N: NDArray, number: int, least: int, turning: bool = False) -> NDArray:
    """Indices of at most ``number`` things that each lie at a step, ascending: all those at some of the steps, so that what
    happens at once stays together.

    Args:
        least: steps that are kept before some of the things at each step are left out.
        turning: where some are left out, others at each step, so that all have their turn; else the same throughout.
    """
    if len(step_N) <= number:
        return np.arange(len(step_N))
    step_U, of_N = np.unique(step_N, return_inverse=True)
    together = -(-len(step_N) // len(step_U))
    kept_T = evenly(np.arange(len(step_U)), max(min(least, number), number // together))
    each = max(1, number // len(kept_T))
    by_step = np.argsort(of_N, kind="stable")
    first_U = np.searchsorted(of_N[by_step], np.arange(len(step_U) + 1))
    held = [by_step[first_U[t] : first_U[t + 1]] for t in kept_T]
    chosen = [evenly(np.roll(some, -each * turn * turning), each) for turn, some in enumerate(held)]
    return np.sort(np.concatenate(chosen))
