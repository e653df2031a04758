"""The common time axis: which step a date is. Knows nothing of parts, and opens no data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from lstm_ray.data.schema import Schema
from lstm_ray.errors import InputError


@dataclass(frozen=True)
class Axis:
    """The common time axis, on which a date is a step."""

    start: int
    """Time of step 0: microseconds or months since 1970 (UTC), or the smallest integer."""
    step: int
    """Length of one step: microseconds, months, or units of the integer."""
    is_time: bool
    zone: str | None = None
    """Of dates that name none; none: UTC."""
    in_months: bool = False
    """Ticks are months, not the microseconds that ``is_time`` says they are, nor integers."""
    as_written: bool = False
    """The axis is that of a clock of its own (``Schema.on_own_clock``): a date is read as written, whatever offset it names."""

    @classmethod
    def of(cls, schema: Schema, zone: str | None) -> Axis:
        """The axis of a schema, with the zone of dates that name none."""
        zone = None if schema.on_own_clock else zone
        return cls(schema.axis_start, schema.step, schema.is_time, zone, schema.in_months, schema.on_own_clock)

    def tick(self, date: str, where: str) -> int:
        """A date or whole number as the axis counts. Raises InputError where it is of the other kind."""
        found = _date_or_number(date)
        dates = self.is_time or self.in_months
        if isinstance(found, int) == dates or found is None:
            wanted = "an ISO date such as 2024-07-01" if dates else "a whole number, as the data's time is"
            raise InputError(f"{where} is '{date}'; write {wanted}")
        if isinstance(found, int):
            return found
        if self.in_months:
            return (found.year - 1970) * 12 + found.month - 1
        named = found.tzinfo is not None and not self.as_written
        aware = found if named else found.replace(tzinfo=ZoneInfo(self.zone or "UTC"))
        return round(aware.timestamp() * 1e6)

    def time(self, step: int) -> str:
        """A step's time in words, on the clock of dates without a zone."""
        tick = self.start + step * self.step
        if self.in_months:
            return f"{1970 + tick // 12}-{tick % 12 + 1:02d}"
        if not self.is_time:
            return str(tick)
        return datetime.fromtimestamp(tick / 1e6, ZoneInfo(self.zone or "UTC")).replace(tzinfo=None).isoformat(" ")

    def steps_before(self, date: str, name: str, num_steps: int) -> int:
        """How many steps lie before a date. Raises InputError where it lies outside the data, of so many steps."""
        steps = -((self.start - self.tick(date, f"split.{name}")) // self.step)
        last = num_steps if name == "until" else num_steps - 1
        if not 0 < steps <= last:
            raise InputError(
                f"split.{name} is {date}, but the data spans {self.time(0)} to {self.time(num_steps - 1)}; name a time "
                "after its first and up to its last"
            )
        return steps


def _date_or_number(text: str) -> datetime | int | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
