"""What the columns of an unknown table probably mean, by their values first and their names second. Opens no file.

Every guess carries its reason; those that names or habits decided, and not values, are said to be unsure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

import polars as pl

from lstm_ray.explore.analysis import counted, named
from lstm_ray.explore.kinds import PARTS_OF_TIME, Kind, agrees, almost, as_times, counts_on, is_whole, kind_of, says
from lstm_ray.explore.names import FEWEST_SEQUENCES, ID_NAMES, MOST_CLASSES, MOST_IDS, names_sequences, numbered
from lstm_ray.explore.parted_times import in_parts
from lstm_ray.sections.data import RESERVED

MOST_TARGETS = 8
"""Measured columns that are all targets, where nothing says which is meant."""
FEWEST_PARALLEL = 5
"""Columns of like name, one a series, that make a table by columns."""
TIME_NAMES = (
    r"(time|date|ds|timestamp|datetime|day|hour|t|when|period|month|year|step|index|idx|tick|cycle|epoch|ts|unix"
    r"|unixtime)"
)
LABEL_NAMES = (
    r"(label|class|target_class|category|activity|outcome|fault|failure|state|status|mode|anomaly|diagnosis|event)"
)
TARGET_NAMES = (
    r"(target|y|value|values|ot|sales|demand|load|consumption|traffic|units_sold|volume|power|temp|temperature|price|close"
    r"|count|quantity|qty)"
)
KNOWN_NAMES = (
    r"(plan|planned|schedule|scheduled|promo|promotion|onpromotion|holiday|is_holiday|workday|discount|forecast|tariff)"
)
WEIGHT_NAMES = r"(weight|sample_weight|weights)"

SERIES_OF_ROW = "series of row"
"""Column of the names of series, beside those of the table."""


@dataclass
class Roles:
    """The columns of a table by role, each role with its reason, and what was left out."""

    task: Literal["forecast", "classify", "label"] = "forecast"
    layout: Literal["long", "wide", "columns"] = "long"
    columns: dict[str, list[str]] = field(default_factory=dict)
    """By role of the data section: series_id, time, target, past, known, static, categorical, weight, label."""
    reasons: dict[str, str] = field(default_factory=dict)
    """By role, and of the task and the layout."""
    left_out: dict[str, str] = field(default_factory=dict)
    unsure: list[str] = field(default_factory=list)

    def give(self, role: str, names: Iterable[str], reason: str) -> None:
        found = list(names)
        if found:
            self.columns[role] = [*self.columns.get(role, []), *found]
            self.reasons[role] = f"{self.reasons[role]}; {reason}" if role in self.reasons else reason

    @property
    def taken(self) -> set[str]:
        return {name for names in self.columns.values() for name in names} | set(self.left_out)

    def values(self) -> dict[str, str | list[str]]:
        """As the data section takes them."""
        single = ("time", "weight", "label")
        return {role: names[0] if role in single else names for role, names in self.columns.items()}


def is_wide(text: pl.DataFrame, header: list[str]) -> bool:
    """A row per series: a column of different names, and numbers under headers that count on.

    Args:
        text: the first rows, all as text.
        header: its columns in order.
    """
    first, rest = header[0], header[1:]
    if len(rest) < 12 or not counts_on(rest):
        return False
    names = text[first]
    return (
        names.n_unique() == text.height
        and kind_of(names) != "time"
        and all(kind_of(text[c]) != "text" for c in rest[:50])
    )


def guess(text: pl.DataFrame) -> Roles:
    """The roles of a long table, or of one with a column per series.

    Args:
        text: its rows, all columns as text, null where a field is empty.
    """
    kinds = {name: kind_of(text[name]) for name in text.columns}
    numbers = text.select(pl.col(c).cast(pl.Float64, strict=False) for c, kind in kinds.items() if kind == "number")
    roles = Roles()
    for name, kind in kinds.items():
        if kind == "nothing":
            roles.left_out[name] = "has no value"
        elif kind == "text" and not says(name, ID_NAMES) and (why := almost(text[name])):
            roles.left_out[name] = why
            roles.unsure.append(f"{name} is left out: it {why}")
    _find_time(roles, text, kinds)
    _find_ids(roles, text, kinds)
    if _is_by_columns(roles, numbers):
        return roles
    frame = text.with_columns(_series(roles)).with_columns(numbers)
    _find_label(roles, frame, kinds)
    _leave_out_clocks(roles, text, numbers)
    _find_inputs(roles, frame, numbers)
    return roles


def _find_time(roles: Roles, text: pl.DataFrame, kinds: dict[str, Kind]) -> None:
    stamps = [name for name, kind in kinds.items() if kind == "time"]
    if parts := in_parts(text, kinds, stamps):
        roles.left_out |= dict.fromkeys(parts, "is a part of the time, which has to be one column")
        joined = " + ".join(parts)
        roles.reasons["time"] = f"{joined} tell it together: rows are taken in their order"
        roles.unsure.append(
            f"data.time is missing, for {joined} tell it together: write one column, such as 2024-01-31 05:00; until then "
            "the order of rows is taken for their time, without a calendar and without gaps"
        )
        return
    if stamps:
        best = max(stamps, key=lambda name: (text[name].n_unique(), says(name, TIME_NAMES)))
        roles.give("time", [best], f"time stamps, such as {text[best].drop_nulls()[0]}")
        for other in stamps:
            if other != best:
                roles.left_out[other] = "holds other time stamps"
        if len(stamps) > 1:
            roles.unsure.append(
                f"data.time is {best}, not {named([s for s in stamps if s != best])}, for it changes most often"
            )
        return
    for name, kind in kinds.items():
        if kind == "number" and says(name, TIME_NAMES) and (found := as_times(text[name])) is not None:
            roles.give("time", [name], f"numbers since 1970 (Unix time), such as {text[name][0]}: {found[0]} UTC")
            return
    for name, kind in kinds.items():
        if kind == "number" and says(name, TIME_NAMES) and is_whole(text[name]) and not text[name].null_count():
            roles.give("time", [name], "whole numbers, by its name; steps, without a calendar")
            roles.unsure.append(f"data.time is {name}, because of its name: it holds whole numbers, no time stamps")
            return
    roles.reasons["time"] = "no column holds times: rows are in order"
    roles.unsure.append("data.time is missing, for no column holds times: the order of rows is taken for their time")


def _find_ids(roles: Roles, text: pl.DataFrame, kinds: dict[str, Kind]) -> None:
    """The fewest columns that, with the time, name each row once; without time, one whose values come in runs."""
    time = roles.columns.get("time", [])
    texts = [name for name, kind in kinds.items() if kind == "text"]
    counted_ = [n for n, kind in kinds.items() if kind == "number" and says(n, ID_NAMES) and is_whole(text[n])]
    texts = [name for name in texts if name not in roles.left_out]
    candidates = sorted((*texts, *counted_), key=lambda name: text[name].null_count() > 0)
    if not time:
        in_runs = [c for c in candidates if 1 < text[c].n_unique() == len(text[c].rle()) < text.height]
        if in_runs:
            name = max(in_runs, key=lambda name: (says(name, ID_NAMES), text[name].n_unique()))
            roles.give("series_id", [name], f"its {text[name].n_unique():,} values come in runs of rows")
            roles.unsure.append(f"data.series_id is {name}: without times, nothing but runs of its values says so")
            _doubt_empty_ids(roles, text)
        return
    if text[time[0]].n_unique() == text.height:
        sequences = names_sequences(text, candidates, texts)
        if sequences is None:
            roles.reasons["series_id"] = f"each {time[0]} comes once: one series"
        else:
            num = text[sequences].n_unique()
            roles.give("series_id", [sequences], f"its {num:,} values come in runs, each with one label")
            roles.unsure.append(f"data.series_id is {sequences}: {time[0]} alone would also name each row once")
        return
    for size in range(1, MOST_IDS + 1):
        fitting = [
            pair
            for pair in combinations(candidates, size)
            if text.select(*pair, *time).is_unique().all() and text.select(*pair).n_unique() < text.height
        ]
        if fitting:
            whole = [pair for pair in fitting if not any(text[c].null_count() for c in pair)]
            best_pair = min(
                whole or fitting, key=lambda p: (-sum(says(c, ID_NAMES) for c in p), text.select(*p).n_unique())
            )
            num = text.select(*best_pair).n_unique()
            roles.give(
                "series_id", best_pair, f"with {time[0]} it names each row once: {counted(num, 'series', 'series')}"
            )
            if len(fitting) > 1:
                others = named([" + ".join(p) for p in fitting if p != best_pair])
                roles.unsure.append(
                    f"data.series_id is {' + '.join(best_pair)}; {others} would also name each row once"
                )
            _doubt_empty_ids(roles, text)
            return
    if further := numbered(text, kinds, candidates, time[0]):
        roles.give("series_id", further, f"with {time[0]} they name each row once, nearly every time in each series")
        roles.unsure.append(f"data.series_id is {' + '.join(further)}: whole numbers among them may be measured ones")
        return
    best = sorted(candidates, key=lambda name: (-says(name, ID_NAMES), -text[name].n_unique()))[:1]
    roles.give("series_id", best, "names the rows best, though some come twice")
    roles.unsure.append(
        f"data.series_id is {best or 'empty'}: no columns name each row once with {time[0]}; see data.duplicates"
    )


def _doubt_empty_ids(roles: Roles, text: pl.DataFrame) -> None:
    for name in roles.columns["series_id"]:
        if empty := text[name].null_count():
            roles.unsure.append(f"{name} is empty in {empty:,} rows, which are read as one series without a name")


def _series(roles: Roles) -> pl.Expr:
    ids = roles.columns.get("series_id", [])
    named_so = pl.concat_str([pl.col(c).fill_null("") for c in ids], separator=" | ") if ids else pl.lit("all")
    return named_so.alias(SERIES_OF_ROW)


def _is_by_columns(roles: Roles, numbers: pl.DataFrame) -> bool:
    """One series a column: names that count on, without a column that names series."""
    names = [name for name in numbers.columns if name not in roles.taken]
    if (
        "series_id" in roles.columns
        or "time" not in roles.columns
        or len(names) < FEWEST_PARALLEL
        or not counts_on(names)
    ):
        return False
    roles.layout = "columns"
    roles.reasons["layout"] = f"{len(names)} columns, {names[0]} to {names[-1]}, are of one kind: a series each"
    roles.unsure.append(
        "data.layout is columns, because the names count on; if they are different measurements, name them in data.target"
    )
    return True


def _find_label(roles: Roles, frame: pl.DataFrame, kinds: dict[str, Kind]) -> None:
    """A class of each sequence, or of each step; other text is a category of its series or left out."""
    series = SERIES_OF_ROW
    num_series = frame[series].n_unique()
    free = [c for c in frame.columns if c in kinds and c not in roles.taken]
    words = [c for c in free if kinds[c] == "text"]
    few = [c for c in free if kinds[c] == "number" and says(c, LABEL_NAMES) and is_whole(frame[c].cast(pl.String))]
    varying = frame.group_by(series).agg(pl.col(c).drop_nulls().n_unique() for c in (*words, *few))
    labels: list[tuple[bool, str, bool]] = []
    for name in (*words, *few):
        num = frame[name].drop_nulls().n_unique()
        constant = bool((varying[name] <= 1).all())
        if num == 1 and name not in few:
            roles.left_out[name] = "holds one word alone"
        elif 1 < num <= MOST_CLASSES and (not constant or num_series >= max(FEWEST_SEQUENCES, 4 * num)):
            labels.append((says(name, LABEL_NAMES), name, constant))
    labels.sort(key=lambda one: (-one[0], not one[2]))
    one_row_each = "time" in roles.columns and num_series > 1
    chosen = labels[0] if labels and (labels[0][0] or (labels[0][2] and _in_turn(frame, roles, num_series))) else None
    if chosen:
        _, name, constant = chosen
        num = frame[name].drop_nulls().n_unique()
        if constant and one_row_each | (num_series >= FEWEST_SEQUENCES):
            roles.task = "classify"
            roles.reasons["task"] = f"{name} is one of {num} classes, constant in each of {num_series:,} series"
        else:
            roles.task = "label"
            roles.reasons["task"] = f"{name} is one of {num} classes and changes within a series: each step has one"
        roles.give("label", [name], "what is to be told")
        roles.unsure.append(
            f"task is {roles.task}, to tell {name}; to forecast numbers instead, set task: forecast and data.target"
        )
    for name in words:
        if name in roles.taken:
            continue
        if bool((varying[name] <= 1).all()) and roles.task == "forecast" and name not in RESERVED:
            num = frame[name].drop_nulls().n_unique()
            if num < num_series or num_series == 1:
                roles.give("categorical", [name], f"{name} is constant in each series, one of {num} words")
                if num <= MOST_CLASSES:
                    roles.unsure.append(
                        f"{name} is read as a property of its series; to tell it instead, set task: classify"
                    )
            else:
                roles.left_out[name] = "is another name of its series"
        else:
            roles.left_out[name] = "is text that changes within a series" if roles.task == "forecast" else "is text"
            num = frame[name].drop_nulls().n_unique()
            if roles.task == "forecast" and 1 < num <= MOST_CLASSES:
                roles.unsure.append(
                    f"{name}, one of {num} words in each row, is left out; to tell it, set task: label and data.label"
                )


def _in_turn(frame: pl.DataFrame, roles: Roles, num_series: int) -> bool:
    """Whether series are sequences of their own and not parallel: short, and each at another time or all without one."""
    lengths = frame.group_by(SERIES_OF_ROW).len()["len"]
    if "time" not in roles.columns:
        return num_series >= FEWEST_SEQUENCES
    num_times = frame[roles.columns["time"][0]].n_unique()
    return num_series >= FEWEST_SEQUENCES and num_times > 0.5 * int(lengths.sum())


def _leave_out_clocks(roles: Roles, text: pl.DataFrame, numbers: pl.DataFrame) -> None:
    """Columns that are a part of the time, as year and hour, and counters of rows."""
    free = [name for name in numbers.columns if name not in roles.taken]
    time = roles.columns.get("time", [])
    stamps = as_times(text[time[0]]) if time else None
    series_of_row = text.select(_series(roles)).to_series()
    for name in free:
        values = numbers[name]
        steps = values.to_frame().select(pl.col(name).diff().over(series_of_row)).to_series().drop_nulls()
        if values.null_count() == 0 and len(steps) and bool((steps == 1).all()):
            roles.left_out[name] = "counts the rows"
        elif stamps is not None and says(
            name, r"(year|month|day|hour|minute|second|weekday|dayofweek|doy|dow|week|quarter)"
        ):
            fits = {part: agrees(values, getattr(stamps.dt, part)().cast(pl.Float64)) for part in PARTS_OF_TIME}
            part = max(fits, key=lambda one: fits[one])
            if fits[part] > 0.3:
                roles.left_out[name] = f"is the {part.replace('_', ' ')} of {time[0]}; preprocess.calendar tells it"


def _find_inputs(roles: Roles, frame: pl.DataFrame, numbers: pl.DataFrame) -> None:
    """Targets, and what is known ahead, measured, constant in a series, or of no use."""
    series, ids = SERIES_OF_ROW, "series_id" in roles.columns
    free = [name for name in numbers.columns if name not in roles.taken]
    for name in free:
        if name in RESERVED:
            roles.left_out[name] = "has a name that is taken; rename it to use it"
        elif numbers[name].n_unique() - (numbers[name].null_count() > 0) <= 1:
            roles.left_out[name] = "has one value alone"
    free = [name for name in free if name not in roles.left_out]
    weights = [name for name in free if re.fullmatch(WEIGHT_NAMES, name.lower())][:1]
    for name in weights:
        lowest = float(numbers[name].min() or 0.0)  # type: ignore[arg-type]
        if lowest < 0:
            roles.left_out[name] = f"goes down to {lowest:g}, and no weight may be below 0"
            roles.unsure.append(f"{name} is left out: it {roles.left_out[name]}")
    free, weights = ([name for name in names if name not in roles.left_out] for names in (free, weights))
    roles.give("weight", weights, "by its name: how much a row counts in training")
    moving = frame.group_by(series).agg(pl.col(c).drop_nulls().n_unique() for c in free)
    static = [c for c in free if ids and c not in weights and bool((moving[c] <= 1).all())]
    free = [c for c in free if c not in static and c not in weights]
    if roles.task != "forecast":
        roles.give("past", [*free, *(static if roles.task == "classify" else [])], "every number that was measured")
        if roles.task == "label":
            roles.give("static", static, "constant in each series")
        return
    ahead = [c for c in free if says(c, KNOWN_NAMES) or _goes_on(frame, numbers, c, free)]
    measured = [c for c in free if c not in ahead]
    hinted = [c for c in measured if re.fullmatch(TARGET_NAMES, c.lower())] or [
        c for c in measured if says(c, TARGET_NAMES)
    ]
    if hinted:
        targets, reason = hinted[:1], "by its name"
    elif ids and len(measured) > 1:
        targets, reason = measured[:1], "the first measured column"
    else:
        targets, reason = (
            measured[:MOST_TARGETS],
            "the only measured column" if len(measured) == 1 else "every measured column",
        )
    roles.give("target", targets, reason)
    if len(measured) > 1:
        roles.unsure.append(
            f"data.target is {', '.join(targets)} ({reason}); {len(measured)} columns could be: {named(measured)}"
        )
    roles.give("past", [c for c in measured if c not in targets], "measured, so known up to now")
    roles.give("known", ahead, "known ahead, by name or because it goes on where others end")
    if ahead:
        roles.unsure.append(
            f"data.known is {', '.join(ahead)}: right only if it is known over the whole horizon when a forecast is made"
        )
    roles.give("static", static, "constant in each series")


def _goes_on(frame: pl.DataFrame, numbers: pl.DataFrame, name: str, others: list[str]) -> bool:
    """Whether a column has values in the last rows, where most others are empty."""
    tail = numbers.tail(max(1, min(24, len(numbers) // 10))) if frame[SERIES_OF_ROW].n_unique() == 1 else None
    if tail is None or len(others) < 2 or tail[name].null_count():
        return False
    return any(tail[other].null_count() == tail.height for other in others if other != name)
