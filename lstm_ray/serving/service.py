"""A policy that answers many requests at a time, and what is counted of them. Knows no HTTP and no Ray."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from lstm_ray.errors import InputError
from lstm_ray.model.policy import Classification, Forecast, Labelling, Policy, Prediction, SeriesInput
from lstm_ray.monitor.drift import drift
from lstm_ray.monitor.traffic import Answer, Observed, Rows, Tally
from lstm_ray.monitor.watched import has_interval, watched
from lstm_ray.serving import fallback
from lstm_ray.serving.load import InFlight
from lstm_ray.serving.log import Passed
from lstm_ray.serving.seen import Seen

if TYPE_CHECKING:
    from lstm_ray.serving.streams.messages import StreamsPort

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """One request's series."""

    inputs: list[SeriesInput]
    live: bool = True
    """Whether they are what is really seen: hypothetical inputs are neither drift nor forecasts to be scored."""
    levels: tuple[float, ...] = ()
    """Of quantiles beside the policy's own."""


Predict = Callable[[Asked], Awaitable[Sequence[Prediction]]]
Plan = Callable[[list[SeriesInput]], Awaitable[Sequence[Any]]]
"""Plans of a request's series, of ``serving.planning``."""

Explain = Callable[[list[SeriesInput]], Awaitable[Sequence[Any]]]
"""Explanations of the answers to a request's series, of ``serving.explaining``."""


class MonitorLostError(RuntimeError):
    """The monitor cannot be reached. Predictions go on without it."""


class MonitorPort(Protocol):
    """Where replicas bring what they counted: a ``monitor.live.Monitor`` wherever it lives.

    Every call may raise MonitorLostError.
    """

    async def merge(self, tally: Tally) -> None: ...

    async def observe(self, rows: Sequence[Rows]) -> Observed: ...

    async def summary(self) -> dict[str, Any]: ...


async def _no_flags() -> list[str]:
    return []


@dataclass
class Service:
    """What HTTP routes need of whoever serves them."""

    policy: Policy
    versions: dict[str, str]
    """Of the packages the policy was saved with."""
    predict: Predict
    monitor: MonitorPort
    max_body_bytes: int
    explain: Explain | None = None
    """None: nobody explains here."""
    plan: Plan | None = None
    """None: nobody plans here, or the policy carries no decision."""
    tokens: Mapping[str, bytes] = field(default_factory=dict)
    """SHA-256 of the bearer tokens by their names; empty where none is needed."""
    name_key: str = ""
    """By which the log hashes names of series; empty: it tells none."""
    predict_seconds: float = 30.0
    """A prediction that takes longer is given up."""
    body_seconds: float = 10.0
    """A body that takes longer to arrive is given up."""
    request_log: Literal["none", "errors", "all"] = "none"
    """Requests of which a line is written."""
    echoes_id: bool = True
    """False where the server beneath tells each request's id in its answer."""
    streams: StreamsPort | None = None
    """Where LSTM states are kept between requests; None: nowhere."""
    card: str = ""
    """The model card, as Markdown."""
    record: Callable[[Passed], None] = lambda passed: None
    """Counts and logs an answer; the application sets it."""
    in_flight: InFlight = field(default_factory=InFlight)
    """Requests under way, and how many there may be."""
    ready: bool = False
    monitor_lost: bool = False
    """Whether the monitor did not answer when it was last told something."""
    tally: Tally = field(default_factory=Tally)
    flags: Callable[[], Awaitable[list[str]]] = _no_flags
    """What must be known of the policy, and came up since it was bundled."""
    seen: Seen = field(init=False)
    """Steps of named series that were handed on."""

    def __post_init__(self) -> None:
        self.seen = Seen(watched(self.policy).columns, self.policy.schema.step)

    async def flush(self) -> None:
        """Hand on what was counted since the last time."""
        if self.tally.requests or self.tally.num_series or self.tally.fallbacks or self.in_flight.due:
            tally, self.tally = self.tally, Tally()
            tally.loads = self.in_flight.told()
            try:
                await self.monitor.merge(tally)
                self.monitor_lost = False
            except MonitorLostError:
                self.monitor_lost = True
                self.seen.forget_all()
                raise


def answer_and_count(policy: Policy, batch: Sequence[Asked], seen: Seen | None = None) -> tuple[list[Any], Tally]:
    """Each request's predictions, or the InputError that it deserves, and what to count of them all.

    Args:
        seen: of whoever answers; None: rows are not handed on.
    """
    found = answer(policy, batch)
    tally = Tally()
    tally.fallbacks = sum(
        one.fallback is not None for each in found if not isinstance(each, InputError) for one in each
    )
    if tally.fallbacks:
        _log.error(
            "policy %s: %d of %d answers were not finite and were told by a fallback",
            policy.version[:12],
            tally.fallbacks,
            sum(len(asked.inputs) for asked in batch),
        )
    answered = [
        pair
        for asked, predictions in zip(batch, found, strict=True)
        if asked.live and not isinstance(predictions, InputError)
        for pair in zip(asked.inputs, predictions, strict=True)
    ]
    _count(tally, policy, answered, seen)
    return found, tally


def answer(policy: Policy, batch: Sequence[Asked]) -> list[Any]:
    """All requests in one pass; where one is wrong, each on its own, so that a wrong one spoils no other's answer.

    Values that are not finite never leave the server: a series that the policy answers so gets ``fallback``'s answer.
    """
    items = [item for asked in batch for item in asked.inputs]
    try:
        levels = sorted({level for asked in batch for level in asked.levels})
        with np.errstate(over="ignore", invalid="ignore"):
            predictions: Sequence[Prediction] = policy.predict(items, levels)
    except InputError as error:
        if len(batch) == 1:
            return [error]
        return [answer(policy, [asked])[0] for asked in batch]
    found = [
        one if fallback.is_finite(one) else fallback.instead(policy, item, one)
        for item, one in zip(items, predictions, strict=True)
    ]
    ends = np.cumsum([len(asked.inputs) for asked in batch])
    return [found[end - len(asked.inputs) : end] for end, asked in zip(ends, batch, strict=True)]


def median(forecast: Forecast, policy: Policy) -> NDArray:
    """[H, C]"""
    values: NDArray = forecast.values_HCQ[..., policy.quantiles.index(0.5)]
    return values


def _count(tally: Tally, policy: Policy, answered: Sequence[tuple[SeriesInput, Prediction]], seen: Seen | None) -> None:
    # Of a labelled series every step is told, not its newest history alone.
    newest = sys.maxsize if policy.config.task == "label" else policy.config.window.history
    reference = policy.facts.get("reference", {})
    tally.inputs = drift.count([item.columns for item, _ in answered], reference, newest)
    for item, prediction in answered:
        tally.num_series += 1
        tally.warned_series += bool(prediction.warnings)
        if item.name:
            tally.answers.append(kept := _kept(policy, item.name, prediction))
            if seen is not None and not isinstance(prediction, Classification):
                steps = len(item.times)
                # A forecast begins after the history, a labelling with it.
                ahead = steps if isinstance(prediction, Labelling) else 0
                newest = kept.first_tick + (ahead - 1) * policy.schema.step
                tally.rows += seen.new(item.name, newest, item.columns, steps)
    tally.num_steps = sum(len(rows.tick_T) for rows in tally.rows)


def _kept(policy: Policy, name: str, prediction: Prediction) -> Answer:
    if isinstance(prediction, Classification):
        return Answer(name, 0, np.array([[float(prediction.probabilities.argmax())]]))
    if isinstance(prediction, Labelling):
        classes, answer_LA = policy.schema.classes, prediction.answer_LA
        told_L1 = answer_LA.argmax(axis=1)[:, None].astype(np.float64) if classes else answer_LA
        return Answer(name, int(policy.schema.ticks(prediction.times[:1])[0]), told_L1)
    first, told = int(policy.schema.ticks(prediction.times[:1])[0]), median(prediction, policy)
    if not has_interval(policy):
        return Answer(name, first, told)
    ends_HC2 = prediction.values_HCQ[..., [0, -1]].astype(np.float32)
    return Answer(name, first, told, ends_HC2[..., 0], ends_HC2[..., 1])
