"""One file without a series: tables without its rows, JSON without its entries, text without its lines.

Each is replaced whole or not at all. What a file of another kind holds is not touched, and ``mentions`` tells of it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from lstm_ray.data.timeline.grid import SEPARATOR, SERIES
from lstm_ray.run_dir import FIGURES

NAMES = (SERIES, "series_id", "_series")
"""Columns that hold the whole name of a series, in every table that a run makes."""
SCALER = "scaler.json"
STRUCTURE = ("schema.json", "boundaries.json", "environment.json")
"""Files whose words are the run's own."""
SHORT = 3
GONE = "(forgotten)"
"""In place of a name that something must stand for."""
CHUNK_BYTES = 1 << 22
UNFINISHED = ".forget.tmp"
"""How files end that a killed process left."""


def table_without(file: Path, series: str, keys: Sequence[str]) -> int:
    """A Parquet file without the rows of a series; returns how many there were. Row groups and compression stay as they are.

    Args:
        keys: columns that together name a series where no column holds the whole name.
    """
    with pq.ParquetFile(file) as before:
        if not (held := _holding(before.schema_arrow.names, keys)):
            return 0
        found = pl.read_parquet(file, columns=held)
        num_gone = int(found.select((_name(held) == series).sum()).item())
        if not num_gone:
            return 0
        written = before.metadata.row_group(0).column(0).compression
        compression = "none" if written == "UNCOMPRESSED" else written.lower()
        with replaced(file) as new, pq.ParquetWriter(new, before.schema_arrow, compression=compression) as after:
            for group in range(before.num_row_groups):
                part = before.read_row_group(group)
                kept = pl.DataFrame(part.select(held)).select(_name(held) != series).to_series()
                after.write_table(_plain(part.filter(kept.to_arrow())))
    return num_gone


@dataclass(frozen=True)
class Name:
    """A series as text tells it.

    Args:
        others: names of the other series: where this one is a part of theirs, they are not this one.
        reserved: words that mean something else in a run, such as its columns: of these only what is said to be a series is.
    """

    series: str
    others: frozenset[str] = frozenset()
    reserved: frozenset[str] = frozenset()

    @cached_property
    def word(self) -> re.Pattern[str]:
        """The name in a sentence. One that is short, or a number, is found in quotation marks alone, or on its own."""
        name = re.escape(self.series)
        longer = [other.partition(self.series) for other in sorted(self.others) if self.series in other]
        name += "".join(
            rf"(?!(?<={re.escape(at + self.series)}){re.escape(to)}(?![\w-]))" for at, _, to in longer if at or to
        )
        if len(self.series) < SHORT or re.fullmatch(r"[\d.,]+", self.series):
            return re.compile(rf"(?m)^{name}$|(?<=['\"]){name}(?=['\"])")
        return re.compile(rf"(?<![\w-]){name}(?![\w-])")


def json_without(file: Path, name: Name) -> bool:
    """A JSON file without a series' entries; whether there were any. Raises ValueError where it is no JSON."""
    if file.name in STRUCTURE:
        return False
    before = json.loads(file.read_bytes())
    if name.series in name.reserved or _is_key(before, name.series) or file.name == SCALER:
        after = _struck(before, name.series)
    elif file.name == FIGURES:
        # What is left of a figure's arrays would lie beside the wrong places of others.
        after = [figure for figure in before if not name.word.search(_words(figure))]
    else:
        after = _pruned(_struck(before, name.series), name)
    if after == before:
        return False
    _replace(file, json.dumps(after, indent=1, sort_keys=True, ensure_ascii=False).encode())
    return True


def text_without(file: Path, name: Name) -> int:
    """A text file without the lines that name a series; returns how many there were."""
    if name.series in name.reserved:
        return 0
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not name.word.search(line)]
    if len(kept) < len(lines):
        _replace(file, "".join(kept).encode())
    return len(lines) - len(kept)


def mentions(file: Path, series: str) -> bool:
    """Whether a file holds the bytes of a name, as text or as JSON writes it. Of a short name no byte could tell."""
    needles = {series.encode(), json.dumps(series)[1:-1].encode()}
    reach = max(map(len, needles)) - 1
    with file.open("rb") as content:
        tail = b""
        while chunk := content.read(CHUNK_BYTES):
            window = tail + chunk
            if any(needle in window for needle in needles):
                return True
            tail = window[-reach:] if reach else b""
    return False


def _holding(names: Sequence[str], keys: Sequence[str]) -> list[str]:
    """The columns that tell a row's series."""
    if whole := [name for name in NAMES if name in names]:
        return whole[:1]
    return list(keys) if keys and set(keys) <= set(names) else []


def _name(held: Sequence[str]) -> pl.Expr:
    return pl.concat_str([pl.col(name).cast(pl.String).fill_null("") for name in held], separator=SEPARATOR)


def _plain(table: pa.Table) -> pa.Table:
    """With dictionaries that name only what is there."""
    columns = [
        column.cast(column.type.value_type).dictionary_encode().cast(column.type)
        if pa.types.is_dictionary(column.type)
        else column
        for column in table.columns
    ]
    return pa.table(columns, schema=table.schema)


def _is_key(value: Any, series: str, below: bool = False) -> bool:
    """Whether a name is that of a field, too, somewhere outside what is told by series."""
    if isinstance(value, dict):
        inside = ((below or _by_series(key), one) for key, one in value.items())
        return (series in value and not below) or any(_is_key(one, series, at) for at, one in inside)
    return isinstance(value, list) and any(_is_key(one, series, below) for one in value)


def _by_series(key: str) -> bool:
    return SERIES in key


def _struck(value: Any, series: str, below: bool = False) -> Any:
    """Without what is told by series, of this one, and without entries that say whose they are."""
    if isinstance(value, dict):
        kept = {key: one for key, one in value.items() if not (below and key == series)}
        return {key: _struck(one, series, below or _by_series(key)) for key, one in kept.items()}
    if isinstance(value, list):
        mine = [isinstance(one, dict) and any(one.get(key) == series for key in NAMES) for one in value]
        return [_struck(one, series, below) for one, own in zip(value, mine, strict=True) if not own]
    return value


def _pruned(value: Any, name: Name) -> Any:
    """Without entries of lists that tell of the series; elsewhere a word stands for it."""
    if isinstance(value, dict):
        return {name.word.sub(GONE, k): _pruned(v, name) for k, v in _aligned(value, name.series).items()}
    if isinstance(value, list):
        return [_pruned(one, name) for one in value if not _tells(one, name.word)]
    return name.word.sub(GONE, value) if isinstance(value, str) else value


def _words(value: Any) -> str:
    """Every text in a value, a line each."""
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return value if isinstance(value, str) else "\n".join(_words(one) for one in inner)


def _tells(entry: Any, word: re.Pattern[str]) -> bool:
    """Whether an entry of a list is about the series: it is its name, or says it."""
    if isinstance(entry, str):
        return bool(word.search(entry))
    inner = entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ()
    return any(isinstance(one, str) and word.search(one) for one in inner)


def _aligned(value: dict[str, Any], series: str) -> dict[str, Any]:
    """Columns that lie beside a list of names, without the places of the series."""
    for names in [v for v in value.values() if isinstance(v, list) and series in v]:
        kept = [place for place, name in enumerate(names) if name != series]
        value = {
            k: [v[place] for place in kept] if isinstance(v, list) and len(v) == len(names) else v
            for k, v in value.items()
        }
    return value


@contextmanager
def replaced(file: Path) -> Iterator[Path]:
    """A path to write that takes a file's place when the block ends without an error."""
    new = file.with_name(f".{file.name}.{os.getpid()}{UNFINISHED}")
    try:
        yield new
        os.replace(new, file)
    finally:
        new.unlink(missing_ok=True)


def _replace(file: Path, content: bytes) -> None:
    with replaced(file) as new:
        new.write_bytes(content)
