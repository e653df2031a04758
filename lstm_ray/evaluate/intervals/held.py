"""How often intervals held what came, how wide they were, and what that cost. Knows arrays; knows no model and no file.

Shapes: M windows, H horizon, C targets, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pair:
    """Two levels with an interval between them."""

    low: int
    high: int
    nominal: float
    """Share of actual values that it is meant to hold."""

    @property
    def name(self) -> str:
        return f"{100 * self.nominal:.4g} %"


def pairs(levels: Sequence[float]) -> list[Pair]:
    """Intervals between levels that mirror each other, narrowest first; that of the outermost where none do."""
    num = len(levels)
    mirrored = [
        (low, high) for low in range(num) for high in range(low + 1, num) if abs(levels[low] + levels[high] - 1) < 1e-9
    ]
    found = [Pair(low, high, levels[high] - levels[low]) for low, high in mirrored or [(0, num - 1)]]
    return sorted(found, key=lambda pair: pair.nominal)


@dataclass(frozen=True)
class Held:
    """What the quantile forecasts of some windows were worth; what was not measured counts nowhere."""

    inside: dict[str, NDArray]
    """Of each pair by its name: whether it held the actual value, float32 [M, H], averaged over measured targets times
    their number."""
    width: dict[str, float]
    """Mean width."""
    score: dict[str, float]
    """Mean interval score (Gneiting & Raftery 2007): the width, and for an actual value outside how far, over the share that
    its quantile leaves out (2 / alpha where both leave out alpha / 2). Least for the true quantiles."""
    below_Q: NDArray
    """Share of actual values below each quantile. Those that equal it, as counts do, count as far as its level asks."""
    tied: float
    """Share of actual values that equal a quantile: the one that most do."""


def held(
    forecast_MHCQ: NDArray, actual_MHC: NDArray, levels: Sequence[float], chosen: Sequence[Pair], unit_C: NDArray
) -> Held:
    """Judge intervals.

    Args:
        actual_MHC: NaN where nothing was measured.
        unit_C: what widths of each target are told in.
    """
    seen_MHC = np.isfinite(actual_MHC)
    count = max(int(seen_MHC.sum()), 1)
    inside, width, score = {}, {}, {}
    for pair in chosen:
        low, high = forecast_MHCQ[..., pair.low], forecast_MHCQ[..., pair.high]
        within = (low <= actual_MHC) & (actual_MHC <= high)
        inside[pair.name] = within.sum(axis=2).astype(np.float32)
        span = np.where(seen_MHC, high - low, 0) / unit_C
        below = np.maximum(low - actual_MHC, 0) / levels[pair.low]
        above = np.maximum(actual_MHC - high, 0) / (1 - levels[pair.high])
        outside = np.where(seen_MHC, below + above, 0) / unit_C
        width[pair.name] = float(span.sum(dtype=np.float64)) / count
        missed = float(outside.sum(dtype=np.float64)) / count
        score[pair.name] = width[pair.name] + missed
    quantile = [forecast_MHCQ[..., q] for q in range(len(levels))]
    under_Q, at_Q = (
        np.asarray([int((seen_MHC & compare(actual_MHC, one)).sum()) / count for one in quantile])
        for compare in (np.less, np.less_equal)
    )
    return Held(inside, width, score, np.clip(levels, under_Q, at_Q), float((at_Q - under_Q).max()))
