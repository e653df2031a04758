"""What happens to a sensor: a known change of the data from a known step on. Knows values; knows no server and no policy.

Shapes: S series, T steps, F columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lstm_ray.operate.replay import Tape

HOUR_MICROSECONDS = 3_600_000_000
MAGNUS_F = 36.0
"""Degrees Fahrenheit by which the air must warm for its relative humidity to fall by a factor of e, about (Magnus formula)."""


@dataclass(frozen=True)
class Shift:
    """Warm exhaust blows over the thermometers at the same hours of every day, and so dries the air that they hang in."""

    first: int
    """Step from which on it blows."""
    warmer: float = 30.0
    """Degrees Fahrenheit."""
    hours: tuple[int, int] = (15, 22)
    """Of the day in UTC, the second not among them: from eleven to six in New York's summer."""
    target: str = "temp"
    humidity: str = "humid"

    @property
    def words(self) -> str:
        return (
            f"warm exhaust blows over the thermometers from {self.hours[0]} to {self.hours[1]} o'clock UTC: '{self.target}' "
            f"reads {self.warmer:g} °F more, '{self.humidity}' {1 - np.exp(-self.warmer / MAGNUS_F):.0%} less"
        )


def shifted(tape: Tape, shift: Shift) -> Tape:
    """The tape as the changed sensors tell it; steps before the shift are as they were."""
    hour_T = tape.tick_T // HOUR_MICROSECONDS % 24
    blows_T = (hour_T >= shift.hours[0]) & (hour_T < shift.hours[1]) & (np.arange(len(tape.tick_T)) >= shift.first)
    values_STF = tape.values_STF.copy()
    values_STF[:, blows_T, tape.columns.index(shift.target)] += shift.warmer
    values_STF[:, blows_T, tape.columns.index(shift.humidity)] *= np.exp(-shift.warmer / MAGNUS_F)
    return replace(tape, values_STF=values_STF)
