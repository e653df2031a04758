"""Which stretch of time a challenger learns from, is chosen on and is judged on, and the fixed one that none ever learns from.

Knows ticks (times as the run's axis counts them), no rows.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.schema import Schema
from lstm_ray.data.timeline.axis import Axis
from lstm_ray.data.timeline.frequency import describe_step
from lstm_ray.errors import InputError
from lstm_ray.evaluate.skill import MIN_BLOCKS
from lstm_ray.retrain import disk

REFERENCE = "reference.json"


class Reference(BaseModel):
    """The slice that no challenger learns from: ticks from first to before end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: int
    end: int
    words: str


class Stretches(BaseModel):
    """Where the table of a challenger is cut: ticks of the first step of each stretch, and the one after the last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    old_end: int
    """What comes before was in the champion's table, or was late for it."""
    first: int
    """The first new step."""
    validation: int
    test: int
    """The held-out stretch, newest of all, that champion and challenger are judged on."""
    end: int


def reach_of(config: Config) -> int:
    """Steps that a stretch needs at least, to be told from luck."""
    return config.window.horizon if config.task == "forecast" else MIN_BLOCKS * config.window.history


def least_steps(config: Config) -> int:
    """New steps without which there is nothing to learn from and be judged on."""
    return 4 * reach_of(config)


def stretches(first: int, last: int, old_end: int, config: Config, step: int) -> Stretches:
    """The new steps cut in three: learned from, chosen on, judged on.

    Args:
        first, last: ticks of the first and the last new step.

    Raises InputError where they are too few.
    """
    num, reach = (last - first) // step + 1, reach_of(config)
    if num < least_steps(config):
        raise InputError(
            f"the new rows span {num} steps; a challenger needs {least_steps(config)} of them (four times "
            f"{'window.horizon' if config.task == 'forecast' else 'what labels of steps depend on'}, {reach}) to learn from "
            "and be judged on: bring more"
        )
    test = max(round(config.retrain.held_out * num), 2 * reach)
    validation = max(test // 2, reach)
    # Something new must be left to learn from.
    test = min(test, num - validation - reach)
    end = last + step
    return Stretches(
        old_end=old_end,
        first=first,
        validation=end - (test + validation) * step,
        test=end - test * step,
        end=end,
    )


def reference(folder: Path, config: Config, schema: Schema, parts: Boundaries) -> Reference:
    """The slice as it was fixed once; where it was not, the newest part of the first run's test part, from now on.

    Raises InputError where that holds no window.
    """
    file = folder / REFERENCE
    if file.exists():
        return disk.read(file, Reference)
    first, end = parts["test"]
    first = max(first, end - max(round(config.retrain.reference * (end - first)), config.window.horizon))
    if config.task == "forecast" and end - first < config.window.horizon:
        raise InputError(
            f"the first run's test part has {end - first} steps and window.horizon {config.window.horizon}: no window of it "
            "can be kept as the reference; run it with a longer test part"
        )
    start, step = schema.axis_start, schema.step
    axis = Axis.of(schema, config.data.time_zone)
    size = describe_step(step, schema.is_time, schema.in_months)
    words = f"{axis.time(first)} to {axis.time(end - 1)} ({end - first} steps of {size})"
    found = Reference(first=start + first * step, end=start + end * step, words=words)
    disk.write(file, found)
    return found


def dates(cut: Stretches, schema: Schema) -> dict[str, str]:
    """The fields of the section split that cut the joined table so."""
    axis = Axis.of(schema, None)
    zone = "+00:00" if schema.is_time and not schema.on_own_clock else ""

    def of(tick: int) -> str:
        time = axis.time((tick - schema.axis_start) // schema.step).replace(" ", "T") + zone
        # Any day stands for its month.
        return f"{time}-01" if schema.in_months else time

    return {"validation_from": of(cut.validation), "test_from": of(cut.test)}
