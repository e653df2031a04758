"""What is there twice: test windows that training has too, sequences with two names, series that copy one another.

Found by hashes of whole stretches, to the last digit. Knows nothing of what the copies mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.explore.analysis import Analysis, Clock, counted, named, percent, when, within

FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that its powers can be undone in arithmetic modulo 2^64."""
FEWEST_STEPS = 24
"""Steps of a stretch that chance does not repeat."""
FEWEST_CHANGES = 8
"""A series that changes less often is the same as others for want of anything to differ in."""


def windows(frame: pl.DataFrame, columns: Sequence[str], steps: int, clock: Clock) -> Analysis:
    """Stretches of the test part that the training part holds as well, in any series.

    Stretches whose values stand still at every second step or more often are not counted: nights of zeros are alike.

    Args:
        frame: the regular grid, with the column ``part``.
        steps: length of a stretch; the horizon, or a season.

    Table: ``repeated_windows`` (the first of them: series, time, also_in, also_at).
    """
    steps = max(steps, FEWEST_STEPS)
    result = Analysis(tables={"repeated_windows": []})
    if frame.height <= steps or not columns:
        return result
    seen = frame.select(
        SERIES, TIME, "part", row=pl.struct(columns).hash(), holds=pl.any_horizontal(pl.col(columns).is_not_null())
    )
    row, changed = _rows(seen)
    hashes = _rolling(row, steps)
    place = seen.select(run=pl.struct(SERIES, "part", "holds").rle_id(), part="part", holds="holds")
    run = place["run"].to_numpy()
    whole = (run[: len(hashes)] == run[steps - 1 :]) & place["holds"].to_numpy()[: len(hashes)]
    moves = np.concatenate([[0], np.cumsum(changed)])
    whole &= moves[steps:] - moves[1 : len(hashes) + 1] >= steps // 2
    part = place["part"].to_numpy()[: len(hashes)]
    train, test = (np.flatnonzero(whole & (part == name)) for name in ("train", "test"))
    copied = test[np.isin(hashes[test], hashes[train])]
    if not len(copied):
        return result
    covered = np.zeros(frame.height + 1, dtype=np.int64)
    np.add.at(covered, copied, 1)
    np.add.at(covered, copied + steps, -1)
    num_covered = int((np.cumsum(covered) > 0).sum())
    num_test = int((seen["part"] == "test").sum())
    order = train[np.argsort(hashes[train], kind="stable")]
    twin = order[np.searchsorted(hashes[order], hashes[copied[:10]])]
    for one, other in zip(copied[:10].tolist(), twin.tolist(), strict=True):
        pair = {"series": seen[SERIES][one], "time": seen[TIME][one]}
        result.tables["repeated_windows"].append({**pair, "also_in": seen[SERIES][other], "also_at": seen[TIME][other]})
    first = result.tables["repeated_windows"][0]
    result.say(
        "warning",
        f"{num_covered:,} of the {num_test:,} steps of the test part ({percent(num_covered / num_test)}) lie in stretches "
        f"of {clock.span(steps)} or more that training holds to the last digit: the one from {when(first['time'], clock)}"
        f"{within(first['series'])} is also at {when(first['also_at'], clock)}{within(first['also_in'])}. They are "
        "remembered, not forecast (leakage).",
    )
    return result


def series(frame: pl.DataFrame, columns: Sequence[str]) -> Analysis:
    """Series that hold the same values under two names, whenever they start.

    Args:
        frame: rows as they came.

    Table: ``twins`` (series, same_as).
    """
    sums = _sums(frame, columns)
    pairs = _groups(sums.filter(pl.col("changes") >= FEWEST_CHANGES))
    twins = [{"series": other, "same_as": names[0]} for names in pairs for other in names[1:]]
    result = Analysis(tables={"twins": twins})
    if twins:
        words = [f"'{twin['series']}' is '{twin['same_as']}'" for twin in twins]
        result.say(
            "warning",
            f"{counted(len(twins), 'series repeats', 'series repeat')} another to the last digit ({sums.height:,} in all): "
            f"{named(words)}. Keep one of each: a copy counts twice in training and in every score.",
        )
    return result


def sequences(frame: pl.DataFrame, columns: Sequence[str], label: str) -> Analysis:
    """Labelled sequences that are there twice: in training and in test, or with two labels.

    Args:
        frame: rows as they came, with the column ``part``.

    Table: ``repeated_sequences`` (sequences: their names; parts, labels).
    """
    sums = _sums(frame, columns).filter(pl.col("changes") >= 1)
    about = frame.group_by(SERIES).agg(pl.col("part").first(), label=pl.col(label).first())
    part_of = dict(about.select(SERIES, "part").iter_rows())
    label_of = dict(about.select(SERIES, "label").iter_rows())
    table = [
        {
            "sequences": names,
            "parts": sorted({part_of[name] for name in names if part_of[name]}),
            "labels": sorted({str(label_of[name]) for name in names}),
        }
        for names in _groups(sums)
    ]
    result = Analysis(tables={"repeated_sequences": table[:50]})
    across = [row for row in table if "train" in row["parts"] and len(row["parts"]) > 1]
    if across:
        one = across[0]["sequences"]
        later = sum(part_of[name] != "train" for row in across for name in row["sequences"])
        result.say(
            "warning",
            f"{counted(later, 'sequence')} of validation and test {'is' if later == 1 else 'are'} in training too, to the "
            f"last digit, such as '{one[-1]}', which is '{one[0]}': they are remembered, not recognised (leakage). Keep one "
            "of each.",
        )
    torn = [row for row in table if len(row["labels"]) > 1]
    if torn:
        words = named([" and ".join(f"'{name}'" for name in row["sequences"][:2]) for row in torn])
        result.say(
            "warning",
            f"{counted(len(torn), 'sequence has', 'sequences have')} two labels, for the same values: {words} "
            f"({' and '.join(torn[0]['labels'][:2])}). One of each must be wrong.",
        )
    return result


def _rows(seen: pl.DataFrame) -> tuple[NDArray, NDArray]:
    """Each row's hash, and whether it differs from the row before (the first row does)."""
    row = seen["row"].to_numpy()
    return row, np.concatenate([[True], row[1:] != row[:-1]])


def _powers(size: int) -> NDArray:
    powers = np.full(size, FACTOR, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


def _rolling(row_R: NDArray, steps: int) -> NDArray:
    """A hash of every stretch of so many rows: a polynomial (Rabin & Karp, 1987) modulo 2^64. Shape [R - steps + 1]."""
    power = _powers(steps)
    # Horner's rule along the stretch, for all stretches at once: exact in integers that wrap.
    found = np.zeros(len(row_R) - steps + 1, dtype=np.uint64)
    for k in range(steps):
        found += row_R[k : k + len(found)] * power[k]
    return found


def _sums(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """One row a series: its hash, and how often its values change."""
    seen = frame.select(SERIES, row=pl.struct(list(columns)).hash())
    row, changed = _rows(seen)
    lengths = seen.group_by(SERIES, maintain_order=True).len()
    start = np.concatenate([[0], np.cumsum(lengths["len"].to_numpy())[:-1]]).astype(np.int64)
    local = np.arange(len(row)) - np.repeat(start, lengths["len"].to_numpy())
    hashes = np.add.reduceat(row * _powers(int(local.max()) + 1)[local], start)
    changes = np.add.reduceat(changed.astype(np.int64), start) - changed[start]
    length = lengths["len"].cast(pl.UInt64).to_numpy()
    return pl.DataFrame({SERIES: lengths[SERIES], "hash": hashes ^ length, "changes": changes})


def _groups(sums: pl.DataFrame) -> list[list[Any]]:
    """Names of series with one hash, where there are several."""
    found = sums.group_by("hash", maintain_order=True).agg(pl.col(SERIES))
    return [names for names in found[SERIES].to_list() if len(names) > 1]
