"""Small policies, and an application that answers in this process: the routes without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI

from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.model.policy import Policy, SeriesInput
from lstm_ray.monitor.drift.drift import reference
from lstm_ray.monitor.live import Monitor
from lstm_ray.monitor.traffic import Observed, Rows, Tally
from lstm_ray.monitor.watched import watched
from lstm_ray.serving.service import Asked, Service, answer_and_count
from tests import made

MAX_BODY_BYTES = 200_000


def segments(known: bool = True) -> Segments:
    return made.segments_of((400, 400), schema=made.schema_of(known=("price",) if known else ()))


def forecaster() -> Policy:
    """Two inputs and one known ahead, three quantiles, random weights."""
    config = made.make_config(model__quantiles=[0.1, 0.5, 0.9])
    policy = made.random_policy(config, segments())
    policy.facts["reference"] = reference(segments(), {"train": (0, 300), "validation": (300, 350), "test": (350, 400)})
    policy.facts["validation"] = {"mae": 1.5}
    return policy


def categorical() -> Policy:
    """One text column, constant within a series."""
    plain = segments()
    schema = plain.schema.model_copy(update={"categories": {"kind": ["shop", "store"]}})
    config = made.make_config(data__categorical=["kind"])
    return made.random_policy(config, replace(plain, schema=schema, category_SK=np.ones((2, 1), np.int64)))


def classifier() -> Policy:
    policy = made.random_policy(made.classify_config(), made.sequences_of([12] * 8))
    policy.facts["validation"] = {"accuracy": 0.8}
    return policy


def labeller(kind: str = "class", **values: Any) -> Policy:
    """One input, a class or value for each step, random weights."""
    policy = made.random_policy(made.label_config(data__label_kind=kind, **values), made.labelled_of((240,), kind=kind))
    policy.facts["validation"] = {"accuracy": 0.8} if kind == "class" else {"mae": 0.5}
    return policy


def window(origin: int = 100, name: str = "one") -> SeriesInput:
    """Twelve steps of history and six known ahead."""
    return made.series_input(segments(), origin, 12, 6, name)


def body_of(*series: SeriesInput, **more: Any) -> dict[str, Any]:
    """A request's JSON."""
    return {"series": [_plain(item) for item in series], **more}


def sequence_body(name: str = "one") -> dict[str, Any]:
    times = [f"{made.START + step}:00:00Z" for step in range(12)]
    return {"series": [{"name": name, "times": times, "columns": {"load": [20.0 + step for step in range(12)]}}]}


def _plain(item: SeriesInput) -> dict[str, Any]:
    times = [f"{np.datetime64(time, 's')}Z" for time in item.times]
    columns, future = ({k: np.asarray(v).tolist() for k, v in part.items()} for part in (item.columns, item.future))
    return {"name": item.name, "times": times, "columns": columns, "future": future}


class Client:
    """HTTP to an application in this process, between its start-up and its shutdown."""

    def __init__(self, app: FastAPI) -> None:
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here")
        self._lifespan = app.router.lifespan_context(app)

    def __enter__(self) -> Client:
        self._loop = asyncio.new_event_loop()
        try:
            self._loop.run_until_complete(self._lifespan.__aenter__())
        except BaseException:
            self._loop.close()
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            self._loop.run_until_complete(self._lifespan.__aexit__(*error))
            self._loop.run_until_complete(self._client.aclose())
        finally:
            self._loop.close()

    def request(self, method: str, path: str, **values: Any) -> httpx.Response:
        return self._loop.run_until_complete(self._client.request(method, path, **values))

    def get(self, path: str, **values: Any) -> httpx.Response:
        return self.request("GET", path, **values)

    def post(self, path: str, **values: Any) -> httpx.Response:
        return self.request("POST", path, **values)


class MonitorHere:
    """The monitor in this process, as routes call it."""

    def __init__(self, policy: Policy) -> None:
        self.monitor = Monitor(watched(policy))

    async def merge(self, tally: Tally) -> None:
        self.monitor.merge(tally)

    async def observe(self, rows: Sequence[Rows]) -> Observed:
        return Observed(sum(self.monitor.observe(one) for one in rows))

    async def summary(self) -> dict[str, Any]:
        return self.monitor.summary()


def service(policy: Policy, **values: Any) -> Service:
    """One request at a time, in this process."""

    async def predict(asked: Asked) -> Any:
        [found], counts = answer_and_count(policy, [asked], made_service.seen)
        if isinstance(found, InputError):
            raise found
        made_service.tally.add(counts)
        return found

    given = {"versions": {"torch": "2"}, "predict": predict, "monitor": MonitorHere(policy)}
    made_service = Service(policy=policy, **(given | {"max_body_bytes": MAX_BODY_BYTES} | values))
    return made_service
