"""Rows of named series on a disk, as requests and observations told them, each once. SQLite; knows no policy.

One process writes; others may read meanwhile (``live.reading``). What is deleted is deleted for good: it is overwritten, and
the traces of it that SQLite's pages may hold between their cells go when the file is written anew. Where a disk fails, serving
goes on, and the summary says what is not kept, and why.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lstm_ray.live.clock import Age, since_boot
from lstm_ray.live.merging import HISTORY, MEASURED
from lstm_ray.live.reading import STRANGE
from lstm_ray.live.taking import Added, Taking, Told

__all__ = ["FILE", "HISTORY", "MEASURED", "Added", "RowStore", "Told"]
FILE = "rows.sqlite"
SWEEP_SECONDS, REWRITE_SECONDS = 60.0, 3_600.0
"""How often old rows are deleted, and how often at most the file is written anew for that."""
BUSY_SECONDS = 5.0
"""How long another process that writes (the one before, as it ends) is waited for."""
TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS columns (position INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS rows (series INTEGER, tick INTEGER, sequence INTEGER NOT NULL, arrived REAL NOT NULL,
    cells BLOB NOT NULL, told BLOB NOT NULL, PRIMARY KEY (series, tick)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_sequence ON rows (sequence);
CREATE INDEX IF NOT EXISTS by_arrival ON rows (arrived);
"""


class RowStore:
    """One file, of one process at a time: whoever makes one holds the folder.

    Args:
        keep_seconds: since it came first, a row is kept so long.
        max_rows: kept at most; those that nothing was told about for longest make room.
    """

    def __init__(
        self,
        file: Path,
        keep_seconds: float,
        max_rows: int,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = since_boot,
    ) -> None:
        self._file, self._keep_seconds, self._max_rows = file, keep_seconds, max_rows
        self._clock, self._steady = clock, steady
        self._db: sqlite3.Connection | None = None
        self._why = ""
        self._from = {HISTORY: Added(), MEASURED: Added()}
        self._num_rows = self._sequence = 0
        self._age = Age(clock=clock, steady=steady)
        self._swept = self._rewritten = float("-inf")
        self._leftovers = False
        with suppress(sqlite3.Error, OSError):
            self._guarded(self._opened)

    @property
    def keeps(self) -> bool:
        """Whether any row is kept at all."""
        return self._keep_seconds > 0

    def keep(self, seconds: float, max_rows: int) -> None:
        """Keep rows so long, and so many, from now on."""
        self._keep_seconds, self._max_rows = seconds, max_rows

    def add(
        self, told: Iterable[Told], columns: Sequence[str], far: int, source: int = HISTORY, lost: int = 0
    ) -> Added:
        """Take rows in; what the store cannot take is counted as lost, and the summary says why.

        Args:
            columns: of the values.
            far: ticks from which two rows of a series lie apart as only a clock that jumped, or a long gap, would have it.
            source: HISTORY or MEASURED.
            lost: rows that did not get so far.
        """
        told = list(told)
        try:
            found: Added = self._guarded(lambda: self._added(told, columns, far, source))
            self._why = ""
        except (sqlite3.Error, OSError):
            found = Added(lost=sum(len(rows.tick_T) for rows in told))
        found.lost += lost
        self._from[source].add(found)
        return found

    def sweep(self, now: bool = False) -> int:
        """Delete rows that are too old; returns how many. Looks for them once in a while only, unless it is to be now."""
        age, _ = self._age.now()
        if not now and age - self._swept < SWEEP_SECONDS:
            return 0
        self._swept = age
        try:
            gone: int = self._guarded(lambda: self._swept_at(now))
        except (sqlite3.Error, OSError):
            return 0
        return gone

    def forget(self, series: str) -> int:
        """Delete all rows of a series, its name too; returns how many there were. Raises sqlite3.Error or OSError where that
        failed."""
        gone: int = self._guarded(lambda: self._forgotten(series))
        return gone

    def summary(self) -> dict[str, Any]:
        """The account, as plain values for JSON."""
        self.sweep()
        return {
            "state": f"rows are not kept: {self._why}" if self._why else "kept",
            "kept": self._num_rows,
            "newest_sequence": self._sequence,
            "keep_days": self._keep_seconds / 86_400,
            "from_requests": dict(vars(self._from[HISTORY])),
            "from_observations": dict(vars(self._from[MEASURED])),
        }

    def close(self) -> None:
        """Leave nothing of what was deleted."""
        with suppress(sqlite3.Error, OSError):
            self._guarded(lambda: self._rewrite() if self._leftovers else self._remember())
        self._drop()

    def _guarded(self, act: Callable[[], Any]) -> Any:
        """Do it, or note why it could not be done and raise that."""
        try:
            try:
                found = act()
            except STRANGE as error:
                raise sqlite3.DataError(f"it holds what was never written there: {error}") from error
        except (sqlite3.Error, OSError) as error:
            self._why = f"{error} ('{self._file}'); once that is mended, they are again"
            # Opened anew the next time: what is in memory of a file that failed says nothing.
            self._drop()
            raise
        return found

    def _drop(self) -> None:
        db, self._db = self._db, None
        with suppress(sqlite3.Error):
            if db is not None:
                db.close()

    def _opened(self) -> sqlite3.Connection:
        if self._db is not None:
            return self._db
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._file, os.O_CREAT | os.O_RDWR, 0o600))
        db = sqlite3.connect(self._file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON"):
                db.execute(f"PRAGMA {pragma}")
            db.executescript(TABLES)
            meta = dict(db.execute("SELECT key, value FROM meta"))
            [(self._num_rows,)] = db.execute("SELECT COUNT(*) FROM rows")
        except sqlite3.Error:
            db.close()
            raise
        self._sequence, self._leftovers = int(meta.get("sequence", 0)), bool(meta.get("leftovers", 0))
        self._age = Age(meta.get("age", 0.0), meta.get("wall"), self._clock, self._steady)
        self._db = db
        return db

    def _added(self, told: Sequence[Told], columns: Sequence[str], far: int, source: int) -> Added:
        db, found = self._opened(), Added()
        with db:
            db.execute("BEGIN IMMEDIATE")
            taking = Taking(db, columns, far, source, self._sequence, self._age.now()[0])
            for rows in told:
                found.add(taking.take(rows))
            kept = self._num_rows + found.new
            if excess := max(0, kept - self._max_rows):
                db.execute(
                    "DELETE FROM rows WHERE sequence IN (SELECT sequence FROM rows ORDER BY sequence LIMIT ?)",
                    (excess,),
                )
            # What is told otherwise is kept nowhere: its place in the file may hold it until the next rewriting.
            leaves = excess > 0 or found.contradictory > 0
            self._remember(sequence=taking.sequence, **({"leftovers": 1} if leaves else {}))
        self._num_rows, self._sequence = kept - excess, taking.sequence
        self._leftovers |= leaves
        return found

    def _swept_at(self, now: bool) -> int:
        db, (age, _) = self._opened(), self._age.now()
        with db:
            db.execute("BEGIN IMMEDIATE")
            gone = db.execute("DELETE FROM rows WHERE arrived < ?", (age - self._keep_seconds,)).rowcount
            # Rows that made room may have been a series' last.
            db.execute("DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM rows WHERE rows.series = series.id)")
            self._remember(**({"leftovers": 1} if gone else {}))
        self._num_rows -= gone
        self._leftovers |= gone > 0
        if self._leftovers and (now or age - self._rewritten >= REWRITE_SECONDS):
            self._rewrite()
        elif gone:
            self._empty_log()
        return gone

    def _forgotten(self, series: str) -> int:
        db = self._opened()
        with db:
            db.execute("BEGIN IMMEDIATE")
            mine = "(SELECT id FROM series WHERE name = ?)"
            gone = db.execute(f"DELETE FROM rows WHERE series = {mine}", (series,)).rowcount
            db.execute("DELETE FROM series WHERE name = ?", (series,))
            self._remember(leftovers=1)
        self._num_rows -= gone
        self._leftovers = True
        # Also where there was none: traces of rows that were deleted before may be this series'.
        self._rewrite()
        return gone

    def _remember(self, **more: Any) -> None:
        """What a later process goes on from."""
        age, wall = self._age.now()
        values = {"age": age, "wall": wall, **more}
        self._opened().executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    def _rewrite(self) -> None:
        """The file anew from what is kept: pages hold traces of cells that were moved before they were deleted."""
        self._rewritten, _ = self._age.now()
        self._opened().execute("VACUUM")
        if self._empty_log():
            self._leftovers = False
            self._remember(leftovers=0)

    def _empty_log(self) -> bool:
        """The log holds what was deleted until it is emptied; whether it could be: another process may be reading it."""
        db = self._opened()
        db.execute("PRAGMA busy_timeout=0")
        [(busy, _, _)] = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        db.execute(f"PRAGMA busy_timeout={int(1000 * BUSY_SECONDS)}")
        return not busy
