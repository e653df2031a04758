"""The HTTP routes of streams. Knows FastAPI; where streams live is passed in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request, Response

from lstm_ray.model.policy import Policy
from lstm_ray.model.streaming import OutOfStepError
from lstm_ray.serving import bodies
from lstm_ray.serving.refusals import detail
from lstm_ray.serving.routes.common import GET_REFUSALS, REFUSALS, documented
from lstm_ray.serving.streams.messages import (
    Ahead,
    Steps,
    StreamAnswer,
    StreamId,
    StreamsLostError,
    StreamsPort,
    UnknownStreamError,
    sane,
)

Id = Annotated[StreamId, Path(description="letters, digits and . _ : @ ~ -; yours to choose")]
UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": bodies.Refused, "description": "no such stream; the message says how to begin it"}
}
READ_REFUSALS: dict[int | str, dict[str, Any]] = {**GET_REFUSALS, 422: REFUSALS[422], 504: REFUSALS[504], **UNKNOWN}
CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": bodies.Refused, "description": "the step does not follow on what was read, or contradicts it"}
}


def add(app: FastAPI, policy: Policy, streams: StreamsPort, tell: Callable[[int], None] = lambda number: None) -> None:
    """PUT, observe, forecast, GET and DELETE.

    Args:
        tell: of forecasts that were told by a fallback, how many.
    """
    app.add_exception_handler(UnknownStreamError, _explain_unknown)
    app.add_exception_handler(OutOfStepError, _explain_order)
    app.add_exception_handler(StreamsLostError, _explain_lost)

    def _counted(answer: bodies.ForecastAnswer) -> Response:
        tell(sum(one.fallback is not None for one in answer.forecasts))
        return _answered(answer)

    series = bodies.example_request(policy)["series"][0]
    ahead = {"future": series["future"]} if "future" in series else {}
    history = {name: value for name, value in series.items() if name != "future"}
    newest = {"times": series["times"][-1:], "columns": {name: v[-1:] for name, v in series["columns"].items()}}

    @app.put(
        "/v1/streams/{id}",
        response_model=StreamAnswer,
        **_stream(
            "Begin a stream",
            "Read a history once and keep the state that it leaves, in place of any stream with this id. 'name' is the "
            "series' own, where the policy knows it by one.",
            history,
        ),
    )
    async def put(id: Id, body: bodies.Series) -> Response:
        return _answered(await streams.put(sane(id), body))

    @app.post(
        "/v1/streams/{id}/observe",
        response_model=StreamAnswer,
        **_stream(
            "Advance a stream",
            "One step or a few, oldest first, each at the cost of one LSTM step however long the history. Skipped steps count "
            "as missing; a step that was read already and says the same changes nothing.",
            newest,
            {**UNKNOWN, **CONFLICT},
        ),
    )
    async def observe(id: Id, body: Steps) -> Response:
        return _answered(await streams.observe(sane(id), body))

    @app.post(
        "/v1/streams/{id}/forecast",
        response_model=bodies.ForecastAnswer,
        **_stream(
            "Forecast a stream",
            "The steps after the newest one, from the state: no history is sent. The state has read every step since the "
            f"stream began; POST /v1/forecast reads the newest {policy.config.window.history} of a history, so their answers "
            "may part once a stream is longer.",
            ahead,
            UNKNOWN,
        ),
    )
    async def forecast(id: Id, body: Ahead) -> Response:
        return _counted(await streams.forecast(sane(id), body))

    if not policy.schema.known:

        @app.get(
            "/v1/streams/{id}/forecast",
            response_model=bodies.ForecastAnswer,
            tags=["streams"],
            summary="Forecast a stream",
            responses=READ_REFUSALS,
        )
        async def plain_forecast(id: Id) -> Response:
            return _counted(await streams.forecast(id, Ahead()))

    @app.get(
        "/v1/streams/{id}",
        response_model=StreamAnswer,
        tags=["streams"],
        summary="What is kept of a stream",
        responses=READ_REFUSALS,
    )
    async def facts(id: Id) -> Response:
        return _answered(await streams.facts(id))

    @app.delete(
        "/v1/streams/{id}",
        status_code=204,
        tags=["streams"],
        summary="Forget a stream",
        responses=READ_REFUSALS,
    )
    async def forget(id: Id) -> Response:
        await streams.forget(id)
        return Response(status_code=204)


def _answered(answer: StreamAnswer | bodies.ForecastAnswer) -> Response:
    """With the policy that reads the stream, which need not be that of the lane: a canary's is asked for the same streams."""
    return Response(answer.model_dump_json(), 200, {"x-policy-version": answer.policy}, "application/json")


def _stream(
    summary: str, description: str, example: dict[str, Any], more: dict[int | str, dict[str, Any]] | None = None
) -> dict[str, Any]:
    return {
        **documented(summary, description, example),
        "tags": ["streams"],
        "responses": {**REFUSALS, **(more or {})},
    }


async def _explain_unknown(request: Request, error: Exception) -> Response:
    return detail(404, [{"loc": ["path", "id"], "msg": str(error)}])


async def _explain_order(request: Request, error: Exception) -> Response:
    return detail(409, [{"loc": ["body", "times"], "msg": str(error)}])


async def _explain_lost(request: Request, error: Exception) -> Response:
    words = "what keeps this stream is being started again; nothing that was answered is lost: try again"
    return detail(503, [{"loc": [], "msg": words}], {"retry-after": "1"})
