"""A call over gRPC, answered by the service that answers HTTP. Knows messages and policies; knows no server.

Legend: H horizon, T steps.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np

from lstm_ray.errors import InputError
from lstm_ray.model.policy import SeriesInput
from lstm_ray.serving import bodies
from lstm_ray.serving.gate import request_id_of, whose
from lstm_ray.serving.grpc import messages
from lstm_ray.serving.log import Passed
from lstm_ray.serving.routes.reading import FEW
from lstm_ray.serving.service import Asked, Service

TASKS = {"Forecast": "forecast", "Classify": "classify", "Label": "label"}
STATUS = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.INVALID_ARGUMENT: 422,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.UNIMPLEMENTED: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 413,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.CANCELLED: 499,
}
"""What HTTP would have answered, for counts and logs."""


class CallError(Exception):
    """A call that is refused, with the status and the words that it gets."""

    def __init__(self, code: grpc.StatusCode, words: str) -> None:
        super().__init__(words)
        self.code, self.words = code, words


async def answered(service: Service, method: str, request: Any, metadata: Mapping[str, str]) -> Any:
    """The answer to a call; it is counted and logged as a request over HTTP is.

    Raises CallError where it is refused.
    """
    began, code, count = time.perf_counter(), grpc.StatusCode.CANCELLED, 0
    try:
        count = len(request.series) if method in TASKS else 0
        found = await _answer(service, method, request, metadata)
        code = grpc.StatusCode.OK
    except CallError as error:
        code = error.code
        raise
    finally:
        request_id = request_id_of(metadata.get("request_id", "").encode())
        seconds, size = time.perf_counter() - began, request.ByteSize()
        route = f"/{messages.SERVICE.full_name}/{method}"
        names = [one.name for one in request.series[:FEW]] if method in TASKS else []
        told = (request_id, "GRPC", route, STATUS[code], seconds, size, count)
        service.record(Passed(*told, _whose(service, metadata), names))
    return found


def _whose(service: Service, metadata: Mapping[str, str]) -> str | None:
    """The name of the token that a call shows."""
    return whose(metadata.get("authorization", "").encode(), service.tokens)


async def _answer(service: Service, method: str, request: Any, metadata: Mapping[str, str]) -> Any:
    if method == "Health":
        status = "ready" if service.ready else "not ready"
        return messages.HealthAnswer(status=status, policy=service.policy.version)
    if service.tokens and _whose(service, metadata) is None:
        words = "the bearer token is missing or wrong: send the metadata authorization with 'Bearer TOKEN'"
        raise CallError(grpc.StatusCode.UNAUTHENTICATED, words)
    if request.ByteSize() > service.max_body_bytes:
        words = f"the request exceeds {service.max_body_bytes} bytes; send fewer series or steps at a time"
        raise CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, words)
    policy = service.policy
    if policy.config.task != TASKS[method]:
        own = next(name for name, task in TASKS.items() if task == policy.config.task)
        raise CallError(grpc.StatusCode.UNIMPLEMENTED, f"this policy does not {TASKS[method]}; call {own}")
    try:
        inputs = _inputs(request)
        chosen = bodies.chosen_quantiles(list(request.quantiles) or None, policy) if method == "Forecast" else []
        async with asyncio.timeout(service.predict_seconds):
            found = await service.predict(Asked(inputs, levels=tuple(chosen)))
        return ANSWERS[method](service, [item.name or str(i) for i, item in enumerate(inputs)], found, chosen)
    except InputError as error:
        raise CallError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
    except TimeoutError:
        words = "the prediction took too long; send fewer series or try again later"
        raise CallError(grpc.StatusCode.DEADLINE_EXCEEDED, words) from None
    except FloatingPointError as error:
        words = f"{error}, so it is not answered; send less extreme values"
        raise CallError(grpc.StatusCode.INTERNAL, words) from None


def _inputs(request: Any) -> list[SeriesInput]:
    """A request's series as the policy takes them; NaN is a missing value in both."""
    if len(request.series) > bodies.MAX_SERIES:
        raise InputError(f"{len(request.series)} series were sent; send at most {bodies.MAX_SERIES}")
    found = []
    for index, one in enumerate(request.series):
        if one.times and one.steps:
            raise InputError(f"series '{one.name or index}' has both times and steps; send one of them")
        columns, future = (
            {name: np.array(of.values) for name, of in part.items()} for part in (one.columns, one.future)
        )
        found.append(SeriesInput(list(one.times) or list(one.steps), columns, future, one.name, dict(one.static)))
    return found


def _forecasts(service: Service, names: Sequence[str], found: Sequence[Any], chosen: Sequence[float]) -> Any:
    answer = messages.ForecastAnswer(policy=service.policy.version)
    for name, forecast in zip(names, found, strict=True):
        told = bodies.forecast_answer(name, forecast, service.policy, chosen)
        one = answer.forecasts.add(name=name, warnings=told.warnings, fallback=told.fallback, **_times(told.times))
        for target, values in told.targets.items():
            one.targets[target].mean.extend(values.mean)
            one.targets[target].median.extend(values.median)
            for level, quantile in values.quantiles.items():
                one.targets[target].quantiles[level].values.extend(quantile)
    return answer


def _classes(service: Service, names: Sequence[str], found: Sequence[Any], chosen: Sequence[float]) -> Any:
    answer = messages.ClassifyAnswer(policy=service.policy.version)
    for name, one in zip(names, found, strict=True):
        told = bodies.class_answer(name, one, service.policy)
        answer.classifications.add(**told.model_dump(exclude={"explanation"}))
    return answer


def _labels(service: Service, names: Sequence[str], found: Sequence[Any], chosen: Sequence[float]) -> Any:
    answer = messages.LabelAnswer(policy=service.policy.version)
    for name, one in zip(names, found, strict=True):
        told = bodies.steps_answer(name, one, service.policy)
        labels = {"labels": told.labels} if service.policy.schema.classes else {"values": told.labels}
        added = answer.labellings.add(
            name=name, warnings=told.warnings, fallback=told.fallback, **labels, **_times(told.times)
        )
        for label, values in told.probabilities.items():
            added.probabilities[label].values.extend(values)
    return answer


ANSWERS = {"Forecast": _forecasts, "Classify": _classes, "Label": _labels}


def _times(times: Sequence[Any]) -> dict[str, Any]:
    return {"times" if times and isinstance(times[0], str) else "steps": times}
