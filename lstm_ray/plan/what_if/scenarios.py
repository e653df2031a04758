"""What a scenario does to what is known at some origins, or to whole sequences. Knows columns; knows no models.

Shapes: M origins or items, X history and what lies the longest lag before it, L history, A steps ahead, R rows, C targets,
P past, K known.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.lags import reach
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import Segments, origin_ranges
from lstm_ray.errors import InputError, nearest
from lstm_ray.plan.futures.starts import Start, World
from lstm_ray.plan.what_if.changes import Column, Setting, between, changed, lags, stretch_of, too_early, touches
from lstm_ray.sections.scenario import ChangeConfig, ScenarioConfig


def under(start: Start, scenario: ScenarioConfig | None, world: World) -> Start:
    """What would be known under a scenario; None changes nothing.

    Past inputs that a change reaches beyond the origin are told from there on: the last season repeated, then changed.
    Others go on as they do without a scenario: their last season, changed or not, is repeated.

    Raises InputError where a stretch that is copied is not there.
    """
    if scenario is None:
        return start
    setting = Setting.of(world.segments.schema, world.config)
    told: dict[int, NDArray] = {}
    for change in scenario.changes:
        start = _with(start, change, world, setting, f"plan.scenarios '{scenario.name}'", told)
    if not told:
        return start
    ahead = start.known_MTK.shape[1] - start.past_MLP.shape[1]
    past_MAP = start.past_with_ahead(setting.season, ahead)[:, -ahead:].copy()
    for p, ahead_MA in told.items():
        past_MAP[..., p] = ahead_MA
    return replace(start, past_ahead_MAP=past_MAP)


def under_rows(segments: Segments, scenario: ScenarioConfig | None, item_M3: NDArray, config: Config) -> Segments:
    """The segments as a scenario changes their past inputs, in each item's rows and what lies before them in its segment;
    step 0 is the item's last.

    Args:
        item_M3: segment of each item, its first row and the one after its last; one item at most for a segment.
    """
    if scenario is None:
        return segments
    setting, schema = Setting.of(segments.schema, config), segments.schema
    past_RP, observed_RC = segments.past_RP.copy(), segments.observed_RC
    observed_RC = observed_RC.copy() if schema.observed == schema.past else observed_RC
    for segment, first, end in item_M3:
        if not any(touches(change, segments.series[segment]) for change in scenario.changes):
            continue
        rows = slice(segments.bounds[segment], end)
        mine = replace(setting, history=int(end - first), steps=0)
        for change in scenario.changes:
            p = schema.past.index(change.column)
            begins = int(rows.start - end + 1)
            column = Column(
                value_MT=past_RP[None, rows, p],
                measured_MT=observed_RC[None, rows, p] if schema.observed == schema.past else None,
                first=begins,
                origin_M=segments.steps(np.array([end - 1])),
                names=[segments.series[segment]],
                begins_M=np.array([begins]),
                before=lambda m: np.empty(0, np.float32),
            )
            found = changed(column, change, mine, f"plan.scenarios '{scenario.name}'")
            past_RP[rows, p] = found.value_MT[0]
            if found.measured_MT is not None:
                observed_RC[rows, p] = found.measured_MT[0]
    return replace(segments, past_RP=past_RP, observed_RC=observed_RC)


def require_possible(config: Config, segments: Segments, bounds: Boundaries) -> None:
    """Raises InputError where a scenario names a series or times that are not in the data, or lies where nothing is read: it
    would change nothing, unnoticed."""
    setting = Setting.of(segments.schema, config)
    for scenario in config.plan.scenarios:
        where = f"plan.scenarios '{scenario.name}'"
        for change in scenario.changes:
            for name in change.series:
                if name not in segments.series:
                    raise InputError(
                        f"{where}: series '{name}' is not in the data{nearest(name, set(segments.series))}"
                    )
            _require_times(change, setting, segments, bounds, where)
            if config.task == "forecast":
                _require_read(change, setting, segments, bounds, config, where)


def _with(
    start: Start, change: ChangeConfig, world: World, setting: Setting, where: str, told: dict[int, NDArray]
) -> Start:
    """The start with one change made. Past inputs beyond the origin, where it reaches these, are put into ``told``."""
    schema, history = world.segments.schema, start.past_MLP.shape[1]
    if change.column in schema.target:
        c = schema.target.index(change.column)
        extra = start.target_MXC.shape[1] - history
        rows_MX = start.row_M[:, None] + np.arange(1 - history - extra, 1 - history)
        earlier_MX = world.read.observed_RC[np.maximum(rows_MX, 0), c]
        measured_MX = np.concatenate([earlier_MX, start.observed_MLC[..., c]], axis=1)
        column = _column(start, start.target_MXC[..., c], measured_MX, world, world.read.target_RC[:, c], 1)
        found = changed(column, change, setting, where)
        target_MXC, observed_MLC = start.target_MXC.copy(), start.observed_MLC.copy()
        assert found.measured_MT is not None
        target_MXC[..., c], observed_MLC[..., c] = found.value_MT, found.measured_MT[:, extra:]
        return replace(start, target_MXC=target_MXC, observed_MLC=observed_MLC)
    if change.column in schema.past:
        p, ahead = schema.past.index(change.column), start.known_MTK.shape[1] - history
        value_MT = told.get(p)
        if value_MT is None:
            value_MT = start.past_with_ahead(setting.season, ahead)[:, history:, p]
        value_MT = np.concatenate([start.past_MLP[..., p], value_MT], axis=1)
        column = _column(start, value_MT, None, world, world.read.past_RP[:, p], ahead + 1)
        if not (p in told or stretch_of(column, change, setting, where).inside_MT[:, history:].any()):
            column = replace(column, value_MT=value_MT[:, :history])
        found = changed(column, change, setting, where)
        past_MLP = start.past_MLP.copy()
        past_MLP[..., p] = found.value_MT[:, :history]
        if found.value_MT.shape[1] > history:
            told[p] = found.value_MT[:, history:]
        return replace(start, past_MLP=past_MLP)
    k, ahead = schema.known.index(change.column), start.known_MTK.shape[1] - history
    column = _column(start, start.known_MTK[..., k], None, world, world.segments.known_RK[:, k], ahead + 1)
    known_MTK = start.known_MTK.copy()
    column = replace(column, ahead=True, constant=change.column in world.config.data.static)
    known_MTK[..., k] = changed(column, change, setting, where).value_MT
    return replace(start, known_MTK=known_MTK)


def _column(
    start: Start, value_MT: NDArray, measured_MT: NDArray | None, world: World, rows_R: NDArray, end: int
) -> Column:
    """A column of a start: its steps before ``end``, and the rows that it was cut from."""
    segments, first = world.segments, end - value_MT.shape[1]
    first_row_M = segments.bounds[segments.series_of(start.row_M)]

    def before(m: int) -> NDArray:
        return rows_R[first_row_M[m] : max(first_row_M[m], start.row_M[m] + first)]

    return Column(
        value_MT=value_MT,
        measured_MT=measured_MT,
        first=first,
        origin_M=start.step_M,
        names=start.series,
        begins_M=first_row_M - start.row_M,
        before=before,
    )


def _require_times(change: ChangeConfig, setting: Setting, segments: Segments, bounds: Boundaries, where: str) -> None:
    """Raises InputError where a time that a change names is no time of the data."""
    axis = setting.axis
    last = int((segments.first_step + np.diff(segments.bounds)).max()) - 1
    spans = f"the data spans {axis.time(0)} to {axis.time(last)}"
    if change.between is not None:
        begin, end = between(change, setting, where)
        if end < begin:
            raise InputError(f"{where}: between {list(change.between)} holds no step of the data; {spans}")
        if end < 0 or begin > last:
            raise InputError(f"{where}: between {list(change.between)} lies outside the data; {spans}")
    if change.source is None or setting.counts_back(change.source):
        return
    if not 0 <= setting.step(change.source, f"{where}: source") <= last:
        raise InputError(f"{where}: source {change.source} lies outside the data; {spans}")


def _require_read(
    change: ChangeConfig, setting: Setting, segments: Segments, bounds: Boundaries, config: Config, where: str
) -> None:
    """Raises InputError where no rollout of the validation part reads what a change reaches, or what it copies begins before
    its series."""
    window, schema, axis = config.window, segments.schema, setting.axis
    horizon = max(config.plan.steps or 2 * window.horizon, window.horizon)
    range_S2 = origin_ranges(segments, bounds, "validation", window.model_copy(update={"horizon": horizon}))
    held = [s for s, (first, end) in enumerate(range_S2) if end > first and touches(change, segments.series[s])]
    origin_S2 = range_S2[held] - segments.bounds[held][:, None] + segments.first_step[held][:, None] - np.array([0, 1])
    is_target = change.column in schema.target
    least = 1 - (reach(window) if is_target else window.history)
    first, last = change.stretch(change.column in schema.known)
    begin = least if first is None else first
    if last is not None and change.between is None and last < least:
        raise InputError(
            f"{where}: column '{change.column}' changes up to step {last}, but the policy reads from step {least} on; raise "
            "first"
        )
    if not held:
        return
    read_S2 = origin_S2 + np.array([least, 0 if is_target else horizon])
    start_S, length = origin_S2[:, 0] + begin, horizon + 1 - begin if last is None else last + 1 - begin
    cell_S = np.maximum(start_S, segments.first_step[held])
    if change.between is not None:
        begin, end = between(change, setting, where)
        if not (met_S := (read_S2[:, 1] >= begin) & (read_S2[:, 0] <= end)).any():
            raise InputError(
                f"{where}: between {list(change.between)} changes nothing: rollouts of the validation part read "
                f"'{change.column}' from {axis.time(int(read_S2[:, 0].min()))} to {axis.time(int(read_S2[:, 1].max()))}"
            )
        held, read_S2 = [s for s, met in zip(held, met_S, strict=True) if met], read_S2[met_S]
        start_S, length, cell_S = np.full(len(held), begin), end - begin + 1, np.maximum(begin, read_S2[:, 0])
    if change.operation == "replay":
        from_S = cell_S - lags(change, setting, start_S, length, where)
        for s, step in zip(held, from_S, strict=True):
            if step < segments.first_step[s]:
                raise too_early(where, axis, step, segments.series[s], segments.first_step[s])
