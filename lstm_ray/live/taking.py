"""How rows get into a store's tables: each once, the better told value of two. Knows SQLite; knows no policy.

Legend: T steps, F columns.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lstm_ray.live.merging import merged, out_of_turn

LEAST, MOST = -(2**63), 2**63 - 1
FEW = 8
"""So many new rows of a series are looked at with their neighbours alone."""
NEIGHBOURS = """
SELECT MAX(tick) FROM rows WHERE series = ? AND tick < ? UNION ALL SELECT MIN(tick) FROM rows WHERE series = ? AND tick > ?
"""
BETWEEN = "SELECT tick FROM rows WHERE series = ? AND tick BETWEEN ? AND ?"


class Told(Protocol):
    """As ``traffic.Rows``."""

    @property
    def name(self) -> str: ...
    @property
    def tick_T(self) -> NDArray: ...  # noqa: N802
    @property
    def values_TF(self) -> NDArray: ...  # noqa: N802


@dataclass
class Added:
    """What came of rows, in numbers of rows."""

    new: int = 0
    duplicates: int = 0
    """They said again what is kept, or less of it."""
    completed: int = 0
    """They told values that were missing."""
    contradictory: int = 0
    """They told a value otherwise than it was told before."""
    late: int = 0
    """New, though a newer row of the series is kept."""
    jumps: int = 0
    """New, and far in time from all others of the series: a clock that jumped, or a long gap."""
    lost: int = 0
    """Not kept, for the store failed."""

    def add(self, other: Added) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class Taking:
    """One transaction's rows, all of one source.

    Args:
        columns: of the values that come; those that the file does not have are new ones.
        sequence: of the last change.
        arrived: age of the store at which they come.
        far, source: see ``RowStore.add``.
    """

    db: sqlite3.Connection
    columns: Sequence[str]
    far: int
    source: int
    sequence: int
    arrived: float

    def __post_init__(self) -> None:
        known = {name: position for position, name in self.db.execute("SELECT position, name FROM columns")}
        for name in self.columns:
            if name not in known:
                known[name] = len(known)
                self.db.execute("INSERT INTO columns VALUES (?, ?)", (known[name], name))
        self._positions, self._width = [known[name] for name in self.columns], len(known)

    def take(self, rows: Told) -> Added:
        """Rows of one series, in any order."""
        values_TF = np.full((len(rows.tick_T), self._width), np.nan)
        values_TF[:, self._positions[: rows.values_TF.shape[1]]] = rows.values_TF
        order = np.argsort(rows.tick_T, kind="stable")
        order = order[np.isfinite(values_TF[order]).any(axis=1)]
        tick_T, values_TF = rows.tick_T[order], values_TF[order]
        found = Added()
        while len(tick_T):
            # A step that is told twice is taken once, and then the next time: as if they had come so.
            again_T = np.concatenate([[False], np.diff(tick_T) == 0])
            found.add(self._ascending(rows.name, tick_T[~again_T], values_TF[~again_T]))
            tick_T, values_TF = tick_T[again_T], values_TF[again_T]
        return found

    def _ascending(self, name: str, tick_T: NDArray, values_TF: NDArray) -> Added:
        series, begins = self._series(name)
        number_T, arrived_T, kept_TF, told_TF = self._kept(series, tick_T)
        found = merged(kept_TF, told_TF, values_TF, self.source)
        new_T, changed_T, contradictory_T = number_T < 0, found.changed_T, found.contradictory_T
        late, jumps = self._out_of_turn(series, begins, tick_T[new_T])
        number_T = np.where(changed_T, self.sequence + np.cumsum(changed_T), number_T)
        self.sequence += int(changed_T.sum())
        self.db.executemany(
            "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?)",
            [
                (series, int(tick_T[t]), int(number_T[t]), float(arrived_T[t]), cells.tobytes(), told.tobytes())
                for t in np.flatnonzero(changed_T | found.confirmed_T)
                for cells, told in [(found.values_TF[t], found.told_TF[t])]
            ],
        )
        return Added(
            new=int(new_T.sum()),
            duplicates=int((~changed_T & ~contradictory_T).sum()),
            completed=int((~new_T & changed_T & ~contradictory_T).sum()),
            contradictory=int(contradictory_T.sum()),
            late=late,
            jumps=jumps,
        )

    def _series(self, name: str) -> tuple[int, bool]:
        """Its number, and whether nothing of it is kept."""
        known = self.db.execute("SELECT id FROM series WHERE name = ?", (name,)).fetchone()
        if known is None:
            made = self.db.execute("INSERT INTO series (name) VALUES (?)", (name,)).lastrowid
            assert made is not None, "a row was inserted"
            return made, True
        some = self.db.execute("SELECT 1 FROM rows WHERE series = ? LIMIT 1", known).fetchone()
        return known[0], some is None

    def _kept(self, series: int, tick_T: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """Of each tick the sequence, -1 where it is not kept, and the arrival, [T]; values and where they are from, [T, F]."""
        shape = (len(tick_T), self._width)
        number_T, arrived_T = np.full(len(tick_T), -1, np.int64), np.full(len(tick_T), self.arrived)
        kept_TF, told_TF = np.full(shape, np.nan), np.zeros(shape, np.uint8)
        kept = self.db.execute(
            "SELECT tick, sequence, arrived, cells, told FROM rows "
            "WHERE series = ? AND tick IN (SELECT value FROM json_each(?))",
            (series, json.dumps(tick_T.tolist())),
        )
        for tick, number, arrived, cells, told in kept:
            t = int(np.searchsorted(tick_T, tick))
            number_T[t], arrived_T[t] = number, arrived
            # A row from before a column came is shorter.
            kept_TF[t, : len(told)] = np.frombuffer(cells)
            told_TF[t, : len(told)] = np.frombuffer(told, np.uint8)
        return number_T, arrived_T, kept_TF, told_TF

    def _out_of_turn(self, series: int, begins: bool, new_T: NDArray) -> tuple[int, int]:
        """See ``out_of_turn``."""
        if len(new_T) <= FEW:
            near = {
                tick
                for new in new_T.tolist()
                for (tick,) in self.db.execute(NEIGHBOURS, 2 * (series, new))
                if tick is not None
            }
        else:
            between = (series, max(LEAST, int(new_T[0]) - self.far), min(MOST, int(new_T[-1]) + self.far))
            near = {tick for (tick,) in self.db.execute(BETWEEN, between)}
        return out_of_turn(new_T, np.array(sorted(near), np.int64), self.far, begins)
