"""A starting config for an unknown table: every line with its reason, and what it was unsure of. Writes no file itself."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import yaml

from lstm_ray.config import Config, parse
from lstm_ray.data.source import files
from lstm_ray.data.timeline import grid
from lstm_ray.data.timeline.frequency import describe_step
from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.errors import InputError
from lstm_ray.explore.analysis import clock_of, counted, percent
from lstm_ray.explore.classes import UNBALANCED
from lstm_ray.explore.geometry import Geometry, of_forecast, of_sequences
from lstm_ray.explore.roles import Roles, guess, is_wide
from lstm_ray.sections.data import DataConfig

MOST_ROWS, MOST_PIECES = 300_000, 3
"""Rows that are looked at, of at most so many pieces of the source: its first, and others evenly spread."""
MOSTLY_ODD = 0.5
"""Share of differences off the commonest step from which rows are steps of their own."""
KEYS = {"series_id": "series_id", "time": "time", "target": "target", "past": "past", "known": "known"}


@dataclass(frozen=True)
class Suggestion:
    """A config as text, with a comment on every line; the same parsed; and doubts in words."""

    text: str
    config: Config
    unsure: list[str]


def suggest(source: str) -> Suggestion:
    """Look at a table and write the config to start from.

    Args:
        source: as data.source: a file, a folder, a glob or an address.

    Raises InputError where the source cannot be read, or holds no number that changes.
    """
    if files_are_sequences(source):
        roles, tree, geometry = _of_ts(source)
    else:
        roles, tree, geometry = _of_table(source)
    name = re.sub(r"[^A-Za-z0-9]+", "_", Path(source.rstrip("/").partition("?")[0]).stem).strip("_") or "table"
    unsure = [*roles.unsure, *geometry.unsure]
    text = _rendered(name, source, roles, tree, geometry, unsure)
    return Suggestion(text, parse(yaml.safe_load(text)), unsure)


def files_are_sequences(source: str) -> bool:
    """Whether the source is a file that says itself what it holds."""
    return DataConfig(source=source).is_ts


def _of_ts(source: str) -> tuple[Roles, dict[str, tuple[Any, str]], Geometry]:
    """Sequences with a class each; a test file beside a training file is taken too."""
    other = Path(re.sub("(?i)train", "TEST", Path(source).name))
    test = Path(source).with_name(str(other))
    both = other.name != Path(source).name and test.exists()
    given: str | list[str] = [source, str(test)] if both else source
    reason = "the training file, and the test file beside it" if both else "sequences with a class each"
    data = files.roles(DataConfig(source=given))
    frame = grid.typed(files.read(data), data)
    step = grid.frequency(frame, data)
    roles = Roles(task="classify", reasons={"task": "the file gives each sequence a class"})
    geometry = of_sequences(
        grid.on_grid(frame, step, data), data.past, clock_of(frame, step, data), has_time=True, steps=False
    )
    if both:
        geometry.fields.pop("split", None)
    return roles, {"source": (given, reason)}, geometry


def _of_table(source: str) -> tuple[Roles, dict[str, tuple[Any, str]], Geometry]:
    header = files.header(DataConfig(source=source))
    text, is_whole = _rows(DataConfig(source=source, series_id=header))
    frame = pl.DataFrame(text)
    looked = f"the whole table, {frame.height:,} rows" if is_whole else f"{frame.height:,} of its rows were looked at"
    tree: dict[str, tuple[Any, str]] = {"source": (source, looked)}
    if is_wide(frame, header):
        roles = Roles(layout="wide", reasons={"layout": f"a row for each series, {len(header) - 1:,} values in order"})
        data = files.roles(DataConfig(source=source, layout="wide"))
        roles.columns["target"], roles.reasons["target"] = list(data.target), "the name the values are given"
    else:
        roles = guess(frame)
        data = files.roles(DataConfig.model_validate({"source": source, "layout": roles.layout, **roles.values()}))
    roles.reasons.setdefault("task", "forecasts: no column gives classes")
    data, changed = _times_of(data, roles, tree)
    table, _ = _rows(data)
    read = grid.typed(table, data, Counter())
    if not (data.target or data.past):
        why = "; ".join(f"{column} {reason}" for column, reason in roles.left_out.items())
        raise InputError(
            f"'{source}' has no column of numbers that change, so there is nothing to learn from{f' ({why})' if why else ''}; "
            "name another table"
        )
    step = grid.frequency(read, data)
    clock = clock_of(read, step, data)
    regular = grid.on_grid(read, step, data)
    if roles.task == "forecast":
        return roles, tree | changed, of_forecast(regular, data.target, clock, is_whole=is_whole)
    per_step = roles.task == "label"
    geometry = of_sequences(regular, data.past, clock, has_time=data.time is not None, steps=per_step)
    _weigh_classes(geometry, read, data, per_step)
    return roles, tree | changed, geometry


def _rows(data: DataConfig) -> tuple[pa.Table, bool]:
    """Rows of the source, of its first piece and some others where it is large, and whether they are all."""
    pieces = files.pieces(data)
    chosen = (
        sorted({round(i * (len(pieces) - 1) / (MOST_PIECES - 1)) for i in range(MOST_PIECES)})
        if len(pieces) > 1
        else [0]
    )
    tables = [files.read_piece(data, pieces[at]) for at in chosen]
    each = MOST_ROWS // len(tables)
    table = pa.concat_tables([one.slice(0, each) for one in tables])
    if not table.num_rows:
        raise InputError(f"data.source '{data.source}' has a header but no rows; name files that hold data")
    return table, len(chosen) == len(pieces) and table.num_rows == sum(one.num_rows for one in tables)


def _times_of(data: DataConfig, roles: Roles, tree: dict[str, tuple[Any, str]]) -> tuple[DataConfig, dict[str, Any]]:
    """The step, what to do with rows off it and with rows that come twice."""
    changed: dict[str, tuple[Any, str]] = {}
    if data.time is None or data.layout == "wide":
        return data, changed
    table, _ = _rows(data)
    frame, counts = pl.DataFrame(), Counter[str]()
    frame = grid.typed(table, data.model_copy(update={"duplicates": "last"}), counts)
    if counts["duplicates"]:
        changed["duplicates"] = (
            "mean",
            f"{counted(counts['duplicates'], 'row comes', 'rows come')} twice; or last, or sum",
        )
        roles.unsure.append(f"data.duplicates is mean: {counts['duplicates']:,} rows repeat a time of their series")
        data = data.model_copy(update={"duplicates": "mean"})
    data = grid.settled(data, table)
    if data.frequency:
        changed["frequency"] = (data.frequency, "a step of the calendar, of no fixed length")
        return data, changed
    differences = grid.differences(frame)
    if differences.is_empty():
        raise InputError(
            f"'{data.source}' has one row in every series by {data.series_id}, so there is no course to learn"
        )
    is_time = isinstance(frame.schema[TIME], pl.Datetime)
    step, total = grid.step_of(differences, data, is_time), int(differences["n"].sum())
    off = int(differences.filter(pl.col("difference") % step != 0)["n"].sum()) / total
    exact = int(differences.filter(pl.col("difference") == step)["n"].sum()) / total
    words = describe_step(step, is_time)
    if off:
        how = "time_delta" if off > MOSTLY_ODD else "resample"
        changed["irregular"] = (how, f"{percent(off)} of the differences are no multiple of {words}, the commonest")
        roles.unsure.append(f"data.irregular is {how}: {percent(off)} of the time stamps lie off a grid of {words}")
        data = data.model_copy(update={"irregular": how})
    if is_time and re.fullmatch(r"\d+[smhdw]", words) and data.irregular != "time_delta":
        changed["frequency"] = (words, f"{percent(exact)} of the differences between time stamps")
        data = data.model_copy(update={"frequency": words})
    return files.roles(data), changed


def _weigh_classes(geometry: Geometry, frame: pl.DataFrame, data: DataConfig, per_step: bool) -> None:
    assert data.label is not None
    labels = frame if per_step else frame.group_by(SERIES).agg(pl.col(data.label).drop_nulls().first())
    counts = labels[data.label].drop_nulls().value_counts().sort("count", descending=True)
    name, most = counts.row(0)
    share = most / int(counts["count"].sum())
    if share >= UNBALANCED:
        geometry.set("train", "class_weights", "balanced", f"{percent(share)} are '{name}'")


def _rendered(
    name: str, source: str, roles: Roles, tree: dict[str, tuple[Any, str]], geometry: Geometry, unsure: list[str]
) -> str:
    """The YAML, a field a line, its reason behind it; the doubts on top."""
    lines = [f"# A start for {_one_line(source)}. Every line says why; look at these first:"]
    lines += [f"# - {_one_line(doubt)}" for doubt in unsure]
    if not unsure:
        lines[0] = f"# A start for {_one_line(source)}. Every line says why."
    lines += [f"name: {_plain(name)}", f"task: {roles.task}  # {_one_line(roles.reasons['task'])}", "data:"]
    fields = dict(tree)
    if roles.layout != "long":
        fields["layout"] = (roles.layout, roles.reasons["layout"])
    order = ("source", "layout", "series_id", "time", "frequency", "irregular", "duplicates")
    fields |= {role: (value, roles.reasons.get(role, "")) for role, value in roles.values().items()}
    names = [*[key for key in order if key in fields], *[key for key in fields if key not in order]]
    lines += [_line(key, *fields[key]) for key in names]
    lines += [
        f"  # {role}: {_one_line(why)}" for role, why in roles.reasons.items() if role in KEYS and role not in fields
    ]
    lines += [f"  # left out: {_one_line(column)} {_one_line(why)}" for column, why in roles.left_out.items()]
    for section in ("preprocess", "split", "window", "train"):
        if geometry.fields.get(section):
            lines.append(f"{section}:")
            lines += [_line(key, *geometry.fields[section][key]) for key in geometry.fields[section]]
    return "\n".join(lines) + "\n"


def _line(key: str, value: Any, reason: str) -> str:
    return f"  {key}: {_plain(value)}" + (f"  # {_one_line(reason)}" if reason else "")


def _plain(value: Any) -> str:
    """A value as YAML in one line."""
    return (
        yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True)
        .removesuffix("\n...\n")
        .strip()
    )


def _one_line(words: str) -> str:
    """What a comment can hold: a column's name may have a line break of its own."""
    return " ".join(str(words).split())
