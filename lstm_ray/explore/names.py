"""Columns that name series, where that takes a look at other columns than words. Knows nothing of other roles."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import polars as pl

from lstm_ray.explore.kinds import Kind, is_whole, says

MOST_CLASSES = 20
FEWEST_SEQUENCES = 20
MOST_IDS = 3
FEWEST_REPEATS, FULL = 10, 0.8
"""Rows for each value of a whole number that may name series, and share of their times that all series have."""
ID_NAMES = (
    r"(id|key|name|unique|series|site|station|sensor|store|item|sku|product|device|machine|unit|customer|meter|asset"
    r"|origin)"
)


def numbered(text: pl.DataFrame, kinds: Mapping[str, Kind], candidates: list[str], time: str) -> tuple[str, ...] | None:
    """Columns, whole numbers that repeat among them, that with the time name each row of an almost full table once."""
    whole = [c for c, kind in kinds.items() if kind == "number" and c not in (time, *candidates) and is_whole(text[c])]
    some = [c for c in whole if 1 < text[c].n_unique() <= text.height / FEWEST_REPEATS and not text[c].null_count()]
    num_times = text[time].n_unique()
    for size in range(1, MOST_IDS + 1):
        for found in combinations([*candidates, *some[:MOST_CLASSES]], size):
            full = text.select(*found).n_unique() * num_times
            if FULL * full <= text.height <= full and text.select(*found, time).is_unique().all():
                return found
    return None


def names_sequences(text: pl.DataFrame, candidates: list[str], texts: list[str]) -> str | None:
    """The column that cuts one course into sequences: many runs of rows, in each of which a label is constant."""
    for name in sorted(candidates, key=lambda name: -says(name, ID_NAMES)):
        if text[name].null_count():
            continue
        num = text[name].n_unique()
        if not FEWEST_SEQUENCES <= num == len(text[name].rle()) <= text.height // 2:
            continue
        for label in texts:
            few = 1 < text[label].drop_nulls().n_unique() <= min(MOST_CLASSES, num // 4)
            if label != name and few and text.select(name, label).n_unique() == num:
                return name
    return None
