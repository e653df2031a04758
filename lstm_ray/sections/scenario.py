"""The sections of what-ifs: changes to input columns, made alone or together, and the levels whose crossing is counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema, model_validator

from lstm_ray.errors import nearest
from lstm_ray.sections.base import Section
from lstm_ray.sections.data import DataConfig
from lstm_ray.sections.prepare import Date

Time = Annotated[Date, WithJsonSchema({"type": ["string", "integer"]})]
Operation = Literal["shift", "scale", "set", "ramp", "shock", "replay", "missing", "noise"]
VALUES: dict[str, str] = {
    "shift": "what is added",
    "scale": "the factor",
    "set": "what stands there instead",
    "ramp": "what is added at its last step",
    "shock": "what is added at its first step",
    "noise": "the deviation of what is added",
}
"""What the value is, of operations that take one."""
CONSTANT: tuple[Operation, ...] = ("shift", "scale", "set")
"""What may be done to a column that is constant in each series."""


class ChangeConfig(Section):
    """A change to one input column over a stretch of time."""

    column: str = Field(description="target, past, known or static column that is changed")
    operation: Operation = Field(
        description="shift, scale, set: add to, multiply or replace the values; ramp: add a line that grows to the value at "
        "the last step; shock: add the value at the first step, fading by half_life; replay: copy an earlier stretch; "
        "missing: nothing was measured, filled as preprocess fills; noise: add normal random values"
    )
    value: float | None = Field(
        default=None,
        description="amount in the column's units (scale: a factor; noise: a deviation); not for replay and missing",
    )
    steps: int | None = Field(
        default=None,
        gt=0,
        description="length of the stretch; none: up to the origin, or to the end of the future where it begins after it "
        "or the column is known ahead (shock without half_life: 1)",
    )
    first: int | None = Field(
        default=None,
        description="first step of the stretch, counted from the origin (0: the origin, 1: the first step ahead, -23: a day of "
        "hours ends at the origin); none: it ends at the origin (target, past) or begins at 1 (known). Of whole sequences "
        "the last step is the origin",
    )
    between: tuple[Time, Time] | None = Field(
        default=None,
        strict=False,
        description="two times of the data, both included, instead of first and steps: only what lies there changes, whatever "
        "the origin; a date without a clock time at the end is the whole day",
    )
    half_life: float | None = Field(
        default=None, gt=0, description="shock: steps after which half of it is left; none: it lasts one step"
    )
    source: Time | None = Field(
        default=None,
        description="replay: time of the first step that is copied, of the same series; a whole number where times are stamps: "
        "that many steps before the stretch; none: a season before",
    )
    series: list[str] = Field(default=[], description="series that change; none: all")

    @model_validator(mode="after")
    def _has_what_its_operation_reads(self) -> ChangeConfig:
        operation, value = self.operation, self.value
        if operation in VALUES and value is None:
            raise ValueError(f"operation '{operation}' needs a value: {VALUES[operation]}; add it")
        if operation not in VALUES and value is not None:
            raise ValueError(f"value is {value:g}, but operation '{operation}' has no use for one; remove it")
        if operation == "noise" and value is not None and value <= 0:
            raise ValueError(f"value is {value:g}, but it is the deviation of noise; set it above 0")
        for field, owner in (("half_life", "shock"), ("source", "replay")):
            if getattr(self, field) is not None and operation != owner:
                raise ValueError(
                    f"{field} is {getattr(self, field)}, but it is of operation '{owner}', and this is '{operation}'; remove it"
                )
        return self

    @model_validator(mode="after")
    def _copies_from_a_time(self) -> ChangeConfig:
        if self.source is not None and _moment(self.source) is None:
            raise ValueError(
                f"source is '{self.source}', which is no time; write an ISO date such as 2024-07-01, or how many steps before "
                "the stretch"
            )
        return self

    @model_validator(mode="after")
    def _lies_in_one_stretch(self) -> ChangeConfig:
        if self.between is None:
            return self
        for field in ("first", "steps"):
            if (found := getattr(self, field)) is not None:
                raise ValueError(f"between and {field} ({found}) both say where the stretch lies; keep one of them")
        first, last = (_moment(text) for text in self.between)
        if (first is None) or (last is None) or isinstance(first, int) != isinstance(last, int):
            raise ValueError(
                f"between is {list(self.between)}; write two ISO dates such as 2024-07-01, or two whole numbers where the "
                "data's time is one"
            )
        if last < first and self.between[1] != self.between[0][:10]:  # type: ignore[operator]
            raise ValueError(f"between ends at {self.between[1]}, before it begins at {self.between[0]}; swap them")
        return self

    def stretch(self, ahead: bool) -> tuple[int | None, int | None]:
        """First and last step, counted from the origin; None: as far as anything is known. Not for ``between``.

        Args:
            ahead: the column is known ahead.
        """
        steps = 1 if self.operation == "shock" and not self.half_life and self.steps is None else self.steps
        if self.first is not None:
            if steps is not None:
                return self.first, self.first + steps - 1
            return self.first, 0 if self.first <= 0 and not ahead else None
        if ahead:
            return 1, steps
        return None if steps is None else 1 - steps, 0


class ScenarioConfig(ChangeConfig):
    """One what-if: a change to an input column, and others with it."""

    name: str = Field(description="name in tables and figures")
    also: Sequence[ChangeConfig] = Field(default=[], description="changes made together with the first, after it")

    @property
    def changes(self) -> list[ChangeConfig]:
        """All of them, in the order in which they are made."""
        return [self, *self.also]


class ThresholdConfig(Section):
    """A level whose crossing is counted: exactly one of above and below."""

    target: str | None = Field(default=None, description="target column; none: the first")
    above: float | None = Field(default=None, description="crossed where any step of a path lies above")
    below: float | None = Field(default=None, description="crossed where any step of a path lies below")

    @model_validator(mode="after")
    def _is_crossed_from_one_side(self) -> ThresholdConfig:
        if (self.above is None) == (self.below is None):
            found = "neither" if self.above is None else f"above {self.above:g} and below {self.below:g}"
            raise ValueError(f"a threshold is crossed from one side, found {found}; give above or below")
        return self

    @property
    def words(self) -> str:
        """The threshold as it is written in the YAML."""
        return ", ".join(f"{field} {value}" for field, value in self.model_dump(exclude_none=True).items())


def require_agreement(
    scenarios: Sequence[ScenarioConfig],
    thresholds: Sequence[ThresholdConfig],
    task: str,
    data: DataConfig,
    steps: int,
) -> None:
    """Raises ValueError where scenarios or thresholds are not about the data, or change nothing that a rollout reads.

    Args:
        steps: length of a rollout.
    """
    names = [scenario.name for scenario in scenarios]
    if unnamed := [scenario for scenario in scenarios if not scenario.name.strip()]:
        raise ValueError(
            f"plan.scenarios: the one that changes column '{unnamed[0].column}' has an empty name; tables and figures need one"
        )
    if twice := {name for name in names if names.count(name) > 1 or name == "base"}:
        raise ValueError(f"plan.scenarios: name {sorted(twice)} is taken ('base' is the unchanged future); rename")
    changeable = [*data.target, *data.past, *data.known, *data.static]
    for scenario in scenarios:
        for change in scenario.changes if changeable or not data.awaits_roles else ():
            where = f"plan.scenarios '{scenario.name}'"
            if task != "forecast" and change.column not in data.past:
                raise ValueError(
                    f"{where}: column '{change.column}': plan.scenarios may change data.past columns alone in task '{task}'"
                    f"{nearest(change.column, data.past)}"
                )
            if change.column not in changeable:
                hint = nearest(change.column, changeable)
                raise ValueError(f"{where}: column '{change.column}' has no role here{hint}")
            if problem := misses(change, data.target, data.known, data.static, steps if task == "forecast" else None):
                raise ValueError(f"{where}: column '{change.column}' {problem}")
    for turn, threshold in enumerate(thresholds):
        if threshold in thresholds[:turn]:
            raise ValueError(f"plan.thresholds: {threshold.words} stands there twice; remove one")
        if task != "forecast":
            raise ValueError(f"plan.thresholds are of targets, but task '{task}' has none; remove them")
        if threshold.target is not None and threshold.target not in data.target and not data.awaits_roles:
            raise ValueError(
                f"plan.thresholds: '{threshold.target}' is no target{nearest(threshold.target, data.target)}"
            )


def misses(
    change: ChangeConfig, targets: Sequence[str], known: Sequence[str], static: Sequence[str], steps: int | None
) -> str:
    """Why a change would reach nothing that may change, in words that follow the column's name; empty where it does.

    Args:
        steps: how far what is read reaches beyond the origin; None: whole sequences, whose last step is the origin.
    """
    if change.column in static:
        if change.operation in CONSTANT and change.between is None and change.first is None and change.steps is None:
            return ""
        return f"is constant in each series and changes as a whole; use {', '.join(CONSTANT)}, without first, steps and between"
    if change.between is not None:
        return ""
    first, last = change.stretch(change.column in known)
    if steps is None:
        if (first is not None and first > 0) or last is None or last > 0:
            return f"cannot change after the last step of a sequence, which is step 0, found first {change.first}; lower it"
        return ""
    if change.column in targets and (last is None or last > 0):
        return (
            f"is a target, which is simulated from step 1 on and cannot be set there, found a stretch to "
            f"{'the end' if last is None else f'step {last}'}; let it end at step 0, the origin"
        )
    if first is not None and first > steps:
        return f"changes from step {first} on, but only {steps} steps ahead are simulated; lower first"
    return ""


def _moment(text: str) -> datetime | int | None:
    """A time as something that can be compared: without a zone it is taken for UTC."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
