"""Labels of steps: how many of each class and how long they last, and what the inputs of a step say of them. Knows nothing
of labellers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lstm_ray.data.parts import PARTS
from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.explore.analysis import Analysis, Clock, named, number, percent
from lstm_ray.explore.classes import FEW, SHIFT, UNBALANCED
from lstm_ray.explore.lags import correlation
from lstm_ray.explore.separation import (
    BEYOND_CHANCE,
    GIVEN_AWAY,
    LEAST_GAIN,
    MOST_COLUMNS,
    best_auc,
    information_of,
    without_holes,
)
from lstm_ray.figure import bars

MOST_STEPS = 5000
"""Labelled steps that the inputs are held against; of more, a sample."""
SAME = 0.999
"""Correlation from which a column is the label in disguise."""


def presence(frame: pl.DataFrame, label: str) -> Analysis:
    """How many rows have a label.

    Args:
        frame: rows as they came.
    """
    result, missing = Analysis(), frame[label].null_count()
    share = missing / max(1, frame.height)
    if not missing:
        result.say("info", f"Each of the {frame.height:,} rows has a label in '{label}'.")
    else:
        text = f"{missing:,} of {frame.height:,} rows ({percent(share)}) have no label in '{label}' and teach nothing."
        result.say("advice" if share > 0.5 else "info", text)
    return result


def balance(frame: pl.DataFrame, label: str, clock: Clock) -> Analysis:
    """How many steps each class has, over all and by part, and how long it lasts.

    Args:
        frame: labelled rows as they came, with the column ``part``.

    Tables: ``labels`` (class, count, share, runs, median_run_steps, longest_run_steps), ``labels_by_part`` (part, class,
    count, share).
    """
    run = pl.col(label).rle_id().over(SERIES)
    runs = frame.with_columns(_run=run).group_by(SERIES, "_run").agg(pl.col(label).first(), steps=pl.len())
    lasting = runs.group_by(label).agg(
        count=pl.col("steps").sum(),
        runs=pl.len(),
        median_run_steps=pl.col("steps").median(),
        longest_run_steps=pl.col("steps").max(),
    )
    lasting = lasting.with_columns(share=pl.col("count") / frame.height).sort("count", label, descending=[True, False])
    table = lasting.rename({label: "class"}).to_dicts()
    by_part = frame.drop_nulls("part").group_by("part", label).len()
    found = {(part, name): count for part, name, count in by_part.iter_rows()}
    totals = dict(frame.drop_nulls("part").group_by("part").len().iter_rows())
    names, parts = [row["class"] for row in table], [part for part in PARTS if part in totals]
    shares: dict[str, list[float]] = {
        part: [found.get((part, name), 0) / totals[part] for name in names] for part in parts
    }
    result = Analysis(tables={"labels": table})
    result.tables["labels_by_part"] = [
        {"part": part, "class": name, "count": found.get((part, name), 0), "share": share}
        for part in parts
        for name, share in zip(names, shares[part], strict=True)
    ]
    _say_balance(result, table, label, clock)
    _say_shift(result, names, shares, label)
    caption = f"Steps of each class: {named([f'''{row['class']} {percent(row['share'])}''' for row in table])}."
    percents = {str(part): [100 * share for share in shares[part]] for part in parts}
    result.figures.append(bars("labels", "Steps of each class", caption, names, percents, y_title="% of the part"))
    return result


def told_by_inputs(frame: pl.DataFrame, columns: Sequence[str], label: str, is_class: bool, seed: int) -> Analysis:
    """What the inputs of a step say of its label, each alone: of a class, mutual information as a share of its entropy and
    the area under the ROC curve; of a value, the correlation.

    Args:
        frame: labelled rows as they came.

    Tables: ``label_inputs`` (column, information, auc, deviations_from_chance; or column, correlation).
    """
    some = frame.sample(MOST_STEPS, seed=seed) if frame.height > MOST_STEPS else frame
    columns = [column for column in columns if some[column].count()][:MOST_COLUMNS]
    if not columns or some[label].n_unique() < 2:
        return Analysis()
    if is_class:
        return _of_classes(some, columns, label, seed)
    truth = some[label].cast(pl.Float64).to_numpy()
    found = [(c, correlation(some[c].cast(pl.Float64).to_numpy(), truth) or 0.0) for c in columns]
    found.sort(key=lambda one: -abs(one[1]))
    result = Analysis(tables={"label_inputs": [{"column": c, "correlation": value} for c, value in found]})
    best, strength = found[0]
    caption = f"Correlation of each input with '{label}' at the same step: '{best}' is closest, {strength:.2f}."
    result.say("info", caption)
    if abs(strength) >= SAME:
        text = f"'{best}' and '{label}' correlate {strength:.4f} at the same step: it holds the answer (leakage)."
        result.say("warning", text)
    names, values = (list(part) for part in zip(*found, strict=True))
    title = "What inputs say of the label"
    result.figures.append(bars("label-inputs", title, caption, names, {"correlation": values}, y_title="correlation"))
    return result


def _of_classes(some: pl.DataFrame, columns: Sequence[str], label: str, seed: int) -> Analysis:
    truth = some[label].to_numpy()
    values_MF: NDArray = np.stack([without_holes(some[c].cast(pl.Float64).to_numpy()) for c in columns], axis=1)
    rows: list[dict[str, Any]] = []
    for column, gain, values_M in zip(columns, information_of(values_MF, truth, seed), values_MF.T, strict=True):
        auc, deviations = best_auc(values_M, truth)
        rows.append({"column": column, "information": float(gain), "auc": auc, "deviations_from_chance": deviations})
    rows.sort(key=lambda row: -row["information"])
    result, best = Analysis(tables={"label_inputs": rows}), rows[0]
    caption = (
        f"Share of the uncertainty of '{label}' that one input of the same step takes away: '{best['column']}' takes most, "
        f"{100 * best['information']:.1f} % (AUC {best['auc']:.2f})."
    )
    if best["information"] >= LEAST_GAIN and best["deviations_from_chance"] >= BEYOND_CHANCE:
        result.say("info", caption)
    else:
        text = f"No input of a step alone says more of '{label}' than chance would: the steps before must, or nothing does."
        result.say("advice", text)
    given = max(rows, key=lambda row: row["auc"])
    if given["auc"] >= GIVEN_AWAY:
        text = f"'{given['column']}' alone ranks a class of '{label}' with AUC {given['auc']:.4f}: "
        result.say("warning", f"{text}the task is trivial, or the column holds the answer (leakage).")
    names, values = [row["column"] for row in rows], [100 * row["information"] for row in rows]
    title = "What inputs say of the label"
    result.figures.append(
        bars("label-inputs", title, caption, names, {"information": values}, y_title="% of uncertainty")
    )
    return result


def _say_balance(result: Analysis, table: list[dict[str, Any]], label: str, clock: Clock) -> None:
    largest = table[0]
    words = ", ".join(f"{row['class']} {row['count']:,} ({percent(row['share'])})" for row in table[:5])
    text = f"'{label}' has {len(table)} class{'es' if len(table) > 1 else ''} over the labelled steps: {words}."
    if len(table) == 1:
        result.say("warning", f"{text} Telling classes apart needs two.")
        return
    if unbalanced := largest["share"] >= UNBALANCED:
        text += (
            f" Always answering '{largest['class']}' is right {percent(largest['share'])} of the time: read macro F1."
        )
    result.say("advice" if unbalanced else "info", text, "train: {class_weights: balanced}" if unbalanced else "")
    if rare := [row for row in table if row["runs"] < FEW]:
        names = named([f"{row['class']} ({row['runs']})" for row in rare])
        result.say("advice", f"Classes that come up fewer than {FEW} times, however long they last: {names}.")
    short = min(table, key=lambda row: row["median_run_steps"])
    text = f"A class lasts from {number(short['median_run_steps'])} steps ('{short['class']}') on, at the median"
    long = max(table, key=lambda row: row["longest_run_steps"])
    result.say("info", f"{text}, to {clock.span(int(long['longest_run_steps']))} at the longest ('{long['class']}').")


def _say_shift(result: Analysis, names: list[str], shares: dict[str, list[float]], label: str) -> None:
    taught = shares.get("train")
    if taught is None:
        return
    for part in (part for part in shares if part != "train"):
        if new := [n for n, share, own in zip(names, shares[part], taught, strict=True) if share and not own]:
            text = f"The {part} part has steps of '{label}' of which the training part has none: {named(new)}."
            result.say("warning", f"{text} They cannot be learned; give split.train more, or drop these classes.")
    moves = [
        (abs(share - own), part, name, share, own)
        for part in shares
        for name, share, own in zip(names, shares[part], taught, strict=True)
    ]
    move, part, name, share, own = max(moves, key=lambda one: one[0])
    if move >= SHIFT:
        text = (
            f"The classes shift over time: '{name}' is {percent(own)} of the training part and {percent(share)} of the "
        )
        result.say("warning", f"{text}{part} part; scores there say less of what comes after.")
