"""One change to one column, whoever holds it: rollouts, whole sequences or a request. NumPy; knows no models.

Steps are counted from the origin: 0 is the last one known, 1 the first ahead; of a whole sequence 0 is its last.
Shapes: M series (or a series at M origins), T steps, E earlier steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.quality.impute import Filling, fill
from lstm_ray.data.scaling.sums import mixed
from lstm_ray.data.schema import Schema
from lstm_ray.data.timeline.axis import Axis
from lstm_ray.errors import InputError
from lstm_ray.sections.scenario import ChangeConfig, Operation

WHOLE: tuple[Operation, ...] = ("shift", "scale", "set", "missing", "noise")
"""Operations that, where a stretch is all of history, change what lies before the history as well (lags read it)."""
FAR = 1 << 62
"""A step that is never reached."""


@dataclass(frozen=True)
class Column:
    """One column of M series, side by side."""

    value_MT: NDArray
    measured_MT: NDArray | None
    """Above 0 where a value was measured; None: nobody tells."""
    first: int
    """Step of the first of the T."""
    origin_M: NDArray
    """Step of each origin on the common time axis."""
    names: Sequence[str]
    begins_M: NDArray
    """Step of each series' first value; what stands before it is none."""
    before: Callable[[int], NDArray]
    """The m-th series' values before the first of the T, [E]; their last stands just before it."""
    ahead: bool = False
    """It is known ahead."""
    constant: bool = False
    """It changes as a whole."""

    @property
    def steps(self) -> NDArray:
        """Of the T, counted from the origin."""
        return self.first + np.arange(self.value_MT.shape[1])


@dataclass(frozen=True)
class Setting:
    """What the words of a change mean."""

    axis: Axis
    history: int
    """Steps of a history."""
    steps: int
    """Steps ahead that are looked at; a stretch without an end ends with them."""
    season: int
    seed: int
    filling: Filling | None
    """What goes into missing values; None: NaN does."""

    @classmethod
    def of(cls, schema: Schema, config: Config) -> Setting:
        window, filling = config.window, Filling.of(config.preprocess, config.window)
        steps = config.plan.steps or 2 * window.horizon
        return cls(Axis.of(schema, config.data.time_zone), window.history, steps, window.season, config.seed, filling)

    def step(self, time: str, what: str, end: bool = False) -> int:
        """The step at a time, or the first after it; as an ``end`` the last at or before it. Raises InputError where the time
        is not as the data's."""
        whole_day = end and len(time) == 10 and self.axis.is_time and not self.axis.in_months
        tick = self.axis.tick(f"{time}T23:59:59.999999" if whole_day else time, what) - self.axis.start
        return tick // self.axis.step if end else -(-tick // self.axis.step)

    def counts_back(self, source: str) -> bool:
        """Whether what is copied is told by steps, for it is no time of the data's kind."""
        return (self.axis.is_time or self.axis.in_months) and source.lstrip("-").isdigit()


@dataclass(frozen=True)
class Stretch:
    """Where a change lies."""

    place_MT: NDArray
    """Place of each step in the stretch, from 0."""
    length: int
    inside_MT: NDArray
    lag_M: NDArray
    """Steps from what is copied to where it is put (replay)."""


def touches(change: ChangeConfig, series: str) -> bool:
    """Whether it changes this series. ``series`` in the YAML names it as the tables do."""
    return not change.series or series in change.series


def changed(column: Column, change: ChangeConfig, setting: Setting, where: str) -> Column:
    """The column with the change made; what the change does not reach stays as it is.

    Args:
        where: what an error begins with.

    Raises InputError where a time is not as the data's, what is copied is not there, or a value becomes infinite.
    """
    stretch = stretch_of(column, change, setting, where)
    if not stretch.inside_MT.any():
        return column
    with np.errstate(over="ignore"):
        value_MT, measured_MT = OPERATIONS[change.operation](column, change, setting, stretch, where)
    value_MT = np.where(stretch.inside_MT, value_MT, column.value_MT).astype(column.value_MT.dtype)
    if np.isinf(value_MT).any():
        raise InputError(f"{where}: column '{change.column}' becomes infinite; bring value {change.value} nearer to 0")
    if column.measured_MT is not None and measured_MT is not None:
        measured_MT = np.where(stretch.inside_MT, measured_MT, column.measured_MT).astype(column.measured_MT.dtype)
    else:
        measured_MT = column.measured_MT
    return replace(column, value_MT=value_MT, measured_MT=measured_MT)


def stretch_of(column: Column, change: ChangeConfig, setting: Setting, where: str) -> Stretch:
    """Where a change lies in a column."""
    step_T, origin_M1 = column.steps, column.origin_M[:, None]
    first, last = (None, None) if column.constant else change.stretch(column.ahead)
    begin = 1 - setting.history if first is None else first
    if change.between is not None:
        first, last = between(change, setting, where)
        place_MT, length = origin_M1 + step_T - first, last - first + 1
    else:
        end = max(begin, min(int(step_T[-1]), setting.steps)) if last is None else last
        place_MT, length = np.broadcast_to(step_T - begin, column.value_MT.shape), end - begin + 1
    least = -FAR if first is None and change.operation in WHOLE else 0
    most = FAR if last is None else length
    inside_MT = (place_MT >= least) & (place_MT < most) & (step_T >= column.begins_M[:, None])
    inside_MT = inside_MT & np.array([touches(change, name) for name in column.names])[:, None]
    lag_M = np.zeros(len(column.names), np.int64)
    if change.operation == "replay":
        start_M = np.full(len(lag_M), first) if change.between is not None else column.origin_M + begin
        lag_M = lags(change, setting, start_M, length, where)
    return Stretch(place_MT, length, inside_MT, lag_M)


def between(change: ChangeConfig, setting: Setting, where: str) -> tuple[int, int]:
    """First and last step of a stretch between two times, on the common time axis."""
    assert change.between is not None, "the stretch is told by times"
    first, last = change.between
    return setting.step(first, f"{where}: between"), setting.step(last, f"{where}: between", end=True)


def too_early(where: str, axis: Axis, step: int, series: str, first: int) -> InputError:
    """What is copied would lie before a series' first step."""
    return InputError(
        f"{where}: what is copied begins at {axis.time(int(step))}, but series '{series}' is known without a break from "
        f"{axis.time(int(first))} on; name a later source, or leave the series out"
    )


def lags(change: ChangeConfig, setting: Setting, start_M: NDArray, length: int, where: str) -> NDArray:
    """Steps from what is copied to where it is put, where the stretches begin at some steps of the time axis, int64 [M].

    Raises InputError where it is not before.
    """
    axis, source = setting.axis, change.source
    if source is None:
        # As few seasons as leave what is copied before the stretch: a season is repeated, not its copy.
        return np.full(len(start_M), -(-length // setting.season) * setting.season)
    if setting.counts_back(source):
        lag_M = np.full(len(start_M), int(source))
    else:
        lag_M = start_M - setting.step(source, f"{where}: source")
    if (wrong := lag_M < 1).any():
        start = axis.time(int(start_M[wrong][0]))
        raise InputError(
            f"{where}: source {source} is not before the stretch, which begins at {start}; name an earlier one"
        )
    return lag_M


Operated = tuple[NDArray, NDArray | None]
"""Values [M, T] and, where they differ, which are measured; outside of the stretch anything."""


def _shift(column: Column, change: ChangeConfig, setting: Setting, stretch: Stretch, where: str) -> Operated:
    return column.value_MT + change.value, None


def _scale(column: Column, change: ChangeConfig, setting: Setting, stretch: Stretch, where: str) -> Operated:
    return column.value_MT * change.value, None


def _set(column: Column, change: ChangeConfig, setting: Setting, stretch: Stretch, where: str) -> Operated:
    return np.full(column.value_MT.shape, change.value), np.ones(column.value_MT.shape)


def _ramp(column: Column, change: ChangeConfig, setting: Setting, stretch: Stretch, where: str) -> Operated:
    assert change.value is not None
    return column.value_MT + change.value * np.minimum((stretch.place_MT + 1) / stretch.length, 1), None


def _shock(column: Column, change: ChangeConfig, setting: Setting, stretch: Stretch, where: str) -> Operated:
    assert change.value is not None
    place_MT = np.maximum(stretch.place_MT, 0)
    left_MT = 0.5 ** (place_MT / change.half_life) if change.half_life else place_MT == 0
    return column.value_MT + change.value * left_MT, None


def _noise(column: Column, change: ChangeConfig, setting: Setting, stretch: Stretch, where: str) -> Operated:
    """A step of a series has its own draw, whichever origin looks at it."""
    keys = [
        blake2b(repr((setting.seed, change.column, name)).encode(), digest_size=8).digest() for name in column.names
    ]
    key_M1 = np.array([int.from_bytes(key, "little") for key in keys], np.uint64)[:, None]
    step_MT = (column.origin_M[:, None] + column.steps).astype(np.uint64)
    uniform_MT = ((mixed(key_M1 ^ mixed(step_MT)) >> np.uint64(11)) + 0.5) / 2.0**53
    normal_MT = np.vectorize(NormalDist().inv_cdf, otypes=[np.float64])(uniform_MT)
    return column.value_MT + change.value * normal_MT, None


def _replay(column: Column, change: ChangeConfig, setting: Setting, stretch: Stretch, where: str) -> Operated:
    value_MT = column.value_MT.copy()
    measured_MT = None if column.measured_MT is None else np.ones(column.value_MT.shape)
    for m in np.flatnonzero(stretch.inside_MT.any(1)).tolist():
        to_N = np.flatnonzero(stretch.inside_MT[m])
        from_N = to_N - stretch.lag_M[m]
        if (early := column.first + from_N[0]) < column.begins_M[m]:
            origin = column.origin_M[m]
            raise too_early(where, setting.axis, origin + early, column.names[m], origin + column.begins_M[m])
        held, earlier = from_N >= 0, column.before(m)
        value_MT[m, to_N[held]] = column.value_MT[m, from_N[held]]
        value_MT[m, to_N[~held]] = earlier[from_N[~held]]
        if measured_MT is not None and column.measured_MT is not None:
            measured_MT[m, to_N[held]] = column.measured_MT[m, from_N[held]]
    return value_MT, measured_MT


def _missing(column: Column, change: ChangeConfig, setting: Setting, stretch: Stretch, where: str) -> Operated:
    value_MT = np.where(stretch.inside_MT, np.nan, column.value_MT)
    unmeasured_MT = np.zeros(column.value_MT.shape)
    if setting.filling is None:
        return value_MT, unmeasured_MT
    reach = setting.filling.reach(column.value_MT.shape[1])
    hit = np.flatnonzero(stretch.inside_MT.any(1)).tolist()
    start_M = np.maximum(column.begins_M - column.first, 0)
    parts = []
    for m in hit:
        earlier = column.before(m)
        earlier = earlier if reach is None else earlier[max(0, len(earlier) - reach) :]
        parts.append(np.concatenate([earlier, value_MT[m, start_M[m] :]]))
    bounds = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    filled_R = fill(np.concatenate(parts), bounds, setting.filling)
    for m, end in zip(hit, bounds[1:], strict=True):
        value_MT[m, start_M[m] :] = filled_R[end - (value_MT.shape[1] - start_M[m]) : end]
    return value_MT, unmeasured_MT


OPERATIONS: dict[Operation, Callable[[Column, ChangeConfig, Setting, Stretch, str], Operated]] = {
    "shift": _shift,
    "scale": _scale,
    "set": _set,
    "ramp": _ramp,
    "shock": _shock,
    "replay": _replay,
    "missing": _missing,
    "noise": _noise,
}
