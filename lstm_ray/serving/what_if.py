"""A request's series as a scenario changes them: the same changes that planning makes. Knows no server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lstm_ray.config import Config
from lstm_ray.data.schema import Schema
from lstm_ray.data.timeline.axis import Axis
from lstm_ray.errors import InputError, nearest
from lstm_ray.model.request import SeriesInput
from lstm_ray.plan.what_if.changes import Column, Setting, changed, stretch_of, touches
from lstm_ray.sections.scenario import ChangeConfig, ScenarioConfig, misses
from lstm_ray.serving.bodies import ticks

NOTHING = np.empty(0)


def under(scenario: ScenarioConfig, inputs: Sequence[SeriesInput], config: Config, schema: Schema) -> list[SeriesInput]:
    """The inputs under a scenario. What it says is missing is sent as missing, and filled as any other gap.

    Raises InputError where a column, a series or a time that it names does not exist, or where it changes nothing.
    """
    where, found = f"scenario '{scenario.name}'", list(inputs)
    for change in scenario.changes:
        _require_read(change, found, config, schema, where)
        columns = [_column(item, change, config, schema) if touches(change, item.name) else None for item in found]
        setting = replace(Setting.of(schema, config), axis=Axis.of(schema, None), filling=None)
        met = False
        for i, column in enumerate(columns):
            if column is None:
                continue
            own = setting if config.task == "forecast" else replace(setting, history=len(found[i].times))
            met = met or bool(stretch_of(column, change, own, where).inside_MT.any())
            found[i] = _with(found[i], change, changed(column, change, own, where), schema)
        sent = [column for column in columns if column is not None]
        if sent and not met:
            first, last = (setting.axis.time(int(sent[0].origin_M[0] + step)) for step in sent[0].steps[[0, -1]])
            raise InputError(
                f"{where}: column '{change.column}' changes nowhere in what was sent, from {first} to {last}; move the stretch "
                "there, or send more"
            )
    return found


def _require_read(
    change: ChangeConfig, inputs: Sequence[SeriesInput], config: Config, schema: Schema, where: str
) -> None:
    columns = [*schema.target, *schema.past, *schema.known]
    if change.column not in columns:
        raise InputError(
            f"{where}: column '{change.column}' is no input of this policy{nearest(change.column, columns)}"
        )
    if unknown := sorted(set(change.series) - {item.name for item in inputs}):
        raise InputError(
            f"{where}: series '{unknown[0]}' is not in this request; name one of its series, or none for all"
        )
    ahead = config.window.horizon if config.task == "forecast" else None
    # Past inputs beyond the origin are not read: a forecast is of one horizon.
    ahead = 0 if ahead and change.column in schema.past else ahead
    if problem := misses(change, schema.target, schema.known, config.data.static, ahead):
        raise InputError(f"{where}: column '{change.column}' {problem}")


def _column(item: SeriesInput, change: ChangeConfig, config: Config, schema: Schema) -> Column | None:
    """The column as it was sent; None where it was not sent whole, of which the policy will tell."""
    name, length, ahead = change.column, len(item.times), change.column in schema.known
    if not length or name not in item.columns or (ahead and item.future and name not in item.future):
        return None
    value_T = np.asarray(item.columns[name], dtype=np.float64)
    if value_T.shape != (length,):
        return None
    if ahead and item.future:
        value_T = np.concatenate([value_T, np.asarray(item.future[name], dtype=np.float64)])
    last = ticks(item.times, schema, f"series '{item.name}'")[-1]
    return Column(
        value_MT=value_T[None],
        measured_MT=None,
        first=1 - length,
        origin_M=np.array([(last - schema.axis_start) // schema.step]),
        names=[item.name],
        begins_M=np.array([1 - length]),
        before=lambda m: NOTHING,
        ahead=ahead,
        constant=name in config.data.static,
    )


def _with(item: SeriesInput, change: ChangeConfig, column: Column, schema: Schema) -> SeriesInput:
    name, length, value_T = change.column, len(item.times), column.value_MT[0]
    item = replace(item, columns={**item.columns, name: value_T[:length]})
    return item if len(value_T) == length else replace(item, future={**item.future, name: value_T[length:]})
