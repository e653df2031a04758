"""How old what is kept is, whatever the wall clock says. Knows no store."""

from __future__ import annotations

import time
from collections.abc import Callable


def since_boot() -> float:
    """Seconds that go on while the machine sleeps, and that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Age:
    """Seconds that a store has lived: they never go back and never leap while a process runs.

    Between two processes only the wall clock knows how long it was. Where it stands before the time at which the last one
    stopped, it was set back, now or then: no time is taken to have passed.

    Args:
        seconds, wall: as the last process left them; a wall of None: it is the first.
        steady: seconds of any origin that grow evenly.
    """

    def __init__(
        self,
        seconds: float = 0.0,
        wall: float | None = None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = since_boot,
    ) -> None:
        self._clock, self._steady = clock, steady
        self._begin = seconds + (max(0.0, clock() - wall) if wall is not None else 0.0)
        self._began = steady()

    def now(self) -> tuple[float, float]:
        """The age, and the wall clock that a later process goes on from."""
        return self._begin + max(0.0, self._steady() - self._began), self._clock()
