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
from lstm_ray.data.source import casting, files
from lstm_ray.data.source.delimited import with_points
from lstm_ray.data.source.sources import is_example, scan
from lstm_ray.data.timeline import grid
from lstm_ray.data.timeline.frequency import describe_step
from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.errors import InputError
from lstm_ray.explore import clocks
from lstm_ray.explore.analysis import clock_of, counted, percent
from lstm_ray.explore.classes import UNBALANCED
from lstm_ray.explore.geometry import Geometry, of_forecast, of_sequences
from lstm_ray.explore.roles import Roles, guess, is_wide
from lstm_ray.sections.data import DataConfig

MOST_ROWS, MOST_RUNS, MOST_PIECES = 300_000, 3, 200
"""Rows that are looked at, in so many runs of neighbours at most: the source's first, and others evenly spread. So many files
or parts of files at most are opened for it."""
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
    lacking = _unusable(source)
    header = [name for name in files.header(DataConfig(source=source)) if name not in lacking]
    text, is_whole = _rows(DataConfig(source=source, series_id=header))
    frame = with_points(pl.DataFrame(text))
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
    roles.left_out |= lacking
    roles.unsure += [f"{name} is left out: it {why}" for name, why in lacking.items()]
    if not (data.target or data.past):
        still = dict.fromkeys(roles.columns.get("static", []), "never changes within a series")
        why = "; ".join(f"{column} {reason}" for column, reason in (roles.left_out | still).items())
        raise InputError(
            f"'{source}' has no column of numbers that change, so there is nothing to learn from{f' ({why})' if why else ''}; "
            "mend it, or name another table"
        )
    data, changed = _times_of(data, roles, tree)
    table, _ = _rows(data)
    read = grid.typed(table, data, Counter())
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
    """Rows of the source, of its beginning and some other places where it is large, and whether they are all."""
    pieces = files.pieces(data)
    tables: list[pa.Table] = []
    left, at, whole = MOST_ROWS, 0, True
    runs = min(MOST_RUNS, len(pieces))
    for run in range(runs):
        # Neighbours are read, for what lies between two places looks like a gap.
        start, at = at, max(at, round(run * len(pieces) / runs))
        whole = whole and start == at
        room, opened = left // (runs - run), 0
        while at < len(pieces) and room > 0 and opened < MOST_PIECES // MOST_RUNS:
            table = files.read_piece(data, pieces[at])
            whole = whole and table.num_rows <= room
            tables.append(table.slice(0, room))
            left, room = left - tables[-1].num_rows, room - tables[-1].num_rows
            at, opened = at + 1, opened + 1
    table = pa.concat_tables(tables)
    if not table.num_rows:
        raise InputError(f"data.source '{data.source}' has a header but no rows; name files that hold data")
    return table, whole and at == len(pieces)


def _unusable(source: str) -> dict[str, str]:
    """Columns that some files of the source lack, or that hold what no role takes, each with why."""
    data = DataConfig(source=source)
    if is_example(data):
        return {}
    seen = scan(data)
    lacking = {name: [one.file.name for one in seen if name not in one.schema] for name in files.header(data)}
    found = {
        name: f"is not in {len(names)} of {len(seen)} files, such as '{names[0]}'"
        for name, names in lacking.items()
        if names
    }
    # In a text file all is text, whatever its values look like.
    typed = [item for one in seen if one.look.head is None for item in one.schema.items()]
    odd = {name: kind for name, kind in typed if not casting.can_be(kind, "words")}
    return found | {name: f"holds {casting.holds(kind)}, which no role takes" for name, kind in odd.items()}


def _times_of(data: DataConfig, roles: Roles, tree: dict[str, tuple[Any, str]]) -> tuple[DataConfig, dict[str, Any]]:
    """The step, what to do with rows off it and with rows that come twice."""
    changed: dict[str, tuple[Any, str]] = {}
    if data.time is None or data.layout == "wide":
        return data, changed
    table, _ = _rows(data)
    zone = clocks.zone_of(pl.DataFrame(table), data)
    if zone:
        changed["time_zone"] = (zone, "one hour is missing and one comes twice as there, where clocks are set")
        roles.unsure.append(f"data.time_zone is {zone}: one of several whose clocks are set in those hours; name yours")
        roles.unsure = [doubt for doubt in roles.unsure if not doubt.startswith("data.series_id is empty")]
        data = data.model_copy(update={"time_zone": zone})
    counts = Counter[str]()
    frame = grid.typed(table, data.model_copy(update={"duplicates": "last"}), counts)
    if counts["duplicates"]:
        alike = table.num_rows - pl.DataFrame(table).n_unique() == counts["duplicates"]
        how, other = ("last", "the same in every column") if alike else ("mean", "or last, or sum")
        changed["duplicates"] = (how, f"{counted(counts['duplicates'], 'row comes', 'rows come')} twice; {other}")
        roles.unsure.append(
            f"data.duplicates is {how}: {counted(counts['duplicates'], 'row repeats', 'rows repeat')} a time of their "
            f"series{' and all its values' if alike else ''}"
        )
        data = data.model_copy(update={"duplicates": how})
    data = grid.settled(data, table)
    if data.frequency:
        changed["frequency"] = (data.frequency, "a step of the calendar, of no fixed length")
        return data, changed
    differences = grid.differences(frame)
    if differences.is_empty():
        raise InputError(
            f"'{data.source}' has one row in every series by {data.series_id}, so there is no course to learn; name a table "
            "that has rows of several times for each"
        )
    is_time = isinstance(frame.schema[TIME], pl.Datetime)
    step, total = grid.step_of(differences, data, is_time), int(differences["n"].sum())
    off = int(differences.filter(pl.col("difference") % step != 0)["n"].sum()) / total
    exact = int(differences.filter(pl.col("difference") == step)["n"].sum()) / total
    words = describe_step(step, is_time)
    round_step = clocks.round_step(frame, differences) if is_time and off > MOSTLY_ODD else None
    if round_step:
        words, median = round_step
        changed["irregular"] = (
            "resample",
            f"stamps lie anywhere, {median} apart at the median: nearly one in each {words}",
        )
        changed["frequency"] = (words, "the round step nearest to the median")
        roles.unsure.append(f"data.irregular is resample, to {words}: time_delta would read every row as it is")
        return data.model_copy(update={"irregular": "resample", "frequency": words}), changed
    if off:
        how = "time_delta" if off > MOSTLY_ODD else "resample"
        changed["irregular"] = (how, f"{percent(off)} of the differences are no multiple of {words}, the commonest")
        roles.unsure.append(
            f"data.irregular is {how}: {percent(off)} of the differences between time stamps are no multiple of {words}, "
            "the commonest"
        )
        data = data.model_copy(update={"irregular": how})
    if is_time and re.fullmatch(r"\d+[smhdw]", words) and data.irregular != "time_delta":
        changed["frequency"] = (words, f"{percent(exact)} of the differences between time stamps")
        data = data.model_copy(update={"frequency": words})
        if words == "1d" and clocks.skips_weekends(frame):
            roles.unsure.append(
                "no row lies on a Saturday or Sunday: these days are filled and never scored; data.irregular: time_delta "
                "without data.frequency reads working days one after another (a season of 5) instead"
            )
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
    order = ("source", "layout", "series_id", "time", "time_zone", "frequency", "irregular", "duplicates")
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
