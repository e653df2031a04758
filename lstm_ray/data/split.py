"""Where the parts are cut: on the time axis, by fractions, counts or dates, in rolling folds; or whole series are dealt.

Knows steps, dates and names of series; reads no files and no values.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import polars as pl

from lstm_ray.config import Config
from lstm_ray.data.parts import PARTS, TEST_TIME, Boundaries
from lstm_ray.data.preparing.segments import STEP
from lstm_ray.data.schema import Schema
from lstm_ray.data.timeline.axis import Axis
from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig
from lstm_ray.sections.prepare import SplitConfig

PART, APPEARS, GROUP = "part", "appears", "group"
"""Columns of the table of series that ``deal`` reads and gives."""


def own_test_start(data: DataConfig, axis_start: int) -> int | None:
    """The step at which the source's own test part begins, its time 0; None where the source names none."""
    return TEST_TIME - axis_start if data.has_own_test else None


def folds_of(config: Config, schema: Schema, num_steps: int) -> list[Boundaries]:
    """``folds`` of a run: with the axis of its schema and the test part that its source may name."""
    axis = Axis.of(schema, config.data.time_zone)
    return folds(config.split, num_steps, own_test_start(config.data, schema.axis_start), axis)


def boundaries_of(config: Config, schema: Schema, num_steps: int) -> Boundaries:
    """``boundaries`` of a run: with the axis of its schema and the test part that its source may name."""
    return chosen(config.split, folds_of(config, schema, num_steps))


def boundaries(
    split: SplitConfig, num_steps: int, test_start: int | None = None, axis: Axis | None = None
) -> Boundaries:
    """The parts of an axis of ``num_steps`` steps; of split.fold where there are folds.

    Args:
        test_start: ``own_test_start``; train and validation then share, in their proportion, all that lies before it.
        axis: by which dates become steps; not needed without dates.

    Raises InputError where a part would be empty or a date lies outside the data.
    """
    return chosen(split, folds(split, num_steps, test_start, axis))


def chosen(split: SplitConfig, found: list[Boundaries]) -> Boundaries:
    """Of ``folds``, the one that gives the training and the validation part."""
    return found[-1 if split.fold is None else split.fold]


def folds(
    split: SplitConfig, num_steps: int, test_start: int | None = None, axis: Axis | None = None
) -> list[Boundaries]:
    """Rolling origins (Tashman 2000), oldest first; without split.folds the one cut there is. Arguments as ``boundaries``.

    Every fold has the test part of the last, and validation of the same length right after all that trains: fold by fold,
    validation moves on by its own length, and what it was before has become training.
    """
    if split.by != "time":
        return [dict.fromkeys(PARTS, (0, num_steps))]
    whole = _on_axis(split, num_steps, test_start, axis)
    first, end = whole["validation"]
    found: list[Boundaries] = []
    for back in range((split.folds or 1) - 1, -1, -1):
        moved = back * (end - first)
        train_end = whole["train"][1] - moved
        if train_end < 1:
            raise InputError(
                f"split.folds {split.folds} with {end - first} steps of validation each need {moved} steps before the last "
                f"fold's, which trains on {whole['train'][1]}; lower split.folds or the validation part"
            )
        found.append({"train": (0, train_end), "validation": (first - moved, end - moved), "test": whole["test"]})
    return found


def _on_axis(split: SplitConfig, num_steps: int, test_start: int | None, axis: Axis | None) -> Boundaries:
    """The parts of the time axis, of the last fold where there are some."""
    if test_start is not None:
        assert split.train is not None, "the config refuses it: train and validation share one file"
        train = round(test_start * split.train / (split.train + split.validation))
        own: Boundaries = {"train": (0, train), "validation": (train, test_start), "test": (test_start, num_steps)}
        return _not_empty(own, num_steps)
    whole = num_steps
    if split.until is not None:
        assert axis is not None, "dates need an axis"
        num_steps = axis.steps_before(split.until, "until", whole)
    if split.validation_from is None or split.test_from is None:
        return _not_empty(_cut(split, num_steps), num_steps)
    assert axis is not None, "dates need an axis"
    validation = axis.steps_before(split.validation_from, "validation_from", whole)
    test = axis.steps_before(split.test_from, "test_from", whole)
    parts: Boundaries = {
        "train": (0, validation - split.gap_steps),
        "validation": (validation, test - split.gap_steps),
        "test": (test, num_steps),
    }
    return _not_empty(parts, num_steps, "move split.validation_from, split.test_from or split.until")


def _cut(split: SplitConfig, number: int) -> Boundaries:
    """So many steps (or series, in order) by fractions or counts."""
    scale = number if isinstance(split.validation, float) else 1
    validation = round(split.validation * scale)
    if split.train is None:
        assert split.test is not None, "the config refuses both to be none"
        train = number - validation - round(split.test * scale) - 2 * split.gap_steps
    else:
        train = round(split.train * scale)
    validation_start = train + split.gap_steps
    first_test = validation_start + validation + split.gap_steps
    test_end = number if split.test is None else min(number, first_test + round(split.test * scale))
    return {
        "train": (0, train),
        "validation": (validation_start, validation_start + validation),
        "test": (first_test, test_end),
    }


def _not_empty(
    parts: Boundaries,
    number: int,
    fix: str = "lower split.train, split.validation or split.gap_steps",
    what: str = "steps",
) -> Boundaries:
    for part, (first, end) in parts.items():
        if not 0 <= first < end <= number:
            raise InputError(
                f"split: the {part} part would span {what} {first} to {end} of {number}; {fix}, or bring more data"
            )
    return parts


def train_rows(split: SplitConfig, parts: Boundaries) -> pl.Expr:
    """Which rows train: over the column ``step`` of segments, or over ``part`` of ``deal`` where series are dealt."""
    if split.by != "time":
        return (pl.col(PART) == "train").fill_null(False)
    first, end = parts["train"]
    return pl.col(STEP).is_between(first, end, closed="left")


def groups_of(rows: pl.DataFrame, group: str, column: str | None = None) -> pl.DataFrame:
    """The value that a column has in each of some whole series: columns series and group (as text).

    Args:
        rows: of a block of whole series as read.
        column: the name that the group has in these rows, where it is not its own.

    Raises InputError where it changes inside a series or is missing.
    """
    own = pl.col(column or group).cast(pl.String)
    found = rows.group_by(SERIES, maintain_order=True).agg(
        own.min().alias(GROUP), other=own.max(), missing=own.has_nulls()
    )
    if (mixed := found.filter(pl.col(GROUP) != pl.col("other"))).height:
        name, one, other = mixed.select(SERIES, GROUP, "other").row(0)
        raise InputError(
            f"split.group '{group}' changes inside {mixed.height} series, such as '{name}' ('{one}' and '{other}'); it must be "
            "constant within one data.series_id: name another column, or add it to data.series_id"
        )
    if (empty := found.filter("missing")).height:
        raise InputError(
            f"split.group '{group}' is empty in {empty.height} series, such as '{empty[SERIES][0]}'; fill it"
        )
    return found.select(SERIES, GROUP)


def deal(heads: pl.DataFrame, config: Config) -> pl.DataFrame:
    """Whole series to parts, by split.by order or group: a column part (null: unused) beside series, appears and group.

    By order, the first to appear train and the last test. By group, the part follows from the group's name and the seed
    alone: it stays the same whatever else is in the table, so shares are met on average only.

    Args:
        heads: one row per series: series, appears (by order), and group where split.group names one.

    Raises InputError where a part gets no series.
    """
    split, number = config.split, heads.height
    assert split.by != "time", "by time, series are not dealt"
    heads = heads.select(SERIES, *(column for column in (APPEARS, GROUP) if column in heads.columns))
    if split.by == "order":
        heads = heads.sort(APPEARS)
        fix = "lower split.train or split.validation"
        parts = _not_empty(_cut(split, number), number, fix, "series")
        name = np.full(number, None, dtype=object)
        for part, (first, end) in parts.items():
            name[first:end] = part
        return heads.with_columns(pl.Series(PART, name, pl.String))
    groups = heads[GROUP if GROUP in heads.columns else SERIES]
    part_of = {group: _part_at(position(group, config.seed), split) for group in groups.unique().to_list()}
    dealt = heads.with_columns(pl.Series(PART, [part_of[group] for group in groups.to_list()], pl.String))
    for part in PARTS:
        if not (dealt[PART] == part).any():
            raise InputError(
                f"split: of {len(part_of)} groups in {number} series none falls into the {part} part; another seed deals them "
                f"anew, or give split.{part} more, or bring more groups"
            )
    return dealt


def position(group: str, seed: int) -> float:
    """Where a group falls between 0 and 1: the same on every machine and in every version."""
    return int.from_bytes(blake2b(f"{seed}\0{group}".encode(), digest_size=8).digest()) / 2**64


def shares(split: SplitConfig) -> dict[str, float]:
    """The share of each part where parts are fractions; the test part's may be all that is left."""
    validation = float(split.validation)
    train = 1 - validation - float(split.test or 0) if split.train is None else float(split.train)
    return {
        "train": train,
        "validation": validation,
        "test": 1 - train - validation if split.test is None else split.test,
    }


def _part_at(at: float, split: SplitConfig) -> str | None:
    for part, share in shares(split).items():
        if at < share:
            return part
        at -= share
    # What rounding leaves belongs to the last part, unless a rest was asked for.
    return None if at > 1e-9 else "test"
