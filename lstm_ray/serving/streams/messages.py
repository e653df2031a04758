"""What is asked of streams, and answered. Knows no server."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, Field, StringConstraints

from lstm_ray.data.schema import Schema
from lstm_ray.errors import InputError
from lstm_ray.sections.base import Fraction
from lstm_ray.serving import bodies

MAX_STEPS = 256
"""Observed at a time; a longer stretch is a history."""
SANE_ID = r"^[A-Za-z0-9][A-Za-z0-9._:@~-]{0,199}$"
StreamId = Annotated[str, StringConstraints(pattern=SANE_ID)]


def sane(stream: str) -> str:
    """The id itself. Raises InputError for one that is none."""
    if re.fullmatch(SANE_ID, stream) is None:
        raise InputError(
            f"{stream[:50]!r} is no id of a stream; name it by up to 200 letters, digits and . _ : @ ~ -, not . first"
        )
    return stream


class UnknownStreamError(InputError):
    """A stream that is not kept, or no longer."""


class StreamsLostError(RuntimeError):
    """Whoever keeps the stream cannot be reached at the moment."""


class Steps(bodies.Body):
    """One step of a series or a few, oldest first: times and columns, or the same as records."""

    times: list[bodies.Time] | list[bodies.Tick] | None = Field(default=None, description=bodies.TIMES_WORDS)
    columns: dict[bodies.Name, bodies.Values] | None = Field(
        default=None, description="every input of the policy at each of the times; null where missing"
    )
    records: list[bodies.Record] | None = Field(default=None, description="instead of times and columns")

    def told(self) -> tuple[Sequence[Any], Mapping[str, ArrayLike]]:
        """Raises InputError for too many, pydantic's ValidationError where both or neither form was sent."""
        if len(self.times or self.records or ()) > MAX_STEPS:
            raise InputError(
                f"more than {MAX_STEPS} steps at once; send fewer, or begin the stream again with them (PUT)"
            )
        series = bodies.Series(times=self.times, columns=self.columns, records=self.records)
        [item] = bodies.to_inputs([series])
        return item.times, item.columns


class Ahead(bodies.Body):
    """What is known of the horizon, and what to answer."""

    future: dict[bodies.Name, bodies.Values] = Field(
        default_factory=dict, description="known inputs over the horizon, where there are any"
    )
    future_records: list[bodies.FutureRecord] | None = Field(default=None, description="instead of future")
    quantiles: Annotated[list[Annotated[Fraction, Field(strict=True)]], Field(max_length=bodies.MAX_LEVELS)] | None = (
        Field(default=None, description="levels to return, as of POST /v1/forecast")
    )

    def told(self, schema: Schema, tick: int, where: str) -> Mapping[str, ArrayLike]:
        """The known inputs ahead of the step at ``tick``."""
        newest = bodies.time_words(schema.of_ticks(np.array([tick])), schema)
        series = bodies.Series(times=newest, columns={}, future=self.future, future_records=self.future_records)
        return bodies.to_inputs([series.model_copy(update={"name": where})], schema)[0].future


class StreamAnswer(BaseModel):
    id: str
    name: str = Field(description="of the series, where it has one; else the id")
    policy: str = Field(description="version of the policy that reads it")
    steps: int = Field(description="read since it began, skipped ones too")
    time: str | int = Field(description="of the newest step")
    num_bytes: int = Field(description="kept in memory for it")


class StreamsPort(Protocol):
    """Where streams live, as routes call it: a ``Keeper``, wherever that is.

    Every call may raise InputError, UnknownStreamError, OutOfStepError and StreamsLostError.
    """

    async def put(self, stream: str, series: bodies.Series) -> StreamAnswer: ...

    async def observe(self, stream: str, steps: Steps) -> StreamAnswer: ...

    async def forecast(self, stream: str, ahead: Ahead) -> bodies.ForecastAnswer: ...

    async def facts(self, stream: str) -> StreamAnswer: ...

    async def forget(self, stream: str) -> None: ...
