"""How long it is since a run's last attempt ended, whatever wall clocks say in between. Knows one small file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from lstm_ray.errors import InputError
from lstm_ray.live.clock import Age, since_boot
from lstm_ray.retrain import disk
from lstm_ray.retrain.state import CLOCK, Clock


class Since:
    """Seconds since the last attempt ended or, where there was none, since this was made."""

    def __init__(
        self,
        folder: Path,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = since_boot,
    ) -> None:
        self._file, self._clock, self._steady = folder / CLOCK, clock, steady
        self.read()

    def read(self) -> None:
        """As another process may have left it. A damaged file is none: at worst an attempt comes early, once."""
        kept: Clock | None = None
        if self._file.exists():
            try:
                kept = disk.read(self._file, Clock)
            except InputError:
                kept = None
        self._age = (
            Age(kept.age, kept.wall, self._clock, self._steady) if kept else Age(clock=self._clock, steady=self._steady)
        )
        self._ended = kept.ended if kept and kept.ended is not None else self._age.now()[0]

    def seconds(self) -> float:
        return self._age.now()[0] - self._ended

    def mark(self) -> None:
        """An attempt ended now. Raises OSError where that cannot be written."""
        age, wall = self._age.now()
        self._ended = age
        self._file.parent.mkdir(parents=True, exist_ok=True)
        disk.write(self._file, Clock(age=age, wall=wall, ended=age))
