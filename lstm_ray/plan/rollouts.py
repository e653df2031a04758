"""Simulated futures: a forecast, a sampled error, the next block from there. Knows a predict function; no torch, no Ray.

Shapes: M origins, W paths of each, B = M W, L history, X history and what lies the longest lag before it, H horizon, S steps
of a rollout, C targets, P past, K known.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.lags import lagged_steps, reach
from lstm_ray.data.scaling import units
from lstm_ray.data.schema import Own, Scaler
from lstm_ray.data.windows import Batch, Segments
from lstm_ray.plan.starts import Start, World, actual_after

PredictFn = Callable[[Batch, Own | None], NDArray]
"""A scaled batch, and the units of its targets where each series has its own, to forecasts [B, H, C, Q] in the data's own
units."""


def roll(predict: PredictFn, world: World, start: Start, paths: int) -> NDArray:
    """Sampled futures from each origin, [M, W, S, C] in the data's own units.

    The errors drawn depend on the config's seed, the origin and the path alone: scenarios are compared on the same draws,
    and any division of origins among actors gives the same paths.
    """
    window, horizon = world.config.window, world.config.window.horizon
    blocks = world.ahead // horizon
    index_B = np.repeat(np.arange(len(start.row_M)), paths)
    known_BTK, category_BS = start.known_MTK[index_B], start.category_MS[index_B]
    target_BXC, present_BX, observed_BLC = (
        v[index_B] for v in (start.target_MXC, start.present_MX, start.observed_MLC)
    )
    past_BTP = start.past_with_ahead(window.season, world.ahead)[index_B]
    own_B = None if start.own is None else start.own.take(index_B)
    draw_BN = np.concatenate([_draws(world, int(row), paths, blocks) for row in start.row_M])
    for block in range(blocks):
        first = block * horizon
        batch = _batch(
            target_BXC[:, first:],
            present_BX[:, first:],
            observed_BLC,
            past_BTP[:, first : first + window.history],
            known_BTK[:, first:],
            category_BS,
            world,
            own_B,
        )
        median_BHC = predict(batch, own_B)[..., world.median]
        path_BHC = world.scaler.moved(median_BHC, world.residual_RHC[draw_BN[:, block]], own_B)
        target_BXC = np.concatenate([target_BXC, path_BHC.astype(np.float32)], axis=1)
        present_BX = np.pad(present_BX, ((0, 0), (0, horizon)), constant_values=True)
        observed_BLC = np.concatenate([observed_BLC[:, horizon:], np.ones_like(path_BHC, observed_BLC.dtype)], axis=1)
        observed_BLC = observed_BLC[:, -window.history :]
    future_BSC = target_BXC[:, reach(window) : reach(window) + world.steps]
    return future_BSC.reshape(len(start.row_M), paths, world.steps, -1)


def residual_trajectories(forecast_MHC: NDArray, segments: Segments, origin_M: NDArray, scaler: Scaler) -> NDArray:
    """Errors of windows whose whole horizon was measured, centred at each lead, [R, H, C]."""
    actual_MHC, observed_MHC = actual_after(segments, origin_M, forecast_MHC.shape[1])
    whole = observed_MHC.all(axis=(1, 2))
    if not whole.any():
        whole = observed_MHC.any(axis=(1, 2))
    own_M = units.of_histories(segments, origin_M, scaler)
    error_RHC = scaler.difference(actual_MHC, forecast_MHC, own_M)[whole]
    centred: NDArray = (error_RHC - error_RHC.mean(0)).astype(np.float32)
    return centred


def _draws(world: World, origin: int, paths: int, blocks: int) -> NDArray:
    random = np.random.default_rng([world.config.seed, origin])
    return random.integers(len(world.residual_RHC), size=(paths, blocks))


def _batch(
    target: NDArray,
    present: NDArray,
    observed: NDArray,
    past: NDArray,
    known: NDArray,
    category: NDArray,
    world: World,
    own: Own | None,
) -> Batch:
    """Windows, unscaled, as a scaled batch; targets (and which of them exist) reach back to the longest lag."""
    window, scaler, num_columns = world.config.window, world.scaler, len(world.segments.schema.known)
    total = window.history + window.horizon
    pad = ((0, 0), (0, window.horizon), (0, 0))
    known = known[:, :total]
    target = np.pad(scaler.scale(target, "target", own), pad)
    lagged = lagged_steps(target, np.pad(present, pad[:2]), window.lags, total)
    scaled = [scaler.scale(known[..., :num_columns], "known"), known[..., num_columns:], lagged]
    count = len(target)
    return Batch(
        target[:, -total:],
        np.pad(observed, pad),
        np.pad(scaler.scale(past, "past"), pad),
        np.concatenate(scaled, axis=-1),
        np.ones((count, 1), np.float32),
        np.zeros(count, np.int64),
        category,
        np.zeros((count, 0), np.float32),
        np.zeros((count, 0), np.float32),
    )
