"""A policy's intervals calibrated on the validation part: split conformal prediction, step ahead by step ahead.

Of n errors that are as likely in any order as the next one, the ceil((n + 1) p)-th smallest is not exceeded by the next one
with a probability of p at least, whatever their distribution (Vovk, Gammerman & Shafer 2005; Lei et al. 2018). Two things
about forecasts stand in the way of that promise, and neither is hidden:

Windows a step apart share all but one of their steps. At one step ahead each window still brings a target value of its own,
so an error counts once; but neighbouring errors are alike, the more the further ahead. What holds on average over many
years still does (errors need only forget; Oliveira et al. 2024), yet a validation part of B horizons says no more of the last
steps ahead than B independent errors would. So steps ahead that few independent errors tell of share them with their
neighbours (``bands``), in which the errors' distribution in widths is nearly the same.

And what comes later need not be like validation, on which the policy was chosen, too: that is what ``adaptive`` follows.

Shapes: M windows, H horizon, C targets, Q quantiles, N errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import Segments, origins
from lstm_ray.evaluate.intervals.sample import Sample, sampled
from lstm_ray.model.conformal import Conformal
from lstm_ray.model.policy import Policy

ENOUGH = 100
"""Independent errors from which a step ahead has a correction of its own: chance then moves a coverage of 90 % by 3 points."""
NARROWEST = 0.1
"""Share of the median width that a width counts as at least."""


def calibrated(
    policy: Policy, segments: Segments, bounds: Boundaries, how: Literal["split", "none"] = "split", batch: int = 512
) -> Conformal | None:
    """The correction of a policy's intervals by its errors on the validation part; None where it has no intervals, or the
    part holds no window, or none is asked for.

    Whatever it is corrected by now is left out of account.

    Args:
        how: ``evaluate.conformal``.
    """
    if how == "none" or policy.config.task != "forecast" or len(policy.quantiles) < 2:
        return None
    origins_M = origins(segments, bounds, "validation", policy.config.window)
    return conformal_of(sampled(policy, segments, origins_M, policy.scaler, batch)) if len(origins_M) else None


def conformal_of(sample: Sample) -> Conformal:
    """The correction by the errors of some windows."""
    floor_C = narrowest(sample)
    step_U = np.unique(sample.step_M)
    edges = bands(sample.scaled_MHCQ.shape[1], len(step_U), int(step_U[-1] - step_U[0]) + 1)
    shift_HCQ, left = corrections(sample.score(floor_C), sample.levels, edges)
    return Conformal(sample.levels, shift_HCQ, floor_C, len(sample.step_M), len(step_U), left)


def narrowest(sample: Sample) -> NDArray:
    """The width that a forecast counts as at least, by target, scaled; of counts it is 1 of them."""
    span_MHC = sample.scaled_MHCQ[..., -1] - sample.scaled_MHCQ[..., 0]
    floor_C = np.maximum(NARROWEST * np.median(span_MHC, axis=(0, 1)), 1e-6)
    if sample.model.distribution == "negative_binomial":
        floor_C = np.maximum(floor_C, 1 / sample.scaler.units("target")[1])
    return floor_C.astype(np.float32)


def corrections(score_MHCQ: NDArray, levels: Sequence[float], edges: NDArray) -> tuple[NDArray, tuple[float, ...]]:
    """By how many widths each quantile must move, float32 [H, C, Q], and the levels that there are too few errors for.

    Args:
        score_MHCQ: widths by which actual values lay above each quantile, NaN where none was measured.
        edges: of runs of steps ahead that share a correction (``bands``); between their centres it goes along a line.
    """
    horizon, channels, num = score_MHCQ.shape[1:]
    found = []
    for first, end in pairwise(edges.tolist()):
        pooled_NCQ = score_MHCQ[:, first:end].reshape(-1, channels, num)
        steps = end - first
        found.append(
            np.stack([order_statistic(pooled_NCQ[..., i], level, steps) for i, level in enumerate(levels)], axis=-1)
        )
    shift_BCQ = np.stack(found)
    shift_BCQ[..., levels.index(0.5)] = 0
    missing_CQ = np.isnan(shift_BCQ).any(axis=0)
    left = tuple(level for level, missing in zip(levels, missing_CQ.any(axis=0), strict=True) if missing)
    shift_BCQ = np.where(missing_CQ, 0, shift_BCQ)
    centre_B = (edges[:-1] + edges[1:] - 1) / 2
    shift_HCQ = np.empty(score_MHCQ.shape[1:], np.float32)
    for c, q in np.ndindex(channels, num):
        shift_HCQ[:, c, q] = np.interp(np.arange(horizon), centre_B, shift_BCQ[:, c, q])
    return shift_HCQ, left


def order_statistic(score_NC: NDArray, level: float, alike: int = 1) -> NDArray:
    """The value that the next of some exchangeable scores stays at or below with a probability of ``level``, or (below 0.5)
    at or above with that of 1 - level, at least; float64 [C], NaN where they are too few to promise it.

    Args:
        score_NC: NaN where none is known.
        alike: scores that come together, and count as one for whether they are enough.
    """
    sure = max(level, 1 - level)
    ordered_NC = np.sort(score_NC, axis=0)
    count_C = np.isfinite(score_NC).sum(axis=0)
    # 0.9 * 10 is 9, though its floating point neighbour may lie above.
    rank_C = np.ceil((count_C + 1) * sure - 1e-9).astype(np.int64)
    single_C = count_C // alike
    enough_C = (np.ceil((single_C + 1) * sure - 1e-9) <= single_C) & (rank_C <= count_C)
    at_C = np.where(enough_C, rank_C - 1 if level > 0.5 else count_C - rank_C, 0)
    return np.where(enough_C, np.take_along_axis(ordered_NC, at_C[None], axis=0)[0], np.nan)


def bands(horizon: int, times: int, span: int) -> NDArray:
    """Edges of runs of steps ahead that share a correction, int64, from 0 to ``horizon``.

    Errors h steps ahead are alike over about h steps, so a span of time holds span / h independent ones, and no more than the
    times at which windows begin. Where that is ENOUGH a step stands alone; else a run grows, to at most half the steps before.
    """
    edges = [0]
    while edges[-1] < horizon:
        ahead = edges[-1] + 1
        lacking = ENOUGH / min(times, span / ahead)
        edges.append(min(horizon, edges[-1] + (max(1, int(min(1.0, lacking) * ahead / 2)))))
    return np.asarray(edges)
