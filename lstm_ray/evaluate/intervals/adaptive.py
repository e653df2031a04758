"""Intervals that follow what comes: a correction that every error, once it is known, moves a little. NumPy alone.

Adaptive conformal inference (Gibbs & Candès 2021) as quantile tracking (Angelopoulos, Candès & Tibshirani 2023): where the
actual value lay above a quantile of level p, the quantile rises by p of a stride, else it falls by 1 - p of it, so that in
the long run a share of p lies below, whatever comes. Errors h steps ahead are alike over h steps, so h of them in a row move
it one stride, not h. Which stride is best depends on how fast things change, so several run side by side and are averaged by
how small the pinball loss of what they had said was of late (Zaffran et al. 2022; Gibbs & Candès 2024); one of them never
moves, which is the split calibration itself.

In live use, beside a served policy: keep ``state.shift_KHCQ`` with each forecast, and correct the forecast by ``state.shift``
(``model.conformal.moved``). As values arrive, ``state.update`` takes how far they lay above the uncorrected quantiles of the
forecasts made one step, two steps, ... before (``model.conformal.scores``), and what was kept with these.

Shapes: M windows, N series, H horizon, C targets, Q quantiles, K strides, U times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STRIDES = (0.0, 0.03, 0.1, 0.3)
"""In widths of the forecast."""
MEMORY = 20
"""Horizons after which a loss counts a third (1 / e)."""
MOST_PADDED = 4
"""Room for windows that are not there, against those that are, at most."""


@dataclass
class Adaptive:
    """The state of a tracked correction, pooled over series: small, plain arrays, whatever has been seen."""

    levels: tuple[float, ...]
    every: float
    """Steps of time from one update to the next."""
    shift_KHCQ: NDArray
    """Corrections in widths, of each stride; float32."""
    loss_KCQ: NDArray
    """Pinball losses of late, over all steps ahead."""
    range_CQ: NDArray
    """Sum of squares, of late, of how far the losses lay apart: the yardstick that makes weights free of units."""

    @classmethod
    def start(cls, shift_HCQ: NDArray, levels: Sequence[float], every: float = 1) -> Adaptive:
        """From a split calibration."""
        num, (_, channels, quantiles) = len(STRIDES), shift_HCQ.shape
        shift_KHCQ = np.repeat(shift_HCQ[None].astype(np.float32), num, axis=0)
        none = np.zeros((num, channels, quantiles))
        return cls(tuple(levels), every, shift_KHCQ, none, none[0].copy())

    @property
    def weights(self) -> NDArray:
        """Of each stride, [K, C, Q]: exponential in its loss, at Hedge's rate (Cesa-Bianchi & Lugosi 2006)."""
        rate_CQ = np.sqrt(8 * np.log(len(STRIDES)) / np.where(self.range_CQ > 0, self.range_CQ, np.inf))
        weight_KCQ = np.exp(-rate_CQ * (self.loss_KCQ - self.loss_KCQ.min(axis=0)))
        found: NDArray = weight_KCQ / weight_KCQ.sum(axis=0)
        return found

    @property
    def shift(self) -> NDArray:
        """By how many widths each quantile of the next forecast is to be moved, [H, C, Q]."""
        return np.einsum("khcq,kcq->hcq", self.shift_KHCQ, self.weights)

    def update(self, score_NHCQ: NDArray, said_KHCQ: NDArray) -> None:
        """Learn from errors that have just become known.

        Args:
            score_NHCQ: widths by which what came lay above the uncorrected quantiles; at index h of the forecast made h + 1
                steps before. NaN where none is known.
            said_KHCQ: at index h what ``shift_KHCQ`` was when that forecast was made.
        """
        known_HC = np.isfinite(score_NHCQ[..., 0]).sum(axis=0)
        if not known_HC.any():
            return
        level_Q = np.asarray(self.levels)
        horizon, many_HC1 = len(known_HC), np.maximum(known_HC, 1)[..., None]
        above_KNHCQ = score_NHCQ - said_KHCQ[:, None]
        pull_KNHCQ = np.where(above_KNHCQ > 0, level_Q, level_Q - 1)
        unknown = np.isnan(above_KNHCQ)
        above_KNHCQ[unknown] = pull_KNHCQ[unknown] = 0
        loss_KHCQ = (pull_KNHCQ * above_KNHCQ).sum(axis=1) / many_HC1
        loss_KCQ = loss_KHCQ.sum(axis=1) / np.maximum((known_HC > 0).sum(axis=0), 1)[:, None]
        kept, alike = np.exp(-self.every / (MEMORY * horizon)), max(1.0, horizon / self.every)
        self.loss_KCQ = kept * self.loss_KCQ + loss_KCQ
        # Losses that are alike over a horizon add up like one of them, not like so many at random.
        self.range_CQ = kept * self.range_CQ + alike * np.ptp(loss_KCQ, axis=0) ** 2
        share_H = np.minimum(1, self.every / np.arange(1, horizon + 1))
        stride_KHCQ = (np.asarray(STRIDES)[:, None] * share_H)[..., None, None] * pull_KNHCQ.sum(axis=1) / many_HC1
        stride_KHCQ[..., self.levels.index(0.5)] = 0
        self.shift_KHCQ = (self.shift_KHCQ + stride_KHCQ).astype(np.float32)


def followed(
    score_MHCQ: NDArray, step_M: NDArray, shift_HCQ: NDArray, levels: Sequence[float]
) -> tuple[NDArray, NDArray]:
    """What the adaptive correction would have been at each origin, had it been kept up to date all along.

    At an origin only values up to it are known: step h of a forecast is learned from h steps after its origin.

    Args:
        score_MHCQ: of windows in any order, NaN where nothing was measured.
        step_M: each one's origin on the common time axis.
        shift_HCQ: of the split calibration, from which it starts.

    Returns:
        Times of origins, ascending, [U], and the correction at each of them, float32 [U, H, C, Q].
    """
    step_U, of_M = np.unique(step_M, return_inverse=True)
    score_UNHCQ = _by_time(score_MHCQ, of_M, len(step_U))
    state = Adaptive.start(shift_HCQ, levels, float(np.median(np.diff(step_U))) if len(step_U) > 1 else 1.0)
    found = np.empty((len(step_U), *shift_HCQ.shape), np.float32)
    said_UKHCQ = np.empty((len(step_U), *state.shift_KHCQ.shape), np.float32)
    ahead_H = np.arange(len(shift_HCQ))
    for now, pending in enumerate(newly_known(step_U, len(shift_HCQ))):
        for origin_H in pending:
            score_HNCQ = score_UNHCQ[origin_H, :, ahead_H].astype(np.float64)
            score_HNCQ[origin_H < 0] = np.nan
            said_HKCQ = said_UKHCQ[np.maximum(origin_H, 0), :, ahead_H]
            state.update(score_HNCQ.swapaxes(0, 1), said_HKCQ.swapaxes(0, 1))
        found[now], said_UKHCQ[now] = state.shift, state.shift_KHCQ
    return step_U, found


def newly_known(step_U: NDArray, horizon: int) -> Iterator[list[NDArray]]:
    """At each time, what has become known since the time before: for each step ahead the index of the origin whose forecast
    it was, -1 for none; several where time has jumped."""
    learned_H = np.full(horizon, -1)
    for step in step_U:
        newest_H = np.searchsorted(step_U, step - np.arange(1, horizon + 1), side="right") - 1
        pending = []
        while (behind_H := learned_H < newest_H).any():
            learned_H = learned_H + behind_H
            pending.append(np.where(behind_H, learned_H, -1))
        yield pending


def _by_time(score_MHCQ: NDArray, of_M: NDArray, num: int) -> NDArray:
    """Scores [U, N, H, C, Q], NaN where a time has fewer windows than another; where most have, the last of some times are
    left out."""
    order = np.argsort(of_M, kind="stable")
    first_U = np.searchsorted(of_M[order], np.arange(num))
    turn_M = np.arange(len(of_M)) - first_U[of_M[order]]
    most = max(1, min(int(turn_M.max()) + 1, MOST_PADDED * len(of_M) // num))
    found = np.full((num, most, *score_MHCQ.shape[1:]), np.nan, score_MHCQ.dtype)
    kept = turn_M < most
    found[of_M[order][kept], turn_M[kept]] = score_MHCQ[order[kept]]
    return found
