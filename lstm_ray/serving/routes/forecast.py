"""The routes of a policy that forecasts. Knows FastAPI."""

from __future__ import annotations

from fastapi import FastAPI, Response

from lstm_ray.data.lags import reach
from lstm_ray.monitor.traffic import Rows
from lstm_ray.serving import bodies, observed, planning, scenarios
from lstm_ray.serving.explaining import attach
from lstm_ray.serving.routes.common import (
    TRUTH,
    as_json,
    documented,
    explanations,
    held_against,
    predict,
    predict_scenarios,
)
from lstm_ray.serving.service import Asked, Service


def add(app: FastAPI, service: Service) -> None:
    """Forecast, what-if, observations, and plan where the policy decides."""
    policy, window = service.policy, service.policy.config.window
    example = bodies.example_request(policy)
    levels = policy.quantiles
    words = f"Each series' next {window.horizon} steps from its history: at least {window.history} steps, or more."
    if reach(window) > window.history:
        words += f" The policy also reads values up to {reach(window)} steps back where they are sent."
    if len(levels) > 1:
        words += f" Quantiles may be asked for from {levels[0]:g} to {levels[-1]:g}."

    @app.post("/v1/forecast", response_model=bodies.ForecastAnswer, **documented("Forecast series", words, example))
    async def forecast(body: bodies.ForecastRequest) -> Response:
        chosen = bodies.chosen_quantiles(body.quantiles, policy)
        inputs = bodies.to_inputs(body.series, policy.schema)
        found = await predict(service, Asked(inputs, live=not body.explain, levels=tuple(chosen)))
        why = await explanations(service, inputs, body.explain)
        named = zip(bodies.names(body.series), found, strict=True)
        answers = [bodies.forecast_answer(name, f, policy, chosen) for name, f in named]
        attach(answers, why)
        return as_json(bodies.ForecastAnswer(policy=policy.version, forecasts=answers))

    asked = {**example, "scenarios": scenarios.example_scenarios(policy.schema)}
    changed = documented("Change an input", "The forecast as it is, and with inputs changed.", asked)

    @app.post("/v1/what-if", response_model=scenarios.WhatIfForecastAnswer, **changed)
    async def what_if(body: scenarios.WhatIfForecast) -> Response:
        chosen = bodies.chosen_quantiles(body.quantiles, policy)
        base, *changed = [
            [bodies.forecast_answer(name, f, policy, chosen) for name, f in group]
            for group in await predict_scenarios(service, body.series, body.scenarios, chosen)
        ]
        told = [
            scenarios.ScenarioForecast(
                name=scenario.name,
                forecasts=answers,
                difference=[scenarios.median_difference(a, b) for a, b in zip(answers, base, strict=True)],
            )
            for scenario, answers in zip(body.scenarios, changed, strict=True)
        ]
        return as_json(scenarios.WhatIfForecastAnswer(policy=policy.version, base=base, scenarios=told))

    if service.plan is not None:
        words = "Actions over the steps ahead that cost least by the policy's objective, and what comes of them."
        planned = documented("Plan what to do, and what comes of it", words, planning.example(policy))
        planning.add_route(app, policy, service.plan, service.predict_seconds, planned)

    measured = {
        "name": "example",
        "times": example["series"][0]["times"][-1:],
        "columns": {name: values[-1:] for name, values in example["series"][0]["columns"].items()},
    }
    truth = documented("Bring the truth", TRUTH, {"series": [measured]})

    @app.post("/v1/observations", response_model=observed.ObservationsAnswer, **truth)
    async def observations(body: observed.Observations) -> Response:
        schema = policy.schema
        told = [
            Rows(s.name, bodies.ticks(s.times, schema, f"series '{s.name}'"), observed.measured_values(s, schema))
            for s in body.series
        ]
        return await held_against(service, told)
