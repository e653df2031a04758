"""Data that came after training, prepared as training's was: a policy's schema, step and scaler; nothing is fitted anew.

Knows tables and segments; knows no policy. Shapes: S segments, M stretches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from lstm_ray.config import Config, parse
from lstm_ray.data.parts import PARTS, Boundaries, Part
from lstm_ray.data.preparing.segments import checked, labels_in, make_segments
from lstm_ray.data.schema import Scaler, Schema
from lstm_ray.data.source import files
from lstm_ray.data.steps import step_ranges
from lstm_ray.data.store import to_segments, with_typical
from lstm_ray.data.timeline import grid, order
from lstm_ray.data.timeline.grid import TIME
from lstm_ray.data.windows import Segments, sequences
from lstm_ray.errors import InputError
from lstm_ray.run_dir import Finding
from lstm_ray.sections.data import DataConfig


@dataclass(frozen=True)
class Unseen:
    """New data as a policy reads it."""

    segments: Segments
    num_rows: int
    missing: dict[str, float]
    """Share of empty cells of each input in the table's rows."""
    findings: list[Finding]
    """How the files differ among themselves."""


def prepared(config: Config, schema: Schema, scaler: Scaler, source: str | list[str]) -> Unseen:
    """Read some files with the roles that a policy was trained with, and prepare them by its schema and scaler.

    Args:
        config: the policy's, with its roles resolved.
        source: as ``data.source``.

    Raises:
        InputError: files that cannot be read, lack a column or lie on another grid; no value of a target; a class that the
            policy does not know; nothing long enough to be judged by.
    """
    config = of_source(config, source)
    schema = schema.model_copy(update={"weight": None})
    pieces = files.pieces(config.data)
    table = pa.concat_tables([files.read_piece(config.data, piece) for piece in pieces])
    if not table.num_rows:
        raise InputError(f"{source!r} holds no rows; name files that hold data")
    counts = Counter[str]()
    read = grid.typed(table, config.data, counts)
    require_same_grid(read, config.data, schema)
    _require_commonest_step(read, config.data, schema)
    rows = grid.resampled(read, schema.step, config.data, counts)
    _require_same_offset(rows, config.data, schema)
    checked(rows, config)
    for column in schema.target:
        if rows[column].null_count() == rows.height:
            raise InputError(f"target '{column}' has no value in {source!r}: nothing tells how good a forecast is")
    _require_known_classes(rows, config, schema, source)
    longest = config.preprocess.max_gap_steps if schema.observed else None
    regular = grid.on_grid(rows, schema.step, config.data, counts, longest_gap=longest)
    # No row trains: where gaps are filled with a mean that is not causal, it is the training part's of all series.
    made = make_segments(regular, schema, config, pl.lit(False))
    if not made.height:
        raise InputError(f"no stretch of {source!r} holds a value; bring data in which something was measured")
    segments = with_typical(to_segments(made, schema), scaler)
    _require_room(segments, config, source)
    inputs = (*schema.target, *schema.past, *schema.known)
    missing = {name: read[name].null_count() / read.height for name in inputs if name in read.columns}
    return Unseen(segments, read.height, missing, files.findings(config.data))


def of_source(config: Config, source: str | list[str]) -> Config:
    """The same roles on other files; weights count in training alone."""
    data = config.data.model_dump() | {"source": source, "weight": None}
    return parse(config.model_dump() | {"data": data})


def require_same_grid(frame: pl.DataFrame, data: DataConfig, schema: Schema) -> None:
    """Raises InputError where typed rows lie on another kind of axis, or between the policy's steps."""
    is_time = isinstance(frame.schema[TIME], pl.Datetime)
    if is_time != schema.is_time:
        kinds = ("whole numbers", "time stamps")
        raise InputError(
            f"column '{data.time}' holds {kinds[is_time]}; the policy was trained on {kinds[schema.is_time]}"
        )
    runs = order.runs_of(frame)
    if data.irregular == "error" and (off := int(np.count_nonzero(runs.between % schema.step))):
        raise InputError(
            f"{off} of {frame.height - len(runs.starts)} time differences in '{data.time}' are no multiple of the policy's "
            f"step {grid.describe_step(schema.step, is_time, schema.in_months)}; bring the rows to that grid"
        )


def after_training(
    training: Segments, parts: Boundaries, new: Segments, history: int, classify: bool
) -> tuple[Segments, Boundaries]:
    """A run's training and validation part and new data side by side, as segments dealt to parts: the new are the test part.

    What is fitted on the training part is fitted on the same windows as in the run.

    Args:
        training: all segments of a run, with the run's ``parts``.
        history: steps before the validation part that its windows read.
    """
    ranges: list[np.ndarray] = []
    dealt: list[np.ndarray] = []
    leads: list[np.ndarray] = []
    for part in PARTS[:2]:
        range_S2, lead = _part_ranges(training, parts, part, history, classify)
        ranges.append(range_S2)
        leads.append(lead)
        dealt.append(np.full(len(range_S2), PARTS.index(part), np.int8))
    old = training.stretches(np.concatenate(ranges))
    if old.label_R is not None:
        # Steps that are only read before a part are not told in it.
        label_R, lead_S = old.label_R.copy(), np.concatenate(leads)
        for first, lead in zip(old.bounds[:-1], lead_S, strict=True):
            label_R[first : first + lead] = np.nan
        old = replace(old, label_R=label_R)
    both = _joined(replace(old, part_S=np.concatenate(dealt)), _dealt(new, "test"))
    return both, _whole(both)


def alone(new: Segments) -> tuple[Segments, Boundaries]:
    """New data as a test part without any other."""
    dealt = _dealt(new, "test")
    return dealt, _whole(dealt)


def _part_ranges(
    training: Segments, parts: Boundaries, part: Part, history: int, classify: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a part's stretches, int64 [M, 2], and how many of them are only read before it, int64 [M]."""
    if classify:
        ids = sequences(training, parts, part)
        return np.stack([training.bounds[ids], training.bounds[ids + 1]], axis=1), np.zeros(len(ids), np.int64)
    range_S2 = step_ranges(training, parts, part)
    held = range_S2[:, 1] > range_S2[:, 0]
    first = range_S2[held, 0]
    reach = 0 if part == "train" else history
    begin = np.maximum(first - reach, training.bounds[:-1][held])
    return np.stack([begin, range_S2[held, 1]], axis=1), first - begin


def _dealt(segments: Segments, part: Part) -> Segments:
    return replace(segments, part_S=np.full(len(segments.series), PARTS.index(part), np.int8), weight_R=None)


def _whole(segments: Segments) -> Boundaries:
    """Every part spans all steps, for whole segments are dealt."""
    end_S = segments.first_step + np.diff(segments.bounds)
    return dict.fromkeys(PARTS, (int(segments.first_step.min()), int(end_S.max())))


def _joined(one: Segments, other: Segments) -> Segments:
    """Segments one after the other."""

    def both(name: str) -> Any:
        values = getattr(one, name), getattr(other, name)
        return None if any(value is None for value in values) else np.concatenate(values)

    names = (
        "target_RC",
        "observed_RC",
        "past_RP",
        "known_RK",
        "first_step",
        "label",
        "category_SK",
        "label_R",
        "part_S",
    )
    return replace(
        other,
        bounds=np.append(one.bounds, one.bounds[-1] + other.bounds[1:]),
        series=[*one.series, *other.series],
        weight_R=None,
        **{name: both(name) for name in names},
    )


def _require_commonest_step(frame: pl.DataFrame, data: DataConfig, schema: Schema) -> None:
    found = grid.differences(frame)
    if found.is_empty() or data.irregular != "error" or int(found["difference"][0]) == schema.step:
        return
    own, other = (
        grid.describe_step(step, schema.is_time, schema.in_months)
        for step in (schema.step, int(found["difference"][0]))
    )
    raise InputError(
        f"most rows in '{data.time}' are {other} apart and the policy's step is {own}: most steps would be made up; bring rows "
        f"that are {own} apart"
    )


def _require_same_offset(frame: pl.DataFrame, data: DataConfig, schema: Schema) -> None:
    ticks = frame[TIME].cast(pl.Int64)
    if off := int(((ticks - schema.axis_start) % schema.step != 0).sum()):
        step = grid.describe_step(schema.step, schema.is_time, schema.in_months)
        raise InputError(
            f"{off} of {frame.height} rows in '{data.time}' lie between the policy's steps of {step}, as {frame[TIME][0]} may: "
            "round them to the same offset"
        )


def _require_known_classes(frame: pl.DataFrame, config: Config, schema: Schema, source: str | Sequence[str]) -> None:
    if not schema.classes:
        return
    found = labels_in(frame, config).cast(pl.String).to_list()
    if not found:
        raise InputError(
            f"label '{config.data.label}' has no value in {source!r}: nothing tells which answers are right"
        )
    if strange := sorted(set(found) - set(schema.classes)):
        raise InputError(
            f"label '{config.data.label}' is '{strange[0]}' in some rows of {source!r}, and the policy knows the classes "
            f"{schema.classes}; leave these rows out, or train anew"
        )


def _require_room(segments: Segments, config: Config, source: str | Sequence[str]) -> None:
    """Something to judge by: a window, or a labelled step."""
    window = config.window
    if config.task == "forecast":
        longest, needed = int(np.diff(segments.bounds).max()), window.history + window.horizon
        if longest < needed:
            raise InputError(
                f"{source!r} holds no window: its longest stretch without a gap has {longest} steps, and a window needs "
                f"{needed} (history {window.history} and horizon {window.horizon}); bring more rows, those before the new ones "
                "too"
            )
    if segments.label_R is not None and np.isnan(segments.label_R).all():
        raise InputError(
            f"label '{config.data.label}' has no value in {source!r}: nothing tells which answers are right"
        )
