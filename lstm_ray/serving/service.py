"""A policy that answers many requests at a time, and what is counted of them. Knows no HTTP and no Ray."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from lstm_ray.errors import InputError
from lstm_ray.model.policy import Classification, Forecast, Labelling, Policy, Prediction, SeriesInput
from lstm_ray.monitor import drift
from lstm_ray.monitor.live import Watched
from lstm_ray.monitor.traffic import Answer, Rows, Tally
from lstm_ray.serving.log import Passed

if TYPE_CHECKING:
    from lstm_ray.serving.streams.messages import StreamsPort


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


class MonitorLostError(RuntimeError):
    """The monitor cannot be reached. Predictions go on without it."""


class MonitorPort(Protocol):
    """Where replicas bring what they counted: a ``monitor.live.Monitor`` wherever it lives.

    Every call may raise MonitorLostError.
    """

    async def merge(self, tally: Tally) -> None: ...

    async def observe(self, rows: Rows) -> int: ...

    async def summary(self) -> dict[str, Any]: ...


@dataclass
class Service:
    """What HTTP routes need of whoever serves them."""

    policy: Policy
    versions: dict[str, str]
    """Of the packages the policy was saved with."""
    predict: Predict
    monitor: MonitorPort
    max_body_bytes: int
    plan: Plan | None = None
    """None: nobody plans here, or the policy carries no decision."""
    token_digest: bytes | None = None
    """SHA-256 of the bearer token; None where none is needed."""
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
    ready: bool = False
    tally: Tally = field(default_factory=Tally)

    async def flush(self) -> None:
        """Hand on what was counted since the last time."""
        if self.tally.requests or self.tally.num_series:
            tally, self.tally = self.tally, Tally()
            await self.monitor.merge(tally)


def watched(policy: Policy) -> Watched:
    """What a monitor must know of a policy."""
    schema, facts = policy.schema, policy.facts
    targets = [schema.label] if schema.label else schema.target
    return Watched(
        version=policy.version,
        task=policy.config.task,
        targets=targets,
        columns=[*targets, *schema.past, *schema.known],
        classes=schema.classes,
        step=schema.step,
        reference=facts.get("reference", {}),
        validation=facts.get("validation", {}),
    )


def answer_and_count(policy: Policy, batch: Sequence[Asked]) -> tuple[list[Any], Tally]:
    """Each request's predictions, or the InputError that it deserves, and what to count of them all."""
    found = answer(policy, batch)
    tally = Tally()
    answered = [
        pair
        for asked, predictions in zip(batch, found, strict=True)
        if asked.live and not isinstance(predictions, InputError)
        for pair in zip(asked.inputs, predictions, strict=True)
    ]
    _count(tally, policy, answered)
    return found, tally


def answer(policy: Policy, batch: Sequence[Asked]) -> list[Any]:
    """All requests in one pass; where one is wrong, each on its own, so that a wrong one spoils no other's answer.

    Raises FloatingPointError where the policy predicts values that are not finite: those never leave the server.
    """
    try:
        levels = sorted({level for asked in batch for level in asked.levels})
        found = policy.predict([item for asked in batch for item in asked.inputs], levels)
    except InputError as error:
        if len(batch) == 1:
            return [error]
        return [answer(policy, [asked])[0] for asked in batch]
    for prediction in found:
        if not np.isfinite(_values(prediction)).all():
            raise FloatingPointError(f"the prediction for series '{prediction.name}' is not finite")
    ends = np.cumsum([len(asked.inputs) for asked in batch])
    return [found[end - len(asked.inputs) : end] for end, asked in zip(ends, batch, strict=True)]


def _values(prediction: Prediction) -> NDArray:
    if isinstance(prediction, Forecast):
        return (
            prediction.values_HCQ
            if prediction.mean_HC is None
            else prediction.values_HCQ + prediction.mean_HC[..., None]
        )
    return prediction.probabilities if isinstance(prediction, Classification) else prediction.answer_LA


def median(forecast: Forecast, policy: Policy) -> NDArray:
    """[H, C]"""
    values: NDArray = forecast.values_HCQ[..., policy.quantiles.index(0.5)]
    return values


def _count(tally: Tally, policy: Policy, answered: Sequence[tuple[SeriesInput, Prediction]]) -> None:
    # Of a labelled series every step is told, not its newest history alone.
    newest = sys.maxsize if policy.config.task == "label" else policy.config.window.history
    reference = policy.facts.get("reference", {})
    tally.inputs = drift.count([item.columns for item, _ in answered], reference, newest)
    for item, prediction in answered:
        tally.num_series += 1
        tally.warned_series += bool(prediction.warnings)
        if item.name:
            tally.answers.append(_kept(policy, item.name, prediction))


def _kept(policy: Policy, name: str, prediction: Prediction) -> Answer:
    if isinstance(prediction, Classification):
        return Answer(name, 0, np.array([[float(prediction.probabilities.argmax())]]))
    if isinstance(prediction, Labelling):
        classes, answer_LA = policy.schema.classes, prediction.answer_LA
        told_L1 = answer_LA.argmax(axis=1)[:, None].astype(np.float64) if classes else answer_LA
        return Answer(name, int(policy.schema.ticks(prediction.times[:1])[0]), told_L1)
    return Answer(name, int(policy.schema.ticks(prediction.times[:1])[0]), median(prediction, policy))
