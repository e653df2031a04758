"""The routes of a policy that labels every step. Knows FastAPI."""

from __future__ import annotations

from fastapi import FastAPI, Response

from lstm_ray.monitor.traffic import Rows
from lstm_ray.serving import bodies, observed, scenarios
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
    """Label, what-if and observations."""
    policy, schema = service.policy, service.policy.schema
    example = bodies.example_request(policy)
    words = "A label for every step that is sent, of series of any length from one step."

    @app.post("/v1/label", response_model=bodies.LabelAnswer, **documented("Label steps of series", words, example))
    async def label(body: bodies.LabelRequest) -> Response:
        inputs = bodies.to_inputs(body.series, schema)
        found = await predict(service, Asked(inputs, live=not body.explain))
        why = await explanations(service, inputs, body.explain)
        named = zip(bodies.names(body.series), found, strict=True)
        answers = [bodies.steps_answer(name, one, policy) for name, one in named]
        attach(answers, why)
        return as_json(bodies.LabelAnswer(policy=policy.version, labellings=answers))

    asked = {**example, "scenarios": scenarios.example_scenarios(schema)}
    changed = documented("Change an input", "The labels as they are, and with inputs changed.", asked)

    @app.post("/v1/what-if", response_model=scenarios.WhatIfLabelAnswer, **changed)
    async def what_if(body: scenarios.WhatIfLabel) -> Response:
        base, *changed = [
            [bodies.steps_answer(name, one, policy) for name, one in group]
            for group in await predict_scenarios(service, body.series, body.scenarios)
        ]
        name = schema.label or ""
        told = [
            scenarios.ScenarioLabelling(
                name=scenario.name,
                labellings=answers,
                difference=[scenarios.label_difference(a, b, name) for a, b in zip(answers, base, strict=True)],
            )
            for scenario, answers in zip(body.scenarios, changed, strict=True)
        ]
        return as_json(scenarios.WhatIfLabelAnswer(policy=policy.version, base=base, scenarios=told))

    measured = {
        "name": "example",
        "times": example["series"][0]["times"][-1:],
        "labels": [schema.classes[0] if schema.classes else 1.0],
    }
    truth = documented("Bring the truth", TRUTH, {"series": [measured]})

    @app.post("/v1/observations", response_model=observed.ObservationsAnswer, **truth)
    async def observations(body: observed.ObservedLabels) -> Response:
        told = [
            Rows(s.name, bodies.ticks(s.times, schema, f"series '{s.name}'"), observed.labelled_values(s, schema))
            for s in body.series
        ]
        return await held_against(service, told)
