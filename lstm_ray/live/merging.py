"""What comes of a row that is told again: equal, contradictory, more complete. Plain arrays; knows no store.

Legend: T steps, F columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNTOLD, HISTORY, MEASURED = 0, 1, 2
"""Where a value is from: nowhere, a request's history, an observation. The higher has the last word."""


@dataclass(frozen=True)
class Merged:
    """What to keep, and what came of each row."""

    values_TF: NDArray
    told_TF: NDArray
    """uint8: UNTOLD, HISTORY or MEASURED."""
    changed_T: NDArray
    """A value that is kept is another than before."""
    confirmed_T: NDArray
    """Only where its values are from is another."""
    contradictory_T: NDArray
    """A value that was told is told otherwise."""


def merged(kept_TF: NDArray, told_TF: NDArray, new_TF: NDArray, source: int) -> Merged:
    """Rows that are kept with the same ones as they come now: the newest measurement wins, over a request's history always,
    and what is missing erases nothing."""
    given_TF = np.isfinite(new_TF)
    other_TF = given_TF & (told_TF > UNTOLD) & (kept_TF != new_TF)
    takes_TF = given_TF & ((told_TF == UNTOLD) | (other_TF & (told_TF <= source)))
    raises_TF = given_TF & ~other_TF & (told_TF < source)
    values_TF = np.where(takes_TF, new_TF, kept_TF)
    told_now_TF = np.where(takes_TF | raises_TF, np.uint8(source), told_TF)
    changed_T = takes_TF.any(axis=1)
    return Merged(values_TF, told_now_TF, changed_T, raises_TF.any(axis=1) & ~changed_T, other_TF.any(axis=1))


def out_of_turn(new_T: NDArray, kept_T: NDArray, far: int, begins: bool) -> tuple[int, int]:
    """How many new rows of a series come late, and how many lie far from all others of it: a clock that jumped.

    A row is late where a newer one is kept within ``far`` after it. One stamp from the year 2100 so makes no other row late.

    Args:
        new_T, kept_T: ticks, ascending; of those kept at least all within ``far`` of a new one.
        far: ticks.
        begins: none of the series is kept.
    """
    if not len(new_T):
        return 0, 0
    # int64 would overflow between the ends of its range.
    new_T, kept_T = new_T.astype(np.float64), kept_T.astype(np.float64)
    after = np.searchsorted(kept_T, new_T)
    next_T = _nth(kept_T, after) - new_T
    last_T = new_T - _nth(kept_T, after - 1)
    late_T = (after < len(kept_T)) & (next_T <= far)
    # The row that comes with it and before it may be the near one.
    with_it_T = np.concatenate([[begins], np.diff(new_T) <= far])
    near_T = late_T | ((after > 0) & (last_T <= far)) | with_it_T
    return int(late_T.sum()), int((~near_T).sum())


def _nth(ticks: NDArray, index: NDArray) -> NDArray:
    return ticks[np.clip(index, 0, len(ticks) - 1)] if len(ticks) else np.zeros(len(index))
