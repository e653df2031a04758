"""The HTTP routes of a served policy. Knows FastAPI and the policy; whoever serves it passes in how to predict.

A route never touches the network of the policy itself: ``predict`` may batch over requests or run elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI

from lstm_ray import __version__
from lstm_ray.data.timeline.frequency import describe_step
from lstm_ray.model.policy import Policy
from lstm_ray.model.streaming import can_stream
from lstm_ray.monitor.traffic import Tally
from lstm_ray.report.card.purpose import purpose
from lstm_ray.serving import bodies, planning
from lstm_ray.serving.documentation import document
from lstm_ray.serving.gate import Gate
from lstm_ray.serving.load import Counted
from lstm_ray.serving.log import Passed, RequestLog
from lstm_ray.serving.page.pages import add_pages
from lstm_ray.serving.refusals import explain_refusals
from lstm_ray.serving.routes import classify, forecast, label, state
from lstm_ray.serving.routes.reading import JsonRoute
from lstm_ray.serving.service import Asked, MonitorLostError, Service
from lstm_ray.serving.streams import routes as streams

FLUSH_SECONDS = 0.25
"""How often a replica hands on what it counted."""
GRPC = "/lstm_ray.Policy/"
PREDICTIONS = (
    *("/v1/forecast", "/v1/classify", "/v1/label", "/v1/what-if"),
    *(f"{GRPC}{method}" for method in ("Forecast", "Classify", "Label")),
)
"""Routes of which latency is told."""


def make_app(service: Service) -> FastAPI:
    """The application: every route, the gate before them, and the flow of counts to the monitor.

    It becomes ready once the example request was predicted.
    """
    policy = service.policy

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        smoke = bodies.ClassifyRequest.model_validate(bodies.example_request(policy))
        found = await service.predict(Asked(bodies.to_inputs(smoke.series)))
        if any(one.fallback for one in found):
            raise FloatingPointError("the policy answers its own example with NaN or infinity, so it is not served")
        service.tally = Tally()  # the smoke prediction is nobody's request
        service.seen.forget_all()
        service.ready = True
        flushing = asyncio.create_task(_flush_forever(service))
        try:
            yield
        finally:
            flushing.cancel()
            with suppress(asyncio.CancelledError):
                await flushing

    log = RequestLog(service.request_log, policy.version, key=service.name_key)

    def record(passed: Passed) -> None:
        timed = passed.seconds if passed.route in PREDICTIONS and passed.status < 400 else None
        service.tally.add_request(passed.route, passed.status, timed)
        log(passed)

    service.record = record

    app = FastAPI(
        title=f"lstm-ray: {policy.config.name}",
        version=__version__,
        description=in_words(policy),
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.router.route_class = JsonRoute
    app.add_middleware(
        Gate,
        max_body_bytes=service.max_body_bytes,
        tokens=service.tokens,
        record=record,
        body_seconds=service.body_seconds,
        echoes_id=service.echoes_id,
        is_route=lambda path: any(getattr(route, "path", None) == path for route in app.routes),
    )
    app.add_middleware(Counted, in_flight=service.in_flight)
    explain_refusals(app)
    # Routes are tried in turn: what is asked most comes first.
    ROUTES[policy.config.task](app, service)
    if service.streams is not None:

        def tell(number: int) -> None:
            service.tally.fallbacks += number

        streams.add(app, policy, service.streams, tell)
    kept = can_stream(policy) or (service.streams is not None or "this server keeps none (deploy.streams)")
    state.add(app, service, lambda: {**describe(policy, service.versions), "streams": kept})
    add_pages(app)
    document(app, policy, bool(service.tokens))
    return app


def describe(policy: Policy, versions: dict[str, str]) -> dict[str, Any]:
    """The policy as plain values: what GET /v1/policy answers."""
    window, schema = policy.config.window, policy.schema
    forecasts = policy.config.task == "forecast"
    return {
        "name": policy.config.name,
        "words": in_words(policy),
        "version": policy.version,
        "task": policy.config.task,
        "schema": schema.model_dump(),
        "table": table(policy),
        "step": describe_step(schema.step, schema.is_time, schema.in_months),
        "history": window.history,
        "min_history": window.history if forecasts else 1,
        "lags": window.lags,
        "horizon": window.horizon if forecasts else None,
        "patch": window.patch,
        "quantiles": policy.quantiles if forecasts else [],
        "calibrated": policy.calibration is not None,
        "classes": schema.classes,
        "parameters": policy.num_parameters,
        "validation": policy.facts.get("validation", {}),
        "lineage": policy.facts.get("lineage"),
        "privacy": policy.facts.get("privacy"),
        "plan": planning.words(policy) if planning.can_plan(policy) else None,
        "versions": versions,
    }


def table(policy: Policy) -> dict[str, Any]:
    """What the columns of the policy's own tables are called beside its schema, and how its inputs lie in the training part."""
    data, schema, scaler = policy.config.data, policy.schema, policy.scaler
    roles = ((schema.target, scaler.target), (schema.past, scaler.past), (schema.known, scaler.known))
    columns = {
        name: {"mean": mean, "deviation": deviation}
        for names, scale in roles
        for name, mean, deviation in zip(names, scale.mean, scale.deviation, strict=True)
    }
    return {"time": data.time, "series_id": data.series_id, "static": data.static, "columns": columns}


def in_words(policy: Policy) -> str:
    """What the policy does, in a sentence or two."""
    return " ".join(filter(None, (purpose(policy), plans(policy))))


def plans(policy: Policy) -> str:
    """What its service plans, in a sentence; empty where it cannot."""
    if not planning.can_plan(policy):
        return ""
    planned = planning.words(policy)
    return f"Plans {', '.join(a['name'] for a in planned['actions'])} for {planned['steps']} steps (POST /v1/plan)."


ROUTES: dict[str, Callable[[FastAPI, Service], None]] = {
    "forecast": forecast.add,
    "classify": classify.add,
    "label": label.add,
}
"""What is asked of a policy, by its task."""


async def _flush_forever(service: Service) -> None:
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        with suppress(MonitorLostError):
            await service.flush()
