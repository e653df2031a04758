"""Labelled sequences: how many of each class, in which part, and when. Knows nothing of what tells them apart."""

from __future__ import annotations

from typing import Any

import polars as pl

from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.explore.analysis import Analysis, Clock, advise, counted, named, stretches, when
from lstm_ray.explore.pictures import overlay
from lstm_ray.figure import bars, plain

UNBALANCED, FEW = 0.8, 20
"""Share of the largest class from which accuracy says little, and sequences below which a class teaches little."""
SHIFT = 0.1
"""Change of a class's share, from the training part to a later one, that is worth a warning."""
STRETCHES = 12


def balance(frame: pl.DataFrame, label: str, clock: Clock) -> Analysis:
    """How many sequences each class has, over all, over time and by part.

    Args:
        frame: rows as they came, with the column ``part``.

    Tables: ``classes`` (class, count, share), ``classes_by_part``, ``classes_over_time``, ``lengths``.
    """
    one = pl.col(label).first()
    sequences = frame.group_by(SERIES, maintain_order=True).agg(
        one, start=pl.col(TIME).min(), steps=pl.len(), part=pl.col("part").first()
    )
    counts = sequences[label].value_counts().sort("count", label, descending=[True, False])
    names = counts[label].to_list()
    shares = {name: count / sequences.height for name, count in counts.iter_rows()}
    table = [{"class": name, "count": count, "share": shares[name]} for name, count in counts.iter_rows()]
    lengths = sequences.group_by(label).agg(
        shortest=pl.col("steps").min(), median=pl.col("steps").median(), longest=pl.col("steps").max()
    )
    result = Analysis(tables={"classes": table, "lengths": lengths.sort(label).to_dicts()})
    words = [f"{row['count']:,} {row['class']} ({100 * row['share']:.1f} %)" for row in table]
    caption = f"{sequences.height:,} sequences: {named(words)}."
    result.figures.append(
        bars("classes", "How many of each class", caption, names, {"sequences": counts["count"].to_list()})
    )
    _say_balance(result, table, sequences, label)
    if mixed := frame.group_by(SERIES).agg(n=pl.col(label).n_unique()).filter(pl.col("n") > 1).height:
        result.say(
            "warning", f"'{label}' changes inside {counted(mixed, 'sequence')}; the first label of each is read here."
        )
    _by_part(result, sequences, label, names)
    _over_time(result, sequences, label, names, clock)
    return result


def _say_balance(result: Analysis, table: list[dict[str, Any]], sequences: pl.DataFrame, label: str) -> None:
    if len(table) == 1:
        result.say("warning", f"'{label}' has one class only, {table[0]['class']}; a classifier needs two.")
        return
    largest = table[0]
    words = ", ".join(f"{row['class']} {row['count']:,} ({100 * row['share']:.1f} %)" for row in table[:5])
    text = f"'{label}' has {len(table)} classes in {sequences.height:,} sequences: {words}."
    if largest["share"] >= UNBALANCED:
        right = f"{100 * largest['share']:.1f} %"
        text += f" Always answering '{largest['class']}' is right {right} of the time: read macro F1."
    unbalanced = largest["share"] >= UNBALANCED
    result.say(
        "advice" if unbalanced else "info", text, advise("train", class_weights="balanced") if unbalanced else ""
    )
    rare = [row for row in table if row["count"] < FEW]
    if rare:
        names = named([f"{row['class']} ({row['count']})" for row in rare])
        result.say("warning", f"{len(rare)} classes have fewer than {FEW} sequences: {names}; bring more of them.")
    shortest, longest = int(sequences["steps"].min()), int(sequences["steps"].max())  # type: ignore[arg-type]
    if shortest == longest:
        result.say("info", f"Every sequence has {longest:,} steps.")
    else:
        median = int(sequences["steps"].median())  # type: ignore[arg-type]
        result.say("info", f"Sequences have {shortest:,} to {longest:,} steps, {median:,} at the median.")


def _by_part(result: Analysis, sequences: pl.DataFrame, label: str, names: list[str]) -> None:
    parts = sequences.drop_nulls("part").group_by("part", label).len()
    found = {(part, name): count for part, name, count in parts.iter_rows()}
    totals = dict(sequences.drop_nulls("part").group_by("part").len().iter_rows())
    table = [
        {"part": part, "class": name, "count": found.get((part, name), 0), "share": found.get((part, name), 0) / total}
        for part, total in sorted(totals.items())
        for name in names
    ]
    result.tables["classes_by_part"] = table
    by_key = {(row["part"], row["class"]): row["share"] for row in table}
    moves = [
        (abs(by_key[part, name] - by_key["train", name]), part, name)
        for part in totals
        for name in names
        if part != "train" and "train" in totals
    ]
    if moves and max(moves)[0] >= SHIFT:
        _, part, name = max(moves)
        result.say(
            "warning",
            f"The classes shift over time: '{name}' is {100 * by_key['train', name]:.1f} % of the training part and "
            f"{100 * by_key[part, name]:.1f} % of the {part} part; accuracy "
            "there says less of what comes after.",
        )


def _over_time(result: Analysis, sequences: pl.DataFrame, label: str, names: list[str], clock: Clock) -> None:
    first, last = sequences.select(
        pl.col("start").min().cast(pl.Int64).alias("first"), pl.col("start").max().cast(pl.Int64).alias("last")
    ).row(0)
    if first == last:
        return
    counts = (
        sequences.group_by(label, start=stretches("start", clock, first, last, STRETCHES)).len().sort("start", label)
    )
    table = counts.rename({label: "class", "len": "count"}).to_dicts()
    result.tables["classes_over_time"] = table
    totals: dict[Any, int] = {}
    for row in table:
        totals[row["start"]] = totals.get(row["start"], 0) + row["count"]
    found = {(row["start"], row["class"]): row["count"] for row in table}
    x = plain(list(totals))
    traces = []
    for name in names:
        shares = [100 * found.get((start, name), 0) / total for start, total in totals.items()]
        traces.append({"type": "bar", "name": name, "x": x, "y": plain(shares)})
    low, high = (f((found.get((s, names[0]), 0) / total, s) for s, total in totals.items()) for f in (min, max))
    caption = (
        f"Share of each class by when a sequence starts: '{names[0]}' goes between {100 * low[0]:.0f} % "
        f"({when(low[1])}) and {100 * high[0]:.0f} % ({when(high[1])})."
    )
    figure = overlay(
        "classes-over-time", "Classes over time", caption, traces, y_title="% of sequences", barmode="stack"
    )
    result.figures.append(figure)
