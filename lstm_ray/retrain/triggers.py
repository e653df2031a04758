"""What asks for a challenger: alarms, new rows, time. Pure: it is told what a server says and how long it has been.

Time is a duration that its caller measures on a steady clock (``live.clock.Age``), never a difference of two wall clocks: one
that jumps neither asks again and again, nor silences alarms for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lstm_ray.sections.operate import RetrainConfig

DRIFT, PERFORMANCE = ("drift", "prediction", "joint", "change"), ("performance",)
"""Kinds of alarms that retrain.on_drift and retrain.on_performance hear."""


@dataclass(frozen=True)
class Seen:
    """What is known when it is asked."""

    alarms: Sequence[Mapping[str, Any]] = ()
    """Of the monitor's summary."""
    new_rows: int = 0
    """Rows that no challenger has seen."""
    rows: int = 0
    """Rows that the champion was not trained with."""
    since_seconds: float = 0.0
    """Since the last challenger was decided on, or where there was none, since somebody began to look."""
    had_one: bool = False
    """There was a challenger before."""


def reasons(config: RetrainConfig, seen: Seen) -> list[str]:
    """What asks for a challenger now, in words; nothing where none is to be trained."""
    if seen.rows < config.least_rows:
        return []
    found = []
    if not seen.had_one or seen.since_seconds >= config.cooldown_seconds:
        kinds = (*(DRIFT if config.on_drift else ()), *(PERFORMANCE if config.on_performance else ()))
        found += [f"alarm of {one['kind']}: {_words(one)}" for one in seen.alarms if one.get("kind") in kinds]
    if config.new_rows is not None and seen.new_rows >= config.new_rows:
        found.append(f"{seen.new_rows:,} new rows, {config.new_rows:,} ask for a challenger")
    if config.every_hours is not None and seen.since_seconds >= 3600 * config.every_hours:
        found.append(
            f"{seen.since_seconds / 3600:.1f} hours since the last challenger, {config.every_hours:g} asked for"
        )
    return found


def _words(alarm: Mapping[str, Any]) -> str:
    return str(alarm.get("text") or alarm.get("what") or alarm["kind"])
