"""One process of the served policy: it batches the requests that wait, and reports to the monitor. Ray Serve runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from fastapi import FastAPI
from numpy.typing import NDArray
from ray import serve
from ray.exceptions import RayActorError

from lstm_ray.errors import InputError
from lstm_ray.model.request import SeriesInput
from lstm_ray.monitor.traffic import Tally
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.serving import planning
from lstm_ray.serving.api import make_app
from lstm_ray.serving.bundle import Packed, unpack, versions
from lstm_ray.serving.service import Asked, MonitorLostError, Service, answer_and_count

MAX_BATCH = 256
"""Requests predicted together at most; those that came while a batch was predicted make the next one."""
INLINE_SERIES = 64
"""So many series are predicted where requests are read: handing them to a thread would double a lone request's time.
More go to a thread, so that probes and small requests are answered meanwhile."""


class RemoteMonitor:
    """The monitor's actor as replicas call it. It restarts where it dies, and begins to count anew."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def merge(self, tally: Tally) -> None:
        await self._call("merge", tally)

    async def observe(self, name: str, tick_T: NDArray, actual_TC: NDArray) -> int:
        scored: int = await self._call("observe", name, tick_T, actual_TC)
        return scored

    async def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = await self._call("summary")
        return found

    async def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return await getattr(self._actor, method).remote(*arguments)
        except RayActorError as error:
            raise MonitorLostError(str(error)) from None


@serve.ingress()
class Replica:
    """One process that holds the policy and answers HTTP.

    Args:
        files: the policy's, as bytes: a replica may start on a machine that has no copy.
        monitor: actor that all replicas report to.
        token_digest: see Gate.
    """

    def __init__(self, files: Packed, monitor: Any, deploy: Mapping[str, Any], token_digest: bytes | None) -> None:
        torch.set_num_threads(1)
        settings = DeployConfig.model_validate(deploy)
        self._policy = unpack(files)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predict")
        # A thread of its own: a plan takes seconds, in which forecasts that wait for the other would be late.
        self._planner = ThreadPoolExecutor(1, thread_name_prefix="plan")
        batched: Any = self._predict_batch
        batched.set_max_batch_size(min(MAX_BATCH, settings.max_ongoing_requests))
        self._service = Service(
            policy=self._policy,
            versions=versions(files),
            predict=self._predict,
            plan=self._plan if planning.can_plan(self._policy) else None,
            monitor=RemoteMonitor(monitor),
            max_body_bytes=settings.max_body_bytes,
            token_digest=token_digest,
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        return make_app(self._service)

    async def _predict(self, asked: Asked) -> Sequence[Any]:
        found = await self._predict_batch(asked)
        if isinstance(found, InputError):
            raise found
        return found

    async def _plan(self, inputs: list[SeriesInput]) -> Sequence[planning.Planned]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._planner, planning.plan, self._policy, inputs)

    @serve.batch(max_batch_size=1, batch_wait_timeout_s=0)
    async def _predict_batch(self, batch: list[Asked]) -> list[Any]:
        if sum(len(asked.inputs) for asked in batch) <= INLINE_SERIES:
            found, counts = answer_and_count(self._policy, batch)
        else:
            loop = asyncio.get_running_loop()
            found, counts = await loop.run_in_executor(self._thread, answer_and_count, self._policy, batch)
        self._service.tally.add(counts)
        return found
