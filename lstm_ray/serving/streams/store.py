"""Streams on a disk: a snapshot of each state, and every row since as it came. SQLite; knows no policy.

What was appended is there after a lost process. Nothing is a pickle, and what is deleted is overwritten.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lstm_ray.errors import InputError

BUSY_SECONDS = 15.0
"""How long a file that another process holds is waited for: one that dies lets go of it."""
TABLES = """
CREATE TABLE IF NOT EXISTS streams (id TEXT PRIMARY KEY, snapshot BLOB, used REAL NOT NULL, why TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS by_use ON streams (used);
CREATE TABLE IF NOT EXISTS rows (id TEXT, step INTEGER, cells BLOB NOT NULL, PRIMARY KEY (id, step)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS policy (file TEXT PRIMARY KEY, content BLOB NOT NULL);
"""


@dataclass(frozen=True)
class Kept:
    """One stream as the disk has it."""

    snapshot: bytes | None
    """None: it was forgotten."""
    why: str
    """For what reason."""
    row_TF: NDArray
    """Rows since the snapshot, float32."""


class Store:
    """One file, of one process: it is locked while it is open."""

    def __init__(self, file: Path) -> None:
        """Raises InputError where the file cannot be had."""
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            # The lock comes before the log: alone with its file, SQLite needs no shared memory, which network disks lack.
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(TABLES)
        except (OSError, sqlite3.Error) as error:
            raise InputError(
                f"streams cannot be kept in '{file}': {error}; set deploy.streams_dir to another"
            ) from None

    def begin(self, stream: str, snapshot: bytes, now: float) -> None:
        """In place of what there was under this id."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM rows WHERE id = ?", (stream,))
            self._db.execute("INSERT OR REPLACE INTO streams VALUES (?, ?, ?, '')", (stream, snapshot, now))

    def append(self, stream: str, steps: int, row_TF: NDArray, now: float) -> None:
        """Rows that follow on the first ``steps``."""
        cells = [(stream, steps + t, row_F.astype("<f4").tobytes()) for t, row_F in enumerate(row_TF)]
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO rows VALUES (?, ?, ?)", cells)
            self._db.execute("UPDATE streams SET used = ? WHERE id = ?", (now, stream))

    def touch(self, stream: str, now: float) -> None:
        self._db.execute("UPDATE streams SET used = ? WHERE id = ?", (now, stream))

    def snapshot(self, stream: str, snapshot: bytes) -> None:
        """In place of the last one and the rows since."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("UPDATE streams SET snapshot = ? WHERE id = ?", (snapshot, stream))
            self._db.execute("DELETE FROM rows WHERE id = ?", (stream,))

    def read(self, stream: str) -> Kept | None:
        """None: it is not there."""
        found = self._db.execute("SELECT snapshot, why FROM streams WHERE id = ?", (stream,)).fetchone()
        if found is None:
            return None
        cells = self._db.execute("SELECT cells FROM rows WHERE id = ? ORDER BY step", (stream,)).fetchall()
        rows = [np.frombuffer(cell, "<f4").astype(np.float32) for (cell,) in cells]
        snapshot, why = found
        return Kept(snapshot, why, np.stack(rows) if rows else np.empty((0, 0), np.float32))

    def forget(self, stream: str, why: str = "") -> bool:
        """Whether it was there. With a reason, that is kept in its place."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM rows WHERE id = ?", (stream,))
            if why:
                done = self._db.execute("UPDATE streams SET snapshot = NULL, why = ? WHERE id = ?", (why, stream))
            else:
                done = self._db.execute("DELETE FROM streams WHERE id = ?", (stream,))
        # The log holds what was deleted until it is emptied.
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return done.rowcount > 0

    def forget_series(self, series: str) -> list[str]:
        """Forget the streams with this id, or of a series with this name, for good; returns their ids."""
        named = f'"name": {json.dumps(series)}'.encode()
        found = self._db.execute("SELECT id FROM streams WHERE id = ? OR instr(snapshot, ?) > 0", (series, named))
        ids = [stream for (stream,) in found.fetchall()]
        for stream in ids:
            self.forget(stream)
        # Pages hold traces of cells that were moved before they were deleted; also of streams forgotten before.
        self._db.execute("VACUUM")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return ids

    def unused_since(self, time: float) -> list[str]:
        return [name for (name,) in self._db.execute("SELECT id FROM streams WHERE used < ?", (time,))]

    def oldest(self, keep: int) -> list[str]:
        """Those idle longest, but for so many others."""
        told = self._db.execute("SELECT id FROM streams ORDER BY used DESC LIMIT -1 OFFSET ?", (keep,))
        return [name for (name,) in told]

    @property
    def policy(self) -> dict[str, bytes]:
        """Files of the policy that reads the streams; empty before the first."""
        return dict(self._db.execute("SELECT file, content FROM policy"))

    @policy.setter
    def policy(self, files: Mapping[str, bytes]) -> None:
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM policy")
            self._db.executemany("INSERT INTO policy VALUES (?, ?)", list(files.items()))

    def close(self) -> None:
        self._db.close()
