"""What clients send: requests that must be answered, and those that must be refused. Knows no socket and no server."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from lstm_ray.data.lags import reach
from lstm_ray.model.policy import Policy
from lstm_ray.serving.bodies import example_request, time_words
from lstm_ray.serving.proof import route

NUM_VALID, BATCH_EVERY, BATCH_SERIES = 48, 8, 8
"""Different bodies of valid requests; each eighth holds a batch of so many series, the others one."""
NOISE = 0.05
"""Deviation by which values of the example are varied, as a share of each."""
DIGITS = 6
DEEP = 50_000
"""Brackets within one another: enough to exhaust a parser that calls itself."""
DECLARED_BYTES = 10_000_000_000
LONG_HEADER = 100_000
HUNG_UP = 0
"""Status of a request whose client left."""


@dataclass(frozen=True)
class Hostile:
    """A request that must be refused, or whose client misbehaves."""

    name: str
    right: list[int]
    """Statuses of which the answer must have one; ``HUNG_UP``: nobody waits for one."""
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Beside, or in place of, those of a valid request."""
    method: str = "POST"
    path: str = ""
    """Below the server's root; empty: where the policy predicts."""
    token: Literal["right", "wrong", "none"] = "right"
    then: Literal["answer", "chunks", "silence", "leave", "garbage"] = "answer"
    """After the request: wait for its answer. In its place: the body in chunks, half of it and silence, half of it and
    gone, or the body alone without a head."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def valid(policy: Policy, max_body_bytes: int, named: bool, seed: int = 0) -> list[str]:
    """Bodies that must be answered: the policy's example with other values in each.

    Args:
        named: give half of the series a name, so that the server keeps and scores what it answers them.
    """
    random = np.random.default_rng(seed)
    [example] = example_request(policy)["series"]
    example.pop("name", None)
    largest = max(1, max_body_bytes // 2 // len(json.dumps(example)))
    bodies = []
    for number in range(NUM_VALID):
        series = [
            _varied(example, random) for _ in range(min(BATCH_SERIES, largest) if not number % BATCH_EVERY else 1)
        ]
        if named and number % 2:
            for at, one in enumerate(series):
                one["name"] = f"stress-{number}-{at}"
        bodies.append(json.dumps({"series": series}))
    return bodies


def truths(policy: Policy, valid: Sequence[str], max_body_bytes: int) -> str:
    """The body that brings what came of the named series of valid forecasts, so that the server keeps none waiting for ever:
    of as many as fit; empty where there are none, or another task."""
    named = [one for body in valid for one in json.loads(body)["series"] if one.get("name")]
    if not named or policy.config.task != "forecast":
        return ""
    schema, past = policy.schema, reach(policy.config.window)
    times = time_words(schema.times(np.arange(past, past + policy.config.window.horizon)), schema)
    series = [
        {
            "name": one["name"],
            "times": times,
            "columns": {target: np.resize(one["columns"][target], len(times)).tolist() for target in schema.target},
        }
        for one in named
    ]
    fitting = max(1, max_body_bytes // (1 + len(json.dumps(series[0]))) - 1)
    return json.dumps({"series": series[:fitting]})


def _varied(series: Mapping[str, Any], random: np.random.Generator) -> dict[str, Any]:
    found = copy.deepcopy(dict(series))
    for part in ("columns", "future"):
        for name, values in found.get(part, {}).items():
            factors = 1 + NOISE * random.standard_normal(len(values))
            found[part][name] = [
                float(f"{value * factor:.{DIGITS}g}") for value, factor in zip(values, factors, strict=True)
            ]
    return found


def hostile(policy: Policy, max_body_bytes: int, asks_token: bool) -> list[Hostile]:
    """Every kind of request that must be refused."""
    good = example_request(policy)
    [series] = good["series"]
    column, values = next(iter(series["columns"].items()))

    def with_values(new: list[Any]) -> str:
        return json.dumps({"series": [{**series, "columns": {**series["columns"], column: new}}]})

    whole = json.dumps(good)
    found = [
        Hostile("no JSON", [422], "{"),
        Hostile("NaN", [422], with_values([float("nan"), *values[1:]])),
        Hostile("text where a number belongs", [422], with_values(["1", *values[1:]])),
        Hostile("a value too few", [422], with_values(values[:-1])),
        # Beyond what the network computes in: refused, or answered by something finite.
        Hostile("values near the largest that JSON holds", [200, 422], with_values([1e300] * len(values))),
        Hostile("an unknown field", [422], json.dumps({**good, "colour": "red"})),
        Hostile("an unknown column", [422], json.dumps({"series": [{**series, "columns": {"no such": values}}]})),
        Hostile("no series", [422], json.dumps({"series": []})),
        Hostile("brackets within brackets", [422], '{"series": ' + "[" * DEEP),
        Hostile("bytes that are no text", [422], '{"series": "\xff\xfe"}'),
        Hostile("a body declared too large", [413], whole[:1_000], {"Content-Length": str(DECLARED_BYTES)}),
        # A server that is not ours may take more, and then finds no JSON.
        Hostile("a body too large in chunks", [413, 422], "x" * (max_body_bytes + 1), then="chunks"),
        Hostile("another content type", [415], whole, {"Content-Type": "text/plain"}),
        Hostile("a compressed body", [415], whole, {"Content-Encoding": "gzip"}),
        Hostile("an unknown path", [404], whole, path="/v1/no-such-path"),
        Hostile("another method", [405], method="DELETE"),
        Hostile("no HTTP", [400], "\x00\x01\x02 no request\r\n\r\n", then="garbage"),
        Hostile("a header too long", [400, 431], whole, {"X-Long": "x" * LONG_HEADER}),
        Hostile("half a body, then silence", [408], whole, then="silence"),
        Hostile("half a body, then gone", [HUNG_UP], whole, then="leave"),
    ]
    if asks_token:
        found += [
            Hostile("no token", [401], whole, token="none"),
            Hostile("a wrong token", [401], whole, token="wrong"),
        ]
    path = route(policy)
    return [one if one.path else Hostile(**{**one.as_dict(), "path": path}) for one in found]
