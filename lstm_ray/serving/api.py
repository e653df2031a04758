"""The HTTP routes of a served policy. Knows FastAPI and the policy; whoever serves it passes in how to predict.

A route never touches the network of the policy itself: ``predict`` may batch over requests or run elsewhere.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from lstm_ray import __version__
from lstm_ray.data.schema import Schema
from lstm_ray.data.timeline.grid import describe_step
from lstm_ray.errors import InputError, nearest
from lstm_ray.model.policy import Policy
from lstm_ray.monitor.traffic import Tally
from lstm_ray.report.card.purpose import purpose
from lstm_ray.serving import bodies, planning
from lstm_ray.serving.gate import Gate
from lstm_ray.serving.refusals import explain_refusals
from lstm_ray.serving.service import Asked, MonitorLostError, Service
from lstm_ray.serving.what_if import under

FLUSH_SECONDS = 0.25
"""How often a replica hands on what it counted."""
PREDICTIONS = ("/v1/forecast", "/v1/classify", "/v1/label", "/v1/what-if")
COUNTED = (
    *PREDICTIONS,
    "/v1/plan",
    "/v1/observations",
    "/v1/policy",
    "/v1/monitor",
    "/healthz",
    "/readyz",
    "/",
    "/docs",
)
REFUSALS = {
    401: {"model": bodies.Refused, "description": "missing or wrong bearer token"},
    413: {"model": bodies.Refused, "description": "body too large"},
    422: {"model": bodies.Refused, "description": "the request is wrong: each item names the field and the fix"},
    503: {"description": "the queue is full; try again"},
    504: {"model": bodies.Refused, "description": "the prediction took too long"},
}


def make_app(service: Service) -> FastAPI:
    """The application: every route, the gate before them, and the flow of counts to the monitor.

    It becomes ready once the example request was predicted.
    """
    policy = service.policy

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        smoke = bodies.ClassifyRequest.model_validate(bodies.example_request(policy))
        await service.predict(Asked(bodies.to_inputs(smoke.series)))
        service.tally = Tally()  # the smoke prediction is nobody's request
        service.ready = True
        flushing = asyncio.create_task(_flush_forever(service))
        try:
            yield
        finally:
            flushing.cancel()
            with suppress(asyncio.CancelledError):
                await flushing

    def record(path: str, status: int, seconds: float) -> None:
        timed = seconds if path in PREDICTIONS and status < 400 else None
        service.tally.add_request(path if path in COUNTED else "other", status, timed)

    app = FastAPI(
        title=f"lstm-ray: {policy.config.name}",
        version=__version__,
        description=in_words(policy),
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Gate, max_body_bytes=service.max_body_bytes, token_digest=service.token_digest, record=record)
    explain_refusals(app)
    _add_pages(app)
    _add_state(app, service)
    ROUTES[policy.config.task](app, service)
    return app


def describe(policy: Policy, versions: dict[str, str]) -> dict[str, Any]:
    """The policy as plain values: what GET /v1/policy answers."""
    window, schema = policy.config.window, policy.schema
    forecast = policy.config.task == "forecast"
    return {
        "name": policy.config.name,
        "words": in_words(policy),
        "version": policy.version,
        "task": policy.config.task,
        "schema": schema.model_dump(),
        "step": describe_step(schema.step, schema.is_time, schema.in_months),
        "history": window.history,
        "lags": window.lags,
        "horizon": window.horizon if forecast else None,
        "patch": window.patch,
        "quantiles": policy.quantiles if forecast else [],
        "classes": schema.classes,
        "parameters": policy.num_parameters,
        "validation": policy.facts.get("validation", {}),
        "plan": planning.words(policy) if planning.can_plan(policy) else None,
        "versions": versions,
    }


def in_words(policy: Policy) -> str:
    """What the policy does, in a sentence or two."""
    return " ".join(filter(None, (purpose(policy), plans(policy))))


def plans(policy: Policy) -> str:
    """What its service plans, in a sentence; empty where it cannot."""
    if not planning.can_plan(policy):
        return ""
    planned = planning.words(policy)
    return f"Plans {', '.join(a['name'] for a in planned['actions'])} for {planned['steps']} steps (POST /v1/plan)."


def _add_pages(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(_page("page.html"))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(_page("docs.html"))


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", tags=["state"], summary="The process answers")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["state"], summary="A prediction has succeeded", responses={503: {}})
    async def readyz() -> Response:
        body = {"status": "ready" if service.ready else "not ready", "policy": service.policy.version}
        return Response(json.dumps(body), 200 if service.ready else 503, media_type="application/json")

    @app.get("/v1/policy", tags=["state"], summary="Schema, window, versions and validation metrics")
    async def policy() -> dict[str, Any]:
        return describe(service.policy, service.versions)

    @app.get("/v1/monitor", tags=["state"], summary="Load, latency, input drift and live error")
    async def monitor() -> dict[str, Any]:
        await service.flush()
        return await service.monitor.summary()


def _add_forecast(app: FastAPI, service: Service) -> None:
    policy = service.policy
    example = bodies.example_request(policy)

    @app.post("/v1/forecast", response_model=bodies.ForecastAnswer, **_documented("Forecast series", example))
    async def forecast(body: bodies.ForecastRequest) -> Response:
        chosen = bodies.chosen_quantiles(body.quantiles, policy)
        found = await _predict(service, Asked(bodies.to_inputs(body.series)))
        named = zip(bodies.names(body.series), found, strict=True)
        answers = [bodies.forecast_answer(name, f, policy, chosen) for name, f in named]
        return _json(bodies.ForecastAnswer(policy=policy.version, forecasts=answers))

    asked = {**example, "scenarios": _example_scenarios(policy.schema)}

    @app.post("/v1/what-if", response_model=bodies.WhatIfForecastAnswer, **_documented("Change an input", asked))
    async def what_if(body: bodies.WhatIfForecast) -> Response:
        chosen = bodies.chosen_quantiles(body.quantiles, policy)
        base, *changed = [
            [bodies.forecast_answer(name, f, policy, chosen) for name, f in group]
            for group in await _predict_scenarios(service, body.series, body.scenarios)
        ]
        scenarios = [
            bodies.ScenarioForecast(
                name=scenario.name,
                forecasts=answers,
                difference=[bodies.median_difference(a, b) for a, b in zip(answers, base, strict=True)],
            )
            for scenario, answers in zip(body.scenarios, changed, strict=True)
        ]
        return _json(bodies.WhatIfForecastAnswer(policy=policy.version, base=base, scenarios=scenarios))

    if service.plan is not None:
        planned = _documented("Plan what to do, and what comes of it", planning.example(policy))
        planning.add_route(app, policy, service.plan, service.predict_seconds, planned)

    measured = {
        "name": "example",
        "times": example["series"][0]["times"][-1:],
        "columns": {policy.schema.target[0]: [1.0]},
    }

    @app.post(
        "/v1/observations",
        response_model=bodies.ObservationsAnswer,
        **_documented("Bring the truth", {"series": [measured]}),
    )
    async def observations(body: bodies.Observations) -> Response:
        read = [
            (s.name, bodies.ticks(s.times, policy.schema, f"series '{s.name}'"), bodies.actual_values(s, policy.schema))
            for s in body.series
        ]
        await service.flush()
        scored = [await service.monitor.observe(*item) for item in read]
        return _json(bodies.ObservationsAnswer(scored=sum(scored)))


def _add_classify(app: FastAPI, service: Service) -> None:
    policy, classes = service.policy, service.policy.schema.classes
    example = bodies.example_request(policy)

    @app.post("/v1/classify", response_model=bodies.ClassifyAnswer, **_documented("Classify sequences", example))
    async def classify(body: bodies.ClassifyRequest) -> Response:
        found = await _predict(service, Asked(bodies.to_inputs(body.series)))
        named = zip(bodies.names(body.series), found, strict=True)
        answers = [bodies.class_answer(name, c, policy) for name, c in named]
        return _json(bodies.ClassifyAnswer(policy=policy.version, classifications=answers))

    asked = {**example, "scenarios": _example_scenarios(policy.schema)}

    @app.post("/v1/what-if", response_model=bodies.WhatIfClassifyAnswer, **_documented("Change an input", asked))
    async def what_if(body: bodies.WhatIfClassify) -> Response:
        base, *changed = [
            [bodies.class_answer(name, c, policy) for name, c in group]
            for group in await _predict_scenarios(service, body.series, body.scenarios)
        ]
        scenarios = [
            bodies.ScenarioClassification(
                name=scenario.name,
                classifications=answers,
                difference=[bodies.probability_difference(a, b) for a, b in zip(answers, base, strict=True)],
            )
            for scenario, answers in zip(body.scenarios, changed, strict=True)
        ]
        return _json(bodies.WhatIfClassifyAnswer(policy=policy.version, base=base, scenarios=scenarios))

    measured = {"name": "example", "label": classes[0]}

    @app.post(
        "/v1/observations",
        response_model=bodies.ObservationsAnswer,
        **_documented("Bring the truth", {"series": [measured]}),
    )
    async def observations(body: bodies.ObservedClasses) -> Response:
        for item in body.series:
            if item.label not in classes:
                raise InputError(
                    f"series '{item.name}': label '{item.label}' is no class{nearest(item.label, classes)}"
                )
        await service.flush()
        truth = [(s.name, np.zeros(1, np.int64), np.array([[float(classes.index(s.label))]])) for s in body.series]
        scored = [await service.monitor.observe(*item) for item in truth]
        return _json(bodies.ObservationsAnswer(scored=sum(scored)))


def _add_label(app: FastAPI, service: Service) -> None:
    policy, schema = service.policy, service.policy.schema
    example = bodies.example_request(policy)

    @app.post("/v1/label", response_model=bodies.LabelAnswer, **_documented("Label every step of series", example))
    async def label(body: bodies.LabelRequest) -> Response:
        found = await _predict(service, Asked(bodies.to_inputs(body.series)))
        named = zip(bodies.names(body.series), found, strict=True)
        answers = [bodies.steps_answer(name, one, policy) for name, one in named]
        return _json(bodies.LabelAnswer(policy=policy.version, labellings=answers))

    asked = {**example, "scenarios": _example_scenarios(schema)}

    @app.post("/v1/what-if", response_model=bodies.WhatIfLabelAnswer, **_documented("Change an input", asked))
    async def what_if(body: bodies.WhatIfLabel) -> Response:
        base, *changed = [
            [bodies.steps_answer(name, one, policy) for name, one in group]
            for group in await _predict_scenarios(service, body.series, body.scenarios)
        ]
        scenarios = [
            bodies.ScenarioLabelling(
                name=scenario.name,
                labellings=answers,
                difference=[
                    bodies.label_difference(a, b, schema.label or "") for a, b in zip(answers, base, strict=True)
                ],
            )
            for scenario, answers in zip(body.scenarios, changed, strict=True)
        ]
        return _json(bodies.WhatIfLabelAnswer(policy=policy.version, base=base, scenarios=scenarios))

    measured = {
        "name": "example",
        "times": example["series"][0]["times"][-1:],
        "labels": [schema.classes[0] if schema.classes else 1.0],
    }

    @app.post(
        "/v1/observations",
        response_model=bodies.ObservationsAnswer,
        **_documented("Bring the truth", {"series": [measured]}),
    )
    async def observations(body: bodies.ObservedLabels) -> Response:
        read = [
            (s.name, bodies.ticks(s.times, schema, f"series '{s.name}'"), bodies.true_labels(s, schema))
            for s in body.series
        ]
        await service.flush()
        scored = [await service.monitor.observe(*item) for item in read]
        return _json(bodies.ObservationsAnswer(scored=sum(scored)))


ROUTES: dict[str, Callable[[FastAPI, Service], None]] = {
    "forecast": _add_forecast,
    "classify": _add_classify,
    "label": _add_label,
}
"""What is asked of a policy, by its task."""


async def _predict(service: Service, asked: Asked) -> Sequence[Any]:
    return await asyncio.wait_for(service.predict(asked), service.predict_seconds)


async def _predict_scenarios(
    service: Service, series: Sequence[bodies.Series], scenarios: Sequence[bodies.Scenario]
) -> list[list[tuple[str, Any]]]:
    """Names and predictions of the unchanged series, then of each scenario's."""
    inputs = bodies.to_inputs(series)
    policy = service.policy
    groups = [inputs, *(under(scenario, inputs, policy.config, policy.schema) for scenario in scenarios)]
    found = await _predict(service, Asked([item for group in groups for item in group], live=False))
    names = bodies.names(series)
    return [list(zip(names, found[i : i + len(names)], strict=True)) for i in range(0, len(found), len(names))]


async def _flush_forever(service: Service) -> None:
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        with suppress(MonitorLostError):
            await service.flush()


def _documented(summary: str, example: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"example": example}}
    return {
        "tags": ["predict"],
        "summary": summary,
        "responses": REFUSALS,
        "openapi_extra": {"requestBody": {"content": content}},
    }


def _example_scenarios(schema: Schema) -> list[dict[str, Any]]:
    column = (schema.past or schema.target)[0]
    rising = {"column": (schema.target or schema.past)[0], "operation": "ramp", "value": 1.0, "steps": 4}
    return [
        {"name": f"more {column}", "column": column, "operation": "shift", "value": 1.0, "steps": 1},
        {"name": f"{column} not measured", "column": column, "operation": "missing", "steps": 2, "also": [rising]},
    ]


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


@cache
def _page(name: str) -> str:
    return (files(__package__) / "page" / name).read_text(encoding="utf-8")
