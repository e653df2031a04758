"""What is known at the moments that simulated futures start from. Knows segments; no models.

Shapes: M origins, L history, X history and what lies the longest lag before it, A steps ahead, C targets, P past, K known.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.lags import reach
from lstm_ray.data.parts import Boundaries, Part
from lstm_ray.data.quality.clean import seen
from lstm_ray.data.scaling import units
from lstm_ray.data.schema import Own, Scaler
from lstm_ray.data.spread import at_common_times, evenly
from lstm_ray.data.windows import Segments, origin_ranges
from lstm_ray.errors import InputError
from lstm_ray.model.residuals import Residuals

FEWEST_STARTS = 8
"""Times that rollouts start from before series are left out."""


@dataclass(frozen=True)
class World:
    """What a rollout needs besides where it starts."""

    segments: Segments
    """Unscaled."""
    scaler: Scaler
    config: Config
    residuals: Residuals | None = None
    """What the policy's forecasts of validation windows missed: paths are drawn from it (task: forecast)."""

    @cached_property
    def read(self) -> Segments:
        """The segments as a network may see them."""
        return seen(self.segments, self.scaler)

    @property
    def steps(self) -> int:
        return self.config.plan.steps or 2 * self.config.window.horizon

    @property
    def ahead(self) -> int:
        """Steps of the future that whole blocks of the horizon reach over."""
        horizon = self.config.window.horizon
        return -(-self.steps // horizon) * horizon


@dataclass(frozen=True)
class Start:
    """What is known at M origins, in the data's own units. Scenarios and decisions are changes to it."""

    row_M: NDArray
    """Rows of the segments, int64."""
    step_M: NDArray
    """Steps of the common time axis, int64."""
    series: list[str]
    target_MXC: NDArray
    present_MX: NDArray
    """False before the first step of a series, bool."""
    observed_MLC: NDArray
    """1 where a target was measured."""
    past_MLP: NDArray
    known_MTK: NDArray
    """From the history's first step to the last one ahead [M, L + A, K]: known columns, then calendar features."""
    category_MS: NDArray
    own: Own | None
    """The units that targets are told in, where each series has its own."""
    past_ahead_MAP: NDArray | None = None
    """Past inputs beyond the origin; None: nobody knows them, and they repeat their last season."""

    def take(self, index_B: NDArray) -> Start:
        """Some of the origins, in any order and as often as asked."""
        return Start(
            row_M=self.row_M[index_B],
            step_M=self.step_M[index_B],
            series=[self.series[b] for b in index_B],
            target_MXC=self.target_MXC[index_B],
            present_MX=self.present_MX[index_B],
            observed_MLC=self.observed_MLC[index_B],
            past_MLP=self.past_MLP[index_B],
            known_MTK=self.known_MTK[index_B],
            category_MS=self.category_MS[index_B],
            own=None if self.own is None else self.own.take(index_B),
            past_ahead_MAP=None if self.past_ahead_MAP is None else self.past_ahead_MAP[index_B],
        )

    def past_with_ahead(self, season: int, ahead: int) -> NDArray:
        """Past inputs of history and future, [M, L + A, P]."""
        if self.past_ahead_MAP is not None:
            return np.concatenate([self.past_MLP, self.past_ahead_MAP[:, :ahead]], axis=1)
        return season_repeated(self.past_MLP, season, ahead)


def start_of(world: World, origin_M: NDArray) -> Start:
    """What the data holds at some rows of the segments."""
    segments, window = world.segments, world.config.window
    of_M = segments.series_of(origin_M)
    rows_MX = origin_M[:, None] + np.arange(1 - reach(window), 1)
    first_M1 = segments.bounds[of_M][:, None]
    rows_ML = rows_MX[:, -window.history :]
    read = world.read
    return Start(
        row_M=origin_M,
        step_M=segments.steps(origin_M),
        series=[segments.series[s] for s in of_M],
        target_MXC=read.target_RC[np.maximum(rows_MX, first_M1)],
        present_MX=rows_MX >= first_M1,
        observed_MLC=read.observed_RC[rows_ML],
        past_MLP=read.past_RP[rows_ML],
        known_MTK=_known_ahead(segments, origin_M, window.history, world.ahead),
        category_MS=segments.category_SK[of_M],
        own=units.of_histories(read, origin_M, world.scaler),
    )


def rollout_origins(
    segments: Segments, bounds: Boundaries, part: Part, config: Config, number: int, together: bool = False
) -> NDArray:
    """At most ``number`` origins spread evenly over a part, each with a whole rollout inside it, int64 [M].

    Args:
        together: series start at the same times, as far as the number allows: what happens to them together can be judged.
    """
    steps = config.plan.steps or 2 * config.window.horizon
    window = config.window.model_copy(update={"horizon": max(steps, config.window.horizon)})
    ranges = origin_ranges(segments, bounds, part, window)
    rows = np.concatenate([np.arange(first, end) for first, end in ranges] or [np.empty(0, np.int64)])
    if together:
        return rows[at_common_times(segments.steps(rows), number, FEWEST_STARTS, turning=True)]
    return evenly(rows, number)


def some_origins(
    segments: Segments, bounds: Boundaries, part: Part, config: Config, number: int, together: bool = False
) -> NDArray:
    """``rollout_origins``. Raises InputError where the part is too short for a rollout."""
    found = rollout_origins(segments, bounds, part, config, number, together)
    if not len(found):
        horizon, (first, end) = config.window.horizon, bounds[part]
        steps, field = config.plan.steps or 2 * horizon, "plan.steps"
        if config.plan.decision is not None and steps == config.plan.decision.steps:
            field = "plan.decision.steps"
        raise InputError(
            f"the {part} part, {end - first} steps, has no room for a rollout of {steps}; set {field} lower (window.horizon is "
            f"{horizon}), or give split.{part} more"
        )
    return found


def actual_after(segments: Segments, origin_M: NDArray, steps: int) -> tuple[NDArray, NDArray]:
    """What really followed each origin, and where it was measured, [M, S, C] each."""
    rows = origin_M[:, None] + np.arange(1, steps + 1)
    return segments.target_RC[rows], segments.observed_RC[rows]


def season_repeated(past_BLP: NDArray, season: int, steps: int) -> NDArray:
    """Past inputs followed by ``steps`` steps that repeat their last season, [B, L + steps, P]."""
    last_BLP = past_BLP[:, -season:]
    repeats = -(-steps // last_BLP.shape[1])
    return np.concatenate([past_BLP, np.tile(last_BLP, (1, repeats, 1))[:, :steps]], axis=1)


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
