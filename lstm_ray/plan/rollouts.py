"""Simulated futures: a forecast, a sampled error, the next block from there. Knows a predict function; no torch, no Ray.

Shapes: M origins, W paths of each, B = M W, L history, X history and what lies the longest lag before it, H horizon, S steps
of a rollout, C targets, P past, K known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.lags import lagged_steps, reach
from lstm_ray.data.parts import Boundaries, Part
from lstm_ray.data.quality.clean import seen
from lstm_ray.data.scaling import units
from lstm_ray.data.schema import Own, Scaler
from lstm_ray.data.windows import Batch, Segments, origin_ranges
from lstm_ray.errors import InputError
from lstm_ray.plan.scenarios import changed, changed_future, touches
from lstm_ray.sections.stages import ScenarioConfig

PredictFn = Callable[[Batch, Own | None], NDArray]
"""A scaled batch, and the units of its targets where each series has its own, to forecasts [B, H, C, Q] in the data's own
units."""


@dataclass(frozen=True)
class World:
    """What a rollout needs besides a scenario and where it starts."""

    segments: Segments
    """Unscaled."""
    scaler: Scaler
    config: Config
    median: int
    """Index of the median among the forecast's quantiles."""
    residual_RHC: NDArray
    """Whole error trajectories of validation windows (``Scaler.difference`` of actual and median forecast): sampled as they
    are, so that a path keeps the correlation between steps and targets that the policy's errors really have."""

    @cached_property
    def read(self) -> Segments:
        """The segments as a network may see them."""
        return seen(self.segments, self.scaler)

    @property
    def steps(self) -> int:
        return self.config.plan.steps or 2 * self.config.window.horizon


def rollout_origins(segments: Segments, bounds: Boundaries, part: Part, config: Config, number: int) -> NDArray:
    """At most ``number`` origins spread evenly over a part, each with a whole rollout inside it, int64 [M]."""
    steps = config.plan.steps or 2 * config.window.horizon
    window = config.window.model_copy(update={"horizon": max(steps, config.window.horizon)})
    ranges = origin_ranges(segments, bounds, part, window)
    rows = np.concatenate([np.arange(first, end) for first, end in ranges] or [np.empty(0, np.int64)])
    chosen: NDArray = rows[np.unique(np.linspace(0, len(rows) - 1, min(number, len(rows))).astype(np.int64))]
    return chosen


def some_origins(segments: Segments, bounds: Boundaries, part: Part, config: Config, number: int) -> NDArray:
    """``rollout_origins``. Raises InputError where the part is too short for a rollout."""
    found = rollout_origins(segments, bounds, part, config, number)
    if not len(found):
        horizon, (first, end) = config.window.horizon, bounds[part]
        raise InputError(
            f"the {part} part, {end - first} steps, has no room for a rollout of {config.plan.steps or 2 * horizon}; set "
            f"plan.steps lower (window.horizon is {horizon}), or give split.{part} more"
        )
    return found


def roll(predict: PredictFn, world: World, origin_M: NDArray, scenario: ScenarioConfig | None, paths: int) -> NDArray:
    """Sampled futures from each origin, [M, W, S, C] in the data's own units.

    The errors drawn depend on the config's seed, the origin and the path alone: scenarios are compared on the same draws,
    and any division of origins among actors gives the same paths. Past inputs repeat their last season, for nobody knows
    them beyond the origin.
    """
    segments, window, horizon = world.segments, world.config.window, world.config.window.horizon
    schema, steps = segments.schema, world.steps
    blocks = -(-steps // horizon)
    rows_BX = np.repeat(origin_M[:, None] + np.arange(1 - reach(window), 1), paths, axis=0)
    first_B1 = np.repeat(segments.bounds[segments.series_of(origin_M)], paths)[:, None]
    present_BX, rows_BL = rows_BX >= first_B1, rows_BX[:, -window.history :]
    read = world.read
    target_BXC, past_BLP = read.target_RC[np.maximum(rows_BX, first_B1)], read.past_RP[rows_BL]
    observed_BLC = read.observed_RC[rows_BL]
    known_BTK = np.repeat(_known_ahead(segments, origin_M, window.history, blocks * horizon), paths, axis=0)
    if scenario is not None:
        names = [segments.series[s] for s in segments.series_of(origin_M)]
        hit_B = np.repeat([touches(scenario, name) for name in names], paths)
        target_BXC[hit_B] = changed(target_BXC[hit_B], schema.target, scenario)
        past_BLP[hit_B] = changed(past_BLP[hit_B], schema.past, scenario)
        ahead = known_BTK[:, window.history :]
        ahead[hit_B] = changed_future(ahead[hit_B], schema.known, scenario)
    past_BTP = season_repeated(past_BLP, window.season, blocks * horizon)
    draw_BN = np.concatenate([_draws(world, int(row), paths, blocks) for row in origin_M])
    category_BS = np.repeat(segments.category_SK[segments.series_of(origin_M)], paths, axis=0)
    own_B = units.of_histories(read, origin_M, world.scaler)
    own_B = None if own_B is None else own_B.repeat(paths)
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
        observed_BLC = np.ones_like(observed_BLC)
    future_BSC = target_BXC[:, reach(window) : reach(window) + steps]
    return future_BSC.reshape(len(origin_M), paths, steps, -1)


def actual_after(segments: Segments, origin_M: NDArray, steps: int) -> tuple[NDArray, NDArray]:
    """What really followed each origin, and where it was measured, [M, S, C] each."""
    rows = origin_M[:, None] + np.arange(1, steps + 1)
    return segments.target_RC[rows], segments.observed_RC[rows]


def season_repeated(past_BLP: NDArray, season: int, steps: int) -> NDArray:
    """Past inputs followed by ``steps`` steps that repeat their last season, [B, L + steps, P]."""
    last_BLP = past_BLP[:, -season:]
    repeats = -(-steps // last_BLP.shape[1])
    return np.concatenate([past_BLP, np.tile(last_BLP, (1, repeats, 1))[:, :steps]], axis=1)


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


def _known_ahead(segments: Segments, origin_M: NDArray, history: int, ahead: int) -> NDArray:
    """Known inputs from the history's first step to the last of the rollout, [M, L + ahead, K]; past the segment's end
    the calendar goes on and other columns keep their last value."""
    rows = origin_M[:, None] + np.arange(1 - history, ahead + 1)
    last = segments.bounds[segments.series_of(origin_M) + 1][:, None] - 1
    known: NDArray = segments.known_RK[np.minimum(rows, last)]
    schema = segments.schema
    if schema.calendar:
        steps = segments.steps(origin_M)[:, None] + np.arange(1 - history, ahead + 1)
        calendar = schema.calendar_features(schema.times(steps.ravel()))
        known[:, :, len(schema.known) :] = calendar.reshape(*steps.shape, -1)
    return known


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
