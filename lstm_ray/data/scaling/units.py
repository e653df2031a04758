"""The units that each series' targets are told in (preprocess.scale_by: series): of segments, and of windows cut from them.
NumPy alone.

Series of the training part have those of training. Any other is told in those of the history at hand, which is what a
served policy is sent: a window's own, so that nothing after its origin is known.
Shapes: S segments, B windows, T steps, L history, C targets, J columns of lags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.schema import Own, Scaler

if TYPE_CHECKING:
    from lstm_ray.data.windows import Batch, Segments
    from lstm_ray.sections.prepare import WindowConfig


def of_segments(segments: Segments, scaler: Scaler) -> Own | None:
    """The units that ``Segments.scaled`` tells unscaled targets in, of each segment; those of an unknown series are of its
    first history, so that no window reads what comes after it. None where all series share one."""
    if scaler.series is None:
        return None
    steps = scaler.series.steps

    def history(s: int) -> NDArray:
        rows = slice(segments.bounds[s], min(segments.bounds[s] + steps, segments.bounds[s + 1]))
        return measured(segments.target_RC[rows], segments.observed_RC[rows], scaler)

    return scaler.own(segments.series, history)


def of_histories(segments: Segments, origin_M: NDArray, scaler: Scaler) -> Own | None:
    """The units of the windows that end their histories at some rows of unscaled segments; None where all series share one."""
    if scaler.series is None:
        return None
    steps = scaler.series.steps

    def history(m: int) -> NDArray:
        rows = slice(origin_M[m] - steps + 1, origin_M[m] + 1)
        return measured(segments.target_RC[rows], segments.observed_RC[rows], scaler)

    return scaler.own([segments.series[s] for s in segments.series_of(origin_M)], history)


def measured(target_LC: NDArray, observed_LC: NDArray, scaler: Scaler) -> NDArray:
    """Targets as they are learned, NaN where none was measured, [L, C]."""
    return np.where(observed_LC > 0, scaler.learned(target_LC, "target"), np.nan)


def of_windows(batch: Batch, own_B: Own, names: list[str], scaler: Scaler, window: WindowConfig) -> tuple[Batch, Own]:
    """Windows told in ``own_B``, those of unknown series told anew in the units of their own histories, and these units."""
    assert scaler.series is not None, "all series share one scale"
    unknown = np.flatnonzero([name not in scaler.series.of for name in names])
    if not len(unknown):
        return batch, own_B
    before = own_B.take(unknown)
    learned_BTC = _told(batch.target_BTC[unknown], before)
    seen = batch.observed_BTC[unknown, : window.history] > 0
    history_BLC = np.where(seen, learned_BTC[:, : window.history], np.nan)
    after = scaler.own([""] * len(unknown), lambda b: history_BLC[b])
    assert after is not None, "series have their own"
    zero_BC, unit_BC = own_B.zero_BC.copy(), own_B.unit_BC.copy()
    zero_BC[unknown], unit_BC[unknown] = after.zero_BC, after.unit_BC
    target_BTC, known_BTK = batch.target_BTC.copy(), batch.known_BTK.copy()
    target_BTC[unknown] = _read(learned_BTC, after)
    channels = target_BTC.shape[2]
    first = known_BTK.shape[2] - (channels + 1) * len(window.lags)
    for at in range(first, known_BTK.shape[2], channels + 1):
        lag = known_BTK[unknown, :, at : at + channels]
        there = known_BTK[unknown, :, at + channels :][..., :1]
        known_BTK[unknown, :, at : at + channels] = _read(_told(lag, before), after) * there
    return replace(batch, target_BTC=target_BTC, known_BTK=known_BTK), Own(zero_BC, unit_BC)


def centres(names: Sequence[str], scaler: Scaler) -> NDArray:
    """What stands for a missing target in each series, in the data's own units, float32 [B, C]."""
    own = scaler.own(names, lambda b: np.empty((0, len(scaler.target.mean))))
    if own is None:
        return np.tile(np.asarray(scaler.centre("target"), dtype=np.float32), (len(names), 1))
    return scaler.unscale(np.zeros_like(own.zero_BC), own=own)


def beside(own: Sequence[Own]) -> Own | None:
    """The units of several batches as one's; None of none."""
    if not own:
        return None
    return Own(np.concatenate([one.zero_BC for one in own]), np.concatenate([one.unit_BC for one in own]))


def _told(scaled_BTC: NDArray, own: Own) -> NDArray:
    zero, unit = own.across(3)
    return scaled_BTC.astype(np.float64) * unit + zero


def _read(learned_BTC: NDArray, own: Own) -> NDArray:
    zero, unit = own.across(3)
    found: NDArray = ((learned_BTC - zero) / unit).astype(np.float32)
    return found
