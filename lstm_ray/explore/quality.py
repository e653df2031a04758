"""How the rows came: duplicates, hours that came twice, time stamps off the grid. Knows nothing of values."""

from __future__ import annotations

from collections import Counter

import polars as pl

from lstm_ray.data.timeline import grid
from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.explore.analysis import Analysis, Clock, advise, named, number, percent
from lstm_ray.figure import bars
from lstm_ray.sections.data import TIME_DELTA, DataConfig

MOST_BARS = 12
MOSTLY_ODD = 0.5
"""Share of differences off the grid from which resampling invents more than it keeps."""


def put_right(counts: Counter[str], num_rows: int, data: DataConfig) -> Analysis:
    """What reading the table put right, in words.

    Args:
        counts: as ``grid.typed`` adds them up.
        num_rows: once rows of the same time are joined.

    Table: ``put_right``, counts by what it was.
    """
    result = Analysis(tables={"put_right": dict(counts)})
    words = {
        "duplicates": "repeat the time of another row of their series (data.duplicates: {duplicates})",
        "ambiguous": "lie in an hour that came twice, as the clocks of {zone} went back; the first is read as summer time "
        "where both are there (write offsets, such as 2024-10-27T02:30:00+01:00, to be sure)",
        "resampled": "were moved to their step or joined with others in it (data.irregular: {irregular})",
    }
    given = {"duplicates": data.duplicates, "zone": data.time_zone or "UTC", "irregular": data.irregular}
    for kind, num in sorted(counts.items()):
        if num:
            what = words.get(kind, f"were put right on reading ({kind})").format(**given)
            came = num_rows + counts["duplicates"]
            severity = "warning" if kind == "duplicates" and num > 0.01 * came else "info"
            text = f"{num:,} of {came:,} rows ({percent(num / came)}) {what}."
            result.say("warning" if severity == "warning" else "info", text)
    return result


def intervals(differences: pl.DataFrame, clock: Clock, data: DataConfig) -> Analysis:
    """How far neighbouring time stamps are apart, where that is not always the same step or a multiple.

    Args:
        differences: of the rows as they came: difference, n.

    Table: ``differences`` (difference, n, words), the commonest.
    """
    total = int(differences["n"].sum())
    step = clock.step
    words = [grid.describe_step(d, clock.is_time, clock.in_months) for d in differences["difference"].head(MOST_BARS)]
    table = differences.head(MOST_BARS).with_columns(words=pl.Series(words, dtype=pl.String))
    result = Analysis(tables={"differences": table.to_dicts()})
    off = int(differences.filter(pl.col("difference") % step != 0)["n"].sum())
    if not off or not total:
        return result
    share = off / total
    shortest, longest = int(differences["difference"].min()), int(differences["difference"].max())  # type: ignore[arg-type]
    spread = [grid.describe_step(d, clock.is_time, clock.in_months) for d in (shortest, longest)]
    text = (
        f"{off:,} of {total:,} differences between time stamps ({percent(share)}) are no multiple of the step "
        f"{grid.describe_step(step, clock.is_time, clock.in_months)}; they go from {spread[0]} to {spread[1]}."
    )
    if data.irregular == "resample" and share > MOSTLY_ODD:
        text += " Resampled steps are means of what fell into them, or empty; rows may be read as they are instead."
        result.say("advice", text, advise("data", irregular="time_delta", frequency=None))
    else:
        result.say("info", text)
    shown = table["n"].to_numpy() * 100 / total
    caption = (
        f"{percent(share)} of the differences lie off the grid; the commonest, {words[0]}, is {shown[0]:.1f} % of all."
    )
    figure = bars(
        "intervals", "How far apart time stamps are", caption, words, {"differences": shown}, y_title="% of differences"
    )
    result.figures.append(figure)
    return result


def deltas(frame: pl.DataFrame) -> Analysis:
    """Times between rows, where each row is a step of its own (data.irregular: time_delta).

    Args:
        frame: rows as they came, with TIME_DELTA in seconds or units of integers.
    """
    result = Analysis()
    first = pl.int_range(pl.len()).over(SERIES) == 0
    seen = frame.filter(~first)[TIME_DELTA].drop_nulls()
    if seen.is_empty():
        return result
    low, middle, high = (float(seen.quantile(q) or 0.0) for q in (0.01, 0.5, 0.99))
    commonest, times = seen.value_counts().sort("count", TIME_DELTA, descending=[True, False]).row(0)
    share = times / seen.len()
    text = (
        f"Each row is a step, {number(middle)} after the one before at the median, {number(low)} to {number(high)} in 98 % of "
        f"rows (seconds, or the time column's unit); {percent(share)} are exactly {number(commonest)}."
    )
    regular = share > 1 - MOSTLY_ODD / 10
    result.say("advice" if regular else "info", text, advise("data", irregular="resample") if regular else "")
    return result


def categories(frame: pl.DataFrame, columns: list[str]) -> Analysis:
    """Rows of each category by part, and words that training never saw.

    Args:
        frame: with the column ``part``.

    Table: ``categories`` (column, value, train, validation, test: shares of the part's rows).
    """
    result, table = Analysis(tables={"categories": []}), []
    for column in columns:
        counts = frame.drop_nulls("part").group_by("part", column).len()
        totals = dict(counts.group_by("part").agg(pl.col("len").sum()).iter_rows())
        found = {(part, value): n / totals[part] for part, value, n in counts.iter_rows()}
        values = sorted(
            {value for _, value in found}, key=lambda value: (-found.get(("train", value), 0.0), str(value))
        )
        for value in values[:200]:
            shares = {part: found.get((part, value), 0.0) for part in ("train", "validation", "test")}
            table.append({"column": column, "value": value, **shares})
        unseen = [value for value in values if value is not None and ("train", value) not in found]
        if unseen and "train" in totals:
            most = max(sum(found.get((part, v), 0.0) for v in unseen) for part in totals)
            text = f"{len(unseen)} of {len(values)} words of '{column}' are not in the training part"
            text = f"{text} ({named([str(value) for value in unseen])}) and are read as unseen: {percent(most)} of the rows of"
            result.say("warning" if most > 0.1 else "info", f"{text} a later part have one, at most.")
        moves = [
            (abs(found.get((p, v), 0.0) - found.get(("train", v), 0.0)), str(p), str(v)) for p in totals for v in values
        ]
        move, part, value = max(moves, default=(0.0, "", ""))
        if move > 0.1 and "train" in totals:
            result.say(
                "info",
                f"'{value}' of '{column}' is {percent(found.get(('train', value), 0.0))} of the training part's rows and "
                f"{percent(found.get((part, value), 0.0))} of the {part} part's.",
            )
    result.tables["categories"] = table
    return result
