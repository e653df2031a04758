"""A store's rows as another process reads them, whether or not a server holds it. Knows SQLite and NumPy.

A reader sees the rows of one moment and holds nobody up.

Legend: T steps, F columns.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lstm_ray.errors import InputError

CHUNK_ROWS = 100_000
STRANGE = (ValueError, TypeError, OverflowError, LookupError)
"""What a cell raises whose kind of value is not the one that was written: SQLite keeps any in any."""


@dataclass(frozen=True)
class Chunk:
    """Some rows, in the order in which they came to be as they are."""

    series_T: list[str]
    tick_T: NDArray
    sequence_T: NDArray
    values_TF: NDArray
    """Columns as ``columns`` tells them; NaN where nobody told."""


def count(file: Path, since: int = 0, first: int = -(2**63)) -> int:
    """How many rows are new or told otherwise since the change of this number, of those from a first tick on; 0 where there is
    no file."""
    if not file.exists():
        return 0
    with _opened(file) as db:
        [(found,)] = db.execute("SELECT COUNT(*) FROM rows WHERE sequence > ? AND tick >= ?", (since, first))
    return int(found)


def newest(file: Path) -> int:
    """The number of the last change; 0 where there is none. Numbers only grow, also where rows are deleted."""
    if not file.exists():
        return 0
    with _opened(file) as db:
        found = db.execute("SELECT value FROM meta WHERE key = 'sequence'").fetchone()
        return int(found[0]) if found else 0


def chunks(file: Path, since: int = 0) -> tuple[list[str], Iterator[Chunk]]:
    """Names of the columns, and the rows that changed after this number. Raises InputError where there is no store."""
    with _opened(file) as db:
        columns = [name for (name,) in db.execute("SELECT name FROM columns ORDER BY position")]
        _require_text(columns)
    return columns, _chunks(file, since, len(columns))


def _chunks(file: Path, since: int, width: int) -> Iterator[Chunk]:
    with _opened(file) as db:
        told = db.execute(
            "SELECT name, tick, sequence, cells FROM rows JOIN series ON series.id = rows.series "
            "WHERE sequence > ? ORDER BY sequence",
            (since,),
        )
        while some := told.fetchmany(CHUNK_ROWS):
            names, ticks, numbers, cells = zip(*some, strict=True)
            _require_text(names)
            # Rows from before a column came are shorter.
            blank = np.full(width, np.nan).tobytes()
            whole = b"".join(cell[: len(blank)] + blank[len(cell) :] for cell in cells)
            yield Chunk(
                list(names),
                np.array(ticks, np.int64),
                np.array(numbers, np.int64),
                np.frombuffer(whole).reshape(-1, width),
            )


def _require_text(names: Sequence[object]) -> None:
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a name is {name!r}")


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    if not file.exists():
        raise InputError(
            f"there are no rows in '{file}': none came since the policy is served, or monitor.keep_days is 0"
        )
    try:
        # Not 'ro': a store that no process holds has no index of its log, which a reader then makes.
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)) as db:
            db.execute("PRAGMA query_only=ON")
            db.execute("BEGIN")
            yield db
    except sqlite3.Error as error:
        raise InputError(f"rows cannot be read from '{file}': {error}") from None
    except STRANGE as error:
        raise InputError(
            f"'{file}' holds what no server wrote there ({error}); take it from a copy, or move it away to begin another"
        ) from None
