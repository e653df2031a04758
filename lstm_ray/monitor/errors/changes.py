"""When the errors of a policy changed, and by how much: river's ADWIN on each target's scored errors.

ADWIN (Bifet and Gavalda 2007, "Learning from time-changing data with adaptive windowing") keeps as long a window as holds one
mean; two parts of it that differ by more than chance are a change, which is dated where the means before and after differ most.
Its bound is for independent values, and errors of successive steps are not: so it is given means of blocks, each twice as long
as the errors' integrated autocorrelation time, which a warm-up of one window of them tells.

Chosen by measurement over river's Page-Hinkley on such blocks: of absolute AR(1) errors with coefficients 0, 0.8 and 0.95 ADWIN
called 0 of 240 windows of 500 changed at a rate of 1 %, Page-Hinkley, with the threshold that a Brownian path asks for, 1.7,
3.3 and 5 %; a doubled error took ADWIN 35, 162 and 643 values, Page-Hinkley 35, 98 and 276.

Knows errors; knows no forecasts. Where river is missing, ``words`` says so.
Shapes: N errors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_CORRELATION = 0.05
"""Autocorrelation below which it counts as none."""
BLOCK = 2.0
"""Autocorrelation times in a block."""
MOST_BLOCKS = 10
"""Blocks that a window of errors makes at the least, however slowly they vary."""
CLOCK, GRACE = 1, 5
"""ADWIN looks for a change at every block, from the fifth one on."""
MOST_MEANS = 2_000
"""Newest means of blocks that a change is dated in."""
GROWN = 1.1
"""Times the error before from which one that changed raises an alarm: a smaller growth, though sure, harms nobody."""
KEPT = 10
"""Newest changes that are remembered of a target."""
NOT_INSTALLED = "changes of the error are not looked for: river is not installed here; pip install 'lstm-ray[monitor]'"


class Changes:
    """Watches the errors of every target.

    Args:
        targets: their names.
        window: errors of the warm-up.
        false_alarms: share of windows of unchanged errors in which a change may be told, by all targets together.
    """

    def __init__(self, targets: Sequence[str], window: int = 500, false_alarms: float = 0.01) -> None:
        share = false_alarms / max(1, len(targets))
        self._river = _River()
        self._watched = [_Watched(name, window, share, self._river) for name in targets]

    def take(self, tick_N: NDArray, target_N: NDArray, error_N: NDArray) -> None:
        """Take in scored errors over those to expect. What one observed value was predicted as, in however many forecasts, is
        one error, the mean; they are taken in the order of time.

        Args:
            tick_N: time of each.
            target_N: index of its target.
        """
        self._river.load()
        for target in np.unique(target_N).tolist():
            own_N = (target_N == target) & np.isfinite(error_N)
            _, at_N, count = np.unique(tick_N[own_N], return_inverse=True, return_counts=True)
            for error in (np.bincount(at_N, error_N[own_N]) / count).tolist():
                self._watched[target].take(error)

    def rows(self) -> list[dict[str, Any]]:
        """Every target: ``column``, ``state``, ``values`` (errors taken in), ``block`` (errors in a mean) and ``changes``.

        Of these, the newest first: ``at`` (errors taken in before it), ``told`` (and before it was seen), ``ago`` (since it),
        ``before`` and ``after`` (mean errors over those to expect).
        """
        return [watched.row() for watched in self._watched]

    def alarms(self) -> list[dict[str, Any]]:
        """Of targets whose error has grown and stayed so."""
        return [told for watched in self._watched if (told := watched.told()) is not None]

    def words(self) -> str:
        """What cannot be told; empty where all can."""
        return NOT_INSTALLED if self._river.is_missing else ""


class _River:
    """river, imported in the background: with scikit-learn and pandas, which it brings, that takes seconds, and whoever counts
    requests must not stand still so long. The warm-up of errors lasts longer."""

    def __init__(self) -> None:
        self._thread: Thread | None = None
        self._detector: Any = None
        self.is_missing = False

    def load(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._import, daemon=True)
            self._thread.start()

    def detector(self, delta: float) -> Any:
        """An ADWIN; None where river is not installed."""
        assert self._thread is not None, "asked for after the warm-up"
        self._thread.join()
        if self.is_missing:
            return None
        return self._detector(delta=delta, clock=CLOCK, grace_period=GRACE, min_window_length=GRACE)

    def _import(self) -> None:
        try:
            from river.drift import ADWIN
        except ModuleNotFoundError:
            self.is_missing = True
        else:
            self._detector = ADWIN


class _Watched:
    """Errors of one target."""

    def __init__(self, name: str, window: int, delta: float, river: _River) -> None:
        self.name, self._river = name, river
        self._window, self._delta = window, delta
        self._warm: list[float] = []
        self._block: list[float] = []
        # Errors in a block, and their mean in the warm-up: ADWIN's bound is for values about one.
        self._size, self._unit = 0, 1.0
        self._means: deque[float] = deque(maxlen=MOST_MEANS)
        self._detector: Any = None
        self._taken = 0
        self._changes: list[dict[str, Any]] = []
        # The mean before the last change that made it worse; None while nothing has.
        self._usual: float | None = None

    def take(self, error: float) -> None:
        self._taken += 1
        if self._size:
            self._enter(error)
            return
        self._warm.append(error)
        if len(self._warm) == self._window:
            warm, self._warm = self._warm, []
            self._size, self._unit = block_of(np.array(warm)), float(np.mean(warm)) or 1.0
            self._start()
            for at, value in enumerate(warm, self._taken - len(warm) + 1):
                self._enter(value, at)

    def _start(self) -> None:
        """Anew, from the blocks that are held."""
        self._detector = self._river.detector(self._delta)
        for mean in self._means if self._detector is not None else ():
            self._detector.update(mean / self._unit)

    def _enter(self, error: float, at: int | None = None) -> None:
        if self._detector is None:
            return
        self._block.append(error)
        if len(self._block) < self._size:
            return
        mean, self._block = float(np.mean(self._block)), []
        self._means.append(mean)
        self._detector.update(mean / self._unit)
        if self._detector.drift_detected and len(self._means) > 1:
            self._changed(at or self._taken)

    def _changed(self, now: int) -> None:
        mean_N = np.array(self._means)
        split = split_of(mean_N)
        before, after = float(mean_N[:split].mean()), float(mean_N[split:].mean())
        usual = before if self._usual is None else self._usual
        self._usual = usual if after > GROWN * usual else None
        at = now - (len(mean_N) - split) * self._size
        self._changes = [*self._changes, {"at": at, "told": now, "before": before, "after": after}][-KEPT:]
        # What lies before the change is of another kind, and would be found to differ again and again.
        self._means = deque(mean_N[split:].tolist(), MOST_MEANS)
        self._start()

    def row(self) -> dict[str, Any]:
        if self._river.is_missing:
            state = "not looked for"
        elif not self._size:
            state = "too little data"
        else:
            state = "changed: larger" if self._usual is not None else "as before"
        changes = [{**change, "ago": self._taken - change["at"]} for change in reversed(self._changes)]
        return {"column": self.name, "state": state, "values": self._taken, "block": self._size, "changes": changes}

    def told(self) -> dict[str, Any] | None:
        if self._usual is None or not self._changes:
            return None
        last, value = self._changes[-1], float(np.mean(self._means))
        ago = self._taken - last["at"]
        text = (
            f"the error of {self.name} changed {ago} scored values ago, from {self._usual:.3g} to {value:.3g} times that of "
            "the validation part (ADWIN)"
        )
        return {"kind": "change", "what": self.name, "value": value, "limit": GROWN * self._usual, "text": text}


def split_of(mean_N: NDArray) -> int:
    """Where the means before and after differ most for how many they are of (the likeliest change of a mean)."""
    number = len(mean_N)
    before = np.arange(1, number)
    total = np.cumsum(mean_N)
    apart = total[:-1] / before - (total[-1] - total[:-1]) / (number - before)
    return int(np.argmax(np.abs(apart) * np.sqrt(before * (number - before)))) + 1


def block_of(error_N: NDArray) -> int:
    """Errors in a block whose means are all but independent."""
    centred = error_N - error_N.mean()
    if not centred.any():
        return 1
    spectrum = np.abs(np.fft.rfft(centred, 2 * len(centred))) ** 2
    correlation = np.fft.irfft(spectrum)[: len(centred)]
    correlation = correlation / correlation[0]
    end = int(np.argmax(correlation < LEAST_CORRELATION)) or len(correlation)
    time = 1 + 2 * float(correlation[1:end].sum())
    return int(np.clip(np.ceil(BLOCK * time), 1, max(1, len(error_N) // MOST_BLOCKS)))
