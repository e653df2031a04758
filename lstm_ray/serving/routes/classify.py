"""The routes of a policy that classifies. Knows FastAPI."""

from __future__ import annotations

import numpy as np
from fastapi import FastAPI, Response

from lstm_ray.errors import InputError, nearest
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
    """Classify, what-if and observations."""
    policy, classes = service.policy, service.policy.schema.classes
    example = bodies.example_request(policy)
    words = (
        f"The class of each sequence, of any length from one step; its last {policy.config.window.history} are read."
    )

    @app.post("/v1/classify", response_model=bodies.ClassifyAnswer, **documented("Classify sequences", words, example))
    async def classify(body: bodies.ClassifyRequest) -> Response:
        inputs = bodies.to_inputs(body.series, policy.schema)
        found = await predict(service, Asked(inputs, live=not body.explain))
        why = await explanations(service, inputs, body.explain)
        named = zip(bodies.names(body.series), found, strict=True)
        answers = [bodies.class_answer(name, c, policy) for name, c in named]
        attach(answers, why)
        return as_json(bodies.ClassifyAnswer(policy=policy.version, classifications=answers))

    asked = {**example, "scenarios": scenarios.example_scenarios(policy.schema)}
    changed = documented("Change an input", "The classes as they are, and with inputs changed.", asked)

    @app.post("/v1/what-if", response_model=scenarios.WhatIfClassifyAnswer, **changed)
    async def what_if(body: scenarios.WhatIfClassify) -> Response:
        base, *changed = [
            [bodies.class_answer(name, c, policy) for name, c in group]
            for group in await predict_scenarios(service, body.series, body.scenarios)
        ]
        told = [
            scenarios.ScenarioClassification(
                name=scenario.name,
                classifications=answers,
                difference=[scenarios.probability_difference(a, b) for a, b in zip(answers, base, strict=True)],
            )
            for scenario, answers in zip(body.scenarios, changed, strict=True)
        ]
        return as_json(scenarios.WhatIfClassifyAnswer(policy=policy.version, base=base, scenarios=told))

    truth = documented("Bring the truth", TRUTH, {"series": [{"name": "example", "label": classes[0]}]})

    @app.post("/v1/observations", response_model=observed.ObservationsAnswer, **truth)
    async def observations(body: observed.ObservedClasses) -> Response:
        for item in body.series:
            if item.label not in classes:
                raise InputError(
                    f"series '{item.name}': label '{item.label}' is no class{nearest(item.label, classes)}"
                )
        told = [Rows(s.name, np.zeros(1, np.int64), np.array([[float(classes.index(s.label))]])) for s in body.series]
        return await held_against(service, told)
