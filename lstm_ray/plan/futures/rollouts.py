"""Simulated futures: a forecast, a sampled error, the next block from there. Knows a predict function; no torch, no Ray.

Shapes: M origins, W paths of each, B = M W, L history, X history and what lies the longest lag before it, H horizon, S steps
of a rollout, A of whole horizons, Y = X + A, T = L + A, C targets, Q quantiles, P past, K known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.lags import lagged_steps, reach
from lstm_ray.data.schema import Own
from lstm_ray.data.windows import Batch
from lstm_ray.model.conformal import LIMITS
from lstm_ray.plan.futures import scores
from lstm_ray.plan.futures.draws import rows_drawn
from lstm_ray.plan.futures.residuals import learned_quantiles
from lstm_ray.plan.futures.starts import Start, World
from lstm_ray.sections.model import ModelConfig
from lstm_ray.sections.prepare import WindowConfig

PredictFn = Callable[..., NDArray]
"""``predict(batch, own)``: a scaled batch, and the units of its targets where each series has its own, to forecasts
[B, H, C, Q] in the data's own units. Where there are several quantiles, it is asked for the library's levels: ``predict(batch,
own, levels)``; these are uncalibrated, as those that the library's scores were found by."""


def roll(
    predict: PredictFn, world: World, start: Start, paths: int, *, seed: int | None = None, steps: int | None = None
) -> NDArray:
    """Sampled futures from each origin, float32 [M, W, S, C] in the data's own units.

    A path is the forecast's own quantile function at the scores of a real window (``draws``), block after block: as wide
    as the policy says it is just here, as wide on average as it turned out to be. What is drawn depends on the seed, the
    origin's step and series and the path alone: scenarios are compared on the same draws, and any division of origins
    among actors gives the same paths.

    Args:
        seed: none: the config's.
        steps: length; none: the world's. Whole horizons of it must lie within what ``start`` knows ahead.
    """
    assert world.residuals is not None, "paths are drawn from residuals"
    config, horizon = world.config, world.config.window.horizon
    steps = world.steps if steps is None else steps
    blocks = -(-steps // horizon)
    assert start.known_MTK.shape[1] >= config.window.history + blocks * horizon, "the start reaches less far ahead"
    row_MWN = rows_drawn(
        world.residuals,
        start.step_M,
        start.series,
        paths,
        blocks,
        config.window.season,
        config.seed if seed is None else seed,
    )
    levels = (world.residuals.levels,) if len(world.residuals.levels) > 1 else ()
    going, own = _Going.of(world, start, blocks), start.own
    future_BAC = np.empty((len(start.row_M) * paths, blocks * horizon, start.target_MXC.shape[2]), np.float32)
    for block in range(blocks):
        forecast_BHCQ = predict(going.batch(block * horizon, config.window), own, *levels)
        if block == 0:
            # Until something was drawn, all paths of an origin are one.
            forecast_BHCQ = forecast_BHCQ.repeat(paths, axis=0)
            own = None if own is None else own.repeat(paths)
        score_BHC = world.residuals.score_RHC[row_MWN[:, :, block].ravel()]
        path_BHC = at_scores(forecast_BHCQ, score_BHC, world, own)
        future_BAC[:, block * horizon : (block + 1) * horizon] = path_BHC
        if block + 1 < blocks:
            going = going.repeated(paths) if block == 0 else going
            going.put(block * horizon, world.scaler.scale(path_BHC, "target", own), config.window)
    return future_BAC[:, :steps].reshape(len(start.row_M), paths, steps, -1)


def require_errors(world: World, origin_M: NDArray) -> None:
    """Raises InputError where some origins' futures cannot be sampled: every window of the library overlaps them."""
    assert world.residuals is not None, "paths are drawn from residuals"
    window, segments = world.config.window, world.segments
    names = [segments.series[s] for s in segments.series_of(origin_M)]
    blocks = world.ahead // window.horizon
    rows_drawn(world.residuals, segments.steps(origin_M), names, 1, blocks, window.season, world.config.seed)


def at_scores(forecast_BHCQ: NDArray, score_BHC: NDArray, world: World, own: Own | None) -> NDArray:
    """The values that lie at some scores of forecasts, in the data's own units, float32 [B, H, C]."""
    assert world.residuals is not None, "paths are drawn from residuals"
    levels, scaler, model = world.residuals.levels, world.scaler, world.config.model
    if len(levels) == 1:
        found = scaler.moved(forecast_BHCQ[..., 0], score_BHC, own)
    elif model.distribution == "negative_binomial":
        found = np.rint(scores.values(score_BHC, scores.untied(forecast_BHCQ), levels)).clip(0)
    else:
        found = scores.values(score_BHC, learned_quantiles(forecast_BHCQ, scaler), levels)
        found = found if scaler.transform is None else scaler.transform.invert(found)
    return _within(found.astype(np.float32, copy=False), model)


def _within(values: NDArray, model: ModelConfig) -> NDArray:
    return np.clip(values, *LIMITS[model.output]) if model.output in LIMITS else values


@dataclass(frozen=True)
class _Going:
    """What paths have come to, scaled once and written to in place; a block's windows are views of it."""

    target_BYC: NDArray
    present_BY: NDArray
    observed_BTC: NDArray
    past_BTP: NDArray
    known_BTK: NDArray
    category_BS: NDArray

    @classmethod
    def of(cls, world: World, start: Start, blocks: int) -> _Going:
        """Histories, and room for what is to be simulated."""
        window, scaler, num_columns = world.config.window, world.scaler, len(world.segments.schema.known)
        ahead = blocks * window.horizon
        known_MTK = start.known_MTK[:, : window.history + ahead]
        known = [scaler.scale(known_MTK[..., :num_columns], "known"), known_MTK[..., num_columns:]]
        room = ((0, 0), (0, ahead), (0, 0))
        return cls(
            target_BYC=np.pad(scaler.scale(start.target_MXC, "target", start.own), room),
            present_BY=np.pad(start.present_MX, room[:2], constant_values=True),
            observed_BTC=np.pad(start.observed_MLC.astype(np.float32, copy=False), room),
            past_BTP=scaler.scale(start.past_with_ahead(window.season, ahead), "past"),
            known_BTK=np.concatenate(known, axis=2).astype(np.float32, copy=False),
            category_BS=start.category_MS,
        )

    def repeated(self, paths: int) -> _Going:
        return replace(self, **{name: values.repeat(paths, axis=0) for name, values in vars(self).items()})

    def put(self, first: int, scaled_BHC: NDArray, window: WindowConfig) -> None:
        """What was simulated from the ``first``-th step ahead on."""
        end = first + window.horizon
        self.target_BYC[:, reach(window) + first : reach(window) + end] = scaled_BHC
        self.observed_BTC[:, window.history + first : window.history + end] = 1

    def batch(self, first: int, window: WindowConfig) -> Batch:
        """The windows whose horizon begins at the ``first``-th step ahead."""
        total = window.history + window.horizon
        rows = slice(first, first + total)
        target_BXC = self.target_BYC[:, first : first + reach(window) + window.horizon]
        known_BTK = self.known_BTK[:, rows]
        if window.lags:
            present_BX = self.present_BY[:, first : first + target_BXC.shape[1]]
            known_BTK = np.concatenate([known_BTK, lagged_steps(target_BXC, present_BX, window.lags, total)], axis=2)
        count = len(target_BXC)
        return Batch(
            target_BXC[:, -total:],
            self.observed_BTC[:, rows],
            self.past_BTP[:, rows],
            known_BTK,
            np.ones((count, 1), np.float32),
            np.zeros(count, np.int64),
            self.category_BS,
            np.zeros((count, 0), np.float32),
            np.zeros((count, 0), np.float32),
        )
