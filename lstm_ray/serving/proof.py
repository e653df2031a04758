"""Proof that a server answers as its policy does: real windows sent, bad ones refused. Knows HTTP; knows no Ray."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from numpy.typing import ArrayLike

from lstm_ray.config import Config
from lstm_ray.data.lags import reach
from lstm_ray.data.parts import Boundaries, Part
from lstm_ray.data.steps import labelled_rows
from lstm_ray.data.windows import Segments, origins, sequences
from lstm_ray.errors import InputError
from lstm_ray.model.policy import Classification, Labelling, Policy, SeriesInput
from lstm_ray.serving import planning
from lstm_ray.serving.bodies import time_words, to_inputs
from lstm_ray.serving.service import median

SAMPLES = 32
"""Windows of the test part that are sent, spread over it."""
TOLERANCE = 1e-5
"""Largest difference between HTTP and Policy.predict, in training deviations (or in probability)."""
READY_SECONDS = 60.0


class ServedWronglyError(RuntimeError):
    """The served policy does not answer as it must; nothing was published."""


@dataclass(frozen=True)
class Proof:
    """What was found where nothing was wrong."""

    difference: float
    """Largest difference between HTTP and Policy.predict."""
    refused: list[tuple[str, int, str]]
    """What a bad request had wrong, the status it got and what it was told."""


@dataclass(frozen=True)
class Sample:
    """A real window: what is sent, and what came after."""

    given: SeriesInput
    truth: dict[str, Any]
    """The series of a POST /v1/observations."""

    def body(self, named: bool = True) -> dict[str, Any]:
        """The request's JSON, NaN as null."""
        parts = {"columns": self.given.columns, "future": self.given.future}
        plain = {part: {name: _plain(values) for name, values in columns.items()} for part, columns in parts.items()}
        words: dict[str, Any] = {"static": dict(self.given.static)} if self.given.static else {}
        name = {"name": self.given.name} if named else {}
        return {"series": [{"times": list(self.given.times), **plain, **words, **name}]}


def sample(
    segments: Segments, bounds: Boundaries, config: Config, part: Part = "test", most: int = SAMPLES
) -> list[Sample]:
    """Windows (sequences, stretches of labelled steps) spread over a part, as a caller would send them."""
    cut: Callable[[Segments, int, Config], Sample]
    if config.task == "forecast":
        found, cut = origins(segments, bounds, part, config.window), _window
    elif config.task == "label":
        found, cut = labelled_rows(segments, bounds, part), _stretch
    else:
        found, cut = sequences(segments, bounds, part), _sequence
    chosen = found[np.unique(np.linspace(0, len(found) - 1, most).astype(np.int64))]
    return [cut(segments, int(row), config) for row in chosen]


def _window(segments: Segments, origin: int, config: Config) -> Sample:
    window, schema = config.window, segments.schema
    segment = int(segments.series_of(np.array([origin]))[0])
    past = np.arange(max(segments.bounds[segment], origin - reach(window) + 1), origin + 1)
    ahead = np.arange(origin + 1, origin + window.horizon + 1)
    name = segments.series[segment]
    measured_RC = np.where(segments.observed_RC > 0, segments.target_RC, np.nan)
    known = {column: segments.known_RK[:, k] for k, column in enumerate(schema.known)}
    inputs = {column: measured_RC[:, c] for c, column in enumerate(schema.target)} | known
    inputs |= {column: segments.past_RP[:, p] for p, column in enumerate(schema.past)}
    times = time_words(segments.times(past), schema)
    columns, future = {c: v[past] for c, v in inputs.items()}, {c: v[ahead] for c, v in known.items()}
    given = SeriesInput(times, columns, future, name, segments.words(segment))
    actual = {column: _plain(measured_RC[ahead, c]) for c, column in enumerate(schema.target)}
    return Sample(given, {"name": name, "times": time_words(segments.times(ahead), schema), "columns": actual})


def _sequence(segments: Segments, index: int, config: Config) -> Sample:
    schema = segments.schema
    first, end = segments.bounds[index], segments.bounds[index + 1]
    rows = np.arange(max(first, end - config.window.history), end)
    columns = {column: segments.past_RP[rows, p] for p, column in enumerate(schema.past)}
    name = segments.series[index]
    assert segments.label is not None
    return Sample(
        SeriesInput(time_words(segments.times(rows), schema), columns, name=name),
        {"name": name, "label": schema.classes[int(segments.label[index])]},
    )


def _stretch(segments: Segments, last: int, config: Config) -> Sample:
    """Twice the history up to a step (as much as there is), so that labels are told with and without one before them."""
    schema, segment = segments.schema, int(segments.series_of(np.array([last]))[0])
    rows = np.arange(max(segments.bounds[segment], last - 2 * config.window.history + 1), last + 1)
    measured_RP = np.where(segments.observed_RC > 0, segments.past_RP, np.nan)
    columns = {column: measured_RP[rows, p] for p, column in enumerate(schema.past)}
    columns |= {column: segments.known_RK[rows, k] for k, column in enumerate(schema.known)}
    name, times = segments.series[segment], time_words(segments.times(rows), schema)
    assert segments.label_R is not None
    true = _plain(segments.label_R[rows])
    labels = [None if label is None else schema.classes[int(label)] for label in true] if schema.classes else true
    given = SeriesInput(times, columns, name=name, static=segments.words(segment))
    return Sample(given, {"name": name, "times": times, "labels": labels})


def prove(client: httpx.Client, policy: Policy, samples: Sequence[Sample], max_body_bytes: int) -> Proof:
    """Hold every answer against the policy, bring the truth, and send what must be refused.

    Raises ServedWronglyError where an answer is not what it must be.
    """
    _wait_until_ready(client)
    worst = 0.0
    for item in samples:
        found = answer(client.post(route(policy), json=item.body()))
        worst = max(worst, _difference(found, policy, item))
    if not worst <= TOLERANCE:
        unit = "training deviations" if policy.config.answers == "values" else "probability"
        raise ServedWronglyError(
            f"the served answers differ from Policy.predict by {worst:.3g} {unit}, more than {TOLERANCE:g}; "
            "compare the torch versions of this process and of the cluster's workers"
        )
    for item in samples:
        answer(client.post("/v1/observations", json={"series": [item.truth]}))
    refused = []
    for what, status, content in _bad_bodies(samples[0].body(), max_body_bytes):
        got = client.post(route(policy), content=content, headers={"content-type": "application/json"})
        if got.status_code != status:
            raise ServedWronglyError(f"a request with {what} was answered with {got.status_code}, not {status}")
        refused.append((what, status, got.json()["detail"][0]["msg"]))
    return Proof(worst, refused)


def _bad_bodies(good: dict[str, Any], max_body_bytes: int) -> list[tuple[str, int, bytes]]:
    """What is wrong, the status it must get, and the body."""
    series = good["series"][0]
    column, values = next(iter(series["columns"].items()))

    def with_values(new: Any) -> bytes:
        return json.dumps({"series": [{**series, "columns": {**series["columns"], column: new}}]}).encode()

    return [
        ("a value too few", 422, with_values(values[:-1])),
        ("NaN", 422, with_values([float("nan"), *values[1:]])),
        ("text where a number belongs", 422, with_values(["1", *values[1:]])),
        ("an unknown field", 422, json.dumps({**good, "colour": "red"}).encode()),
        ("an unknown column", 422, json.dumps({"series": [{**series, "columns": {"no such": values}}]}).encode()),
        ("no JSON", 422, b"{"),
        ("a body too large", 413, b" " * (max_body_bytes + 1)),
    ]


def _difference(found: dict[str, Any], policy: Policy, item: Sample) -> float:
    """Largest difference between an HTTP answer and Policy.predict for the same series, in training deviations."""
    (expected,) = policy.predict([item.given])
    if isinstance(expected, Classification):
        probabilities = list(found["classifications"][0]["probabilities"].values())
        return float(np.abs(np.array(probabilities) - expected.probabilities).max())
    if isinstance(expected, Labelling):
        told = found["labellings"][0]
        served = list(told["probabilities"].values()) or [told["labels"]]
        unit = policy.scaler.label.deviation[0] if policy.scaler.label else 1.0
        return float(np.abs(np.array(served).T - expected.answer_LA).max() / unit)
    worst = 0.0
    for c, target in enumerate(policy.schema.target):
        served = found["forecasts"][0]["targets"][target]
        pairs = [(served["median"], median(expected, policy)[:, c])]
        for q, name in enumerate(served["quantiles"]):
            pairs.append((served["quantiles"][name], expected.values_HCQ[:, c, q]))
        for got, wanted in pairs:
            worst = max(worst, float(np.abs(np.array(got) - wanted).max() / policy.scaler.target_deviation[c]))
    return worst


def _wait_until_ready(client: httpx.Client) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while (status := client.get("/readyz").status_code) != 200:
        if time.monotonic() > deadline:
            raise ServedWronglyError(
                f"/readyz still answers {status} after {READY_SECONDS:g} s; look at Ray's serve logs"
            )
        time.sleep(0.1)


def prove_plan(client: httpx.Client, policy: Policy) -> float | None:
    """Seconds in which the documented example is planned for; None where the policy does not plan, or not for that example.

    Raises ServedWronglyError where the plan is another than ``planning.plan`` finds.
    """
    if not planning.can_plan(policy):
        return None
    body = planning.example(policy)
    try:
        request = planning.PlanRequest.model_validate(body)
        [expected] = planning.plan(policy, to_inputs(request.series, policy.schema))
    except InputError:
        # The training mean keeps no sum that real data would; every request says so for itself.
        return None
    began = time.monotonic()
    [found] = answer(client.post("/v1/plan", json=body))["plans"]
    seconds = time.monotonic() - began
    wanted = planning.answer(expected, policy)
    in_time = found["rounds"] == wanted.rounds
    for name, values in wanted.actions.items():
        if in_time and not np.allclose(found["actions"][name], values, rtol=TOLERANCE):
            raise ServedWronglyError(f"/v1/plan answers other values of '{name}' than the planner finds in Python")
    return seconds


def answer(response: httpx.Response) -> dict[str, Any]:
    """The JSON of a good answer. Raises ServedWronglyError for any other."""
    if response.status_code != 200:
        raise ServedWronglyError(f"{response.url.path} answered {response.status_code}: {response.text[:300]}")
    found: dict[str, Any] = response.json()
    return found


def route(policy: Policy) -> str:
    """Where this policy predicts."""
    return f"/v1/{policy.config.task}"


def _plain(values: ArrayLike) -> list[float | None]:
    return [None if np.isnan(value) else value for value in np.asarray(values, dtype=np.float64).tolist()]
