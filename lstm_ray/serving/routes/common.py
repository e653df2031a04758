"""What the routes of all tasks share: how a prediction is asked for, and how a route is documented. Knows FastAPI."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import Response
from pydantic import BaseModel

from lstm_ray.errors import InputError
from lstm_ray.model.request import SeriesInput
from lstm_ray.monitor.traffic import Rows
from lstm_ray.serving import bodies, explaining
from lstm_ray.serving.observed import ObservationsAnswer
from lstm_ray.serving.scenarios import Scenario
from lstm_ray.serving.service import Asked, Service
from lstm_ray.serving.what_if import under

GET_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": bodies.Refused, "description": "missing or wrong bearer token"},
    500: {
        "model": bodies.Refused,
        "description": "the server failed; its log tells why under the answer's X-Request-ID",
    },
    503: {
        "model": bodies.Refused,
        "description": "what answers this is not there at the moment; try again later",
    },
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    **GET_REFUSALS,
    408: {"model": bodies.Refused, "description": "the body did not arrive in time"},
    413: {"model": bodies.Refused, "description": "the body is too large"},
    415: {"model": bodies.Refused, "description": "the body is not JSON by its Content-Type, or is compressed"},
    422: {"model": bodies.Refused, "description": "the request is wrong: each item names the field and the fix"},
    503: {
        # From the server beneath, which says it in plain text.
        "description": "all places are taken: try again after the seconds of the header Retry-After",
        "headers": {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}},
    },
    504: {"model": bodies.Refused, "description": "the prediction took too long; send fewer series or steps"},
}


def documented(summary: str, description: str, example: dict[str, Any]) -> dict[str, Any]:
    """What FastAPI is told of a route that takes a body."""
    content = {"application/json": {"example": example}}
    return {
        "tags": ["predict"],
        "summary": summary,
        "description": description,
        "responses": REFUSALS,
        "openapi_extra": {"requestBody": {"content": content}},
    }


def as_json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


async def predict(service: Service, asked: Asked) -> Sequence[Any]:
    """Raises TimeoutError where it takes too long."""
    async with asyncio.timeout(service.predict_seconds):
        return await service.predict(asked)


async def explanations(service: Service, inputs: list[SeriesInput], wanted: bool) -> Sequence[Any] | None:
    """Of the answers to a request's series; None where none are wanted.

    Raises InputError for more than are explained, TimeoutError where they take too long.
    """
    if not wanted:
        return None
    if service.explain is None:
        raise InputError("this server explains no answers; leave out explain")
    explaining.require_few(service.policy, inputs)
    async with asyncio.timeout(service.predict_seconds):
        return await service.explain(inputs)


async def predict_scenarios(
    service: Service, series: Sequence[bodies.Series], scenarios: Sequence[Scenario], levels: Sequence[float] = ()
) -> list[list[tuple[str, Any]]]:
    """Names and predictions of the unchanged series, then of each scenario's."""
    policy = service.policy
    inputs = bodies.to_inputs(series, policy.schema)
    groups = [inputs, *(under(scenario, inputs, policy.config, policy.schema) for scenario in scenarios)]
    asked = Asked([item for group in groups for item in group], live=False, levels=tuple(levels))
    found = await predict(service, asked)
    names = bodies.names(series)
    return [list(zip(names, found[i : i + len(names)], strict=True)) for i in range(0, len(found), len(names))]


TRUTH = (
    "What was measured since, to be held against the predictions that were answered for series of the same name, and kept for "
    "retraining. What is sent again changes nothing; of two values for one step the one measured last is kept."
)


async def held_against(service: Service, told: Sequence[Rows]) -> Response:
    """Bring what was observed of series to the monitor; the answer of POST /v1/observations."""
    await service.flush()
    found = await service.monitor.observe(told)
    answer = ObservationsAnswer(**vars(found))
    # What is not kept is not counted.
    return Response(answer.model_dump_json(exclude_none=True), media_type="application/json")
