"""The rows that a server keeps, beside its policies. A thread of their own writes them: the register goes on meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from lstm_ray.errors import InputError
from lstm_ray.live.rows import FILE, HISTORY, MEASURED, Added, RowStore
from lstm_ray.monitor.traffic import Rows
from lstm_ray.monitor.watched import Watched

DAY_SECONDS = 86_400.0
FAR_STEPS = 1_000
"""Two rows of a series that lie further apart are told as a clock that jumped."""
NONE_KEPT = "none are kept: monitor.keep_days is 0"
NO_ROWS = "none are kept: whole sequences are classified, and their classes come without times"
T = TypeVar("T")


class Keeping:
    """What a register does with rows.

    Args:
        folder: of the registry.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._store: RowStore | None = None
        self._why = "no policy is watched yet"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rows")

    def watch(self, watched: Watched) -> None:
        """Keep rows as long and as many as this policy's settings say; the file is opened with the first rows."""
        settings = watched.settings
        if watched.task == "classify":
            self._why = NO_ROWS
        elif self._store is not None:
            self._store.keep(settings.keep_days * DAY_SECONDS, settings.max_rows)
        elif settings.keep_days or self._file.exists():
            self._store = RowStore(self._file, settings.keep_days * DAY_SECONDS, settings.max_rows)
        if not settings.keep_days:
            self._why = NONE_KEPT

    async def met(self, watched: Watched, rows: Sequence[Rows], lost: int = 0) -> None:
        """Rows of requests' histories; and how many a replica could not hand on."""
        await self._take(watched, rows, HISTORY, lost)

    async def measured(self, watched: Watched, rows: Sequence[Rows]) -> Added | None:
        """Rows that were observed, and what came of them; None where none are kept."""
        return await self._take(watched, rows, MEASURED)

    async def forget(self, series: str) -> int:
        """How many rows there were. Raises InputError where the disk fails."""
        store = self._store
        if store is None:
            return 0
        try:
            return await self._do(lambda: store.forget(series))
        except (sqlite3.Error, OSError) as error:
            raise InputError(f"rows in '{self._file}' could not be deleted: {error}; mend that and ask again") from None

    async def summary(self) -> dict[str, Any]:
        store = self._store
        if store is None or not store.keeps:
            return {"state": self._why, "kept": 0}
        return await self._do(store.summary)

    def sweep(self) -> None:
        """Let rows that are too old go, some time soon. Costs nothing where that was done a moment ago."""
        if self._store is not None:
            self._thread.submit(self._store.sweep)

    def close(self) -> None:
        if self._store is not None:
            self._thread.submit(self._store.close)
        self._thread.shutdown()

    async def _take(self, watched: Watched, rows: Sequence[Rows], source: int, lost: int = 0) -> Added | None:
        store = self._store
        if store is None or not store.keeps or watched.task == "classify" or not (rows or lost):
            return None
        return await self._do(lambda: store.add(rows, watched.columns, FAR_STEPS * watched.step, source, lost))

    async def _do(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act)
