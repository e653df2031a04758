"""One process of the server: it holds the policies of the line-up and follows the register's changes. Ray Serve runs it."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import ray
import torch
from ray import serve
from ray.exceptions import RayActorError, RayTaskError

from lstm_ray import log
from lstm_ray.errors import InputError
from lstm_ray.model import smoke
from lstm_ray.model.request import SeriesInput
from lstm_ray.monitor.live import Watched
from lstm_ray.monitor.traffic import Compared, Observed, Rows, Tally
from lstm_ray.monitor.watched import watched
from lstm_ray.on_ray import registers, streams
from lstm_ray.on_ray.calls import Calls
from lstm_ray.on_ray.cluster import NAMESPACE, work_for
from lstm_ray.registry.lineup import Lineup
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.serving import explaining, planning
from lstm_ray.serving.api import make_app
from lstm_ray.serving.batcher import Batcher
from lstm_ray.serving.bundle import Packed, card, unpack, versions
from lstm_ray.serving.load import InFlight
from lstm_ray.serving.service import Asked, MonitorLostError, Service, answer_and_count
from lstm_ray.serving.switching.comparing import comparing
from lstm_ray.serving.switching.lane import Lane
from lstm_ray.serving.switching.switch import Switch

MAX_BATCH = 256
"""Requests predicted together at most; those that came while a batch was predicted make the next one."""
INLINE_SERIES = 64
"""So many series are predicted where requests are read: handing them to a thread would double a lone request's time.
More go to a thread, so that probes and small requests are answered meanwhile."""
GC_THRESHOLD = 20_000
"""Objects made between two looks for garbage; Python's own is 700."""
RETRY_SECONDS = 0.5
_log = logging.getLogger(__name__)


class RemoteRegister:
    """The register's actor as a replica calls it, under the replica's name."""

    def __init__(self, actor: Any, replica: str) -> None:
        self._actor, self._replica = actor, replica

    async def lineup(self) -> Lineup:
        return await self._call("lineup", self._replica)

    async def wait(self, sequence: int) -> Lineup:
        return await self._call("wait", self._replica, sequence)

    async def took(self, sequence: int, error: str) -> None:
        await self._call("took", self._replica, sequence, error)

    async def left(self) -> None:
        await self._call("left", self._replica)

    async def files(self, version: str) -> Packed:
        return await self._call("files", version)

    async def name_key(self) -> str:
        found: str = await self._call("name_key")
        return found

    async def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return await getattr(self._actor, method).remote(*arguments)
        except RayActorError as error:
            raise MonitorLostError(str(error)) from None
        except RayTaskError as error:
            raise (error.cause if isinstance(error.cause, InputError) else error) from None


class RemoteMonitor:
    """A policy's monitor, which lives with the register. Where that restarts, it begins to count anew."""

    def __init__(self, actor: Any, of: Watched) -> None:
        self._actor, self._watched = actor, of

    async def watch(self) -> None:
        """Begin a policy's account, so that it is told also before anything was counted."""
        await self._call("watch", self._watched)

    async def merge(self, tally: Tally) -> None:
        if not await self._call("merge", self._watched.version, tally):
            await self.watch()
            await self._call("merge", self._watched.version, tally)

    async def observe(self, rows: Sequence[Rows]) -> Observed:
        found: Observed | None = await self._call("measured", self._watched.version, rows)
        if found is None:
            await self.watch()
            found = await self._call("measured", self._watched.version, rows)
        assert found is not None, "the policy is watched"
        return found

    async def flags(self) -> list[str]:
        """What the register knows of the policy that must be known; nothing while it is away."""
        try:
            found: list[str] = await self._call("flags", self._watched.version)
        except MonitorLostError:
            return []
        return found

    async def summary(self) -> dict[str, Any]:
        await self.watch()
        found: dict[str, Any] = await self._call("summary", self._watched.version)
        return found

    async def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return await getattr(self._actor, method).remote(*arguments)
        except RayActorError as error:
            raise MonitorLostError(str(error)) from None


class Held:
    """One policy in this process, with a batcher, threads and counts of its own.

    Making one takes a while, reads and warms the policy, and may be done in any thread.
    Raises InputError or SmokeError where the files are no policy, or it does not answer as it did when it was bundled.
    """

    def __init__(
        self,
        files: Packed,
        register: Any,
        settings: DeployConfig,
        tokens: Mapping[str, bytes],
        shards: Sequence[Any] = (),
        name_key: str = "",
    ) -> None:
        self.policy = unpack(files)
        smoke.check(self.policy)
        self.in_thread = True
        """Whether even small batches leave the thread that reads requests: a shadow must not hold up the others."""
        self._batcher: Batcher[Asked, Sequence[Any]] = Batcher(
            self._answer, min(MAX_BATCH, settings.max_ongoing_requests)
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self.monitor = RemoteMonitor(register, watched(self.policy))
        # A thread of its own: a plan takes seconds, in which forecasts that wait for the other would be late.
        self._planner = ThreadPoolExecutor(1, thread_name_prefix="plan")
        # And another: so do explanations, which are asked for one by one.
        self._explainer = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self.service = Service(
            policy=self.policy,
            versions=versions(files),
            predict=self._batcher,
            explain=self._explain,
            plan=self._plan if planning.can_plan(self.policy) else None,
            monitor=self.monitor,
            max_body_bytes=settings.max_body_bytes,
            tokens=tokens,
            name_key=name_key,
            flags=self._flags,
            streams=streams.RemoteStreams(shards, settings.predict_seconds) if shards else None,
            predict_seconds=settings.predict_seconds,
            body_seconds=settings.body_seconds,
            request_log=settings.request_log,
            echoes_id=False,
            card=card(files),
            in_flight=InFlight(uuid4().hex, settings.max_ongoing_requests, queued=lambda: self._batcher.num_waiting),
        )
        self.app = make_app(self.service)

    def lane(self) -> Lane:
        return Lane(self.policy.version, self.app, self._living(), comparing(self.policy), self._compared, self)

    @asynccontextmanager
    async def _living(self) -> AsyncIterator[None]:
        """The application's lifespan; at its end the last counts are handed on and the threads let go."""
        async with self.app.router.lifespan_context(self.app):
            yield
        with suppress(MonitorLostError):
            await self.service.flush()
        self._thread.shutdown(wait=False)
        self._planner.shutdown(wait=False)
        self._explainer.shutdown(wait=False)

    def _compared(self, compared: Compared) -> None:
        self.service.tally.compared.add(compared)

    async def _plan(self, inputs: list[SeriesInput]) -> Sequence[planning.Planned]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._planner, planning.plan, self.policy, inputs)

    async def _flags(self) -> list[str]:
        return await self.monitor.flags()

    async def _explain(self, inputs: list[SeriesInput]) -> Sequence[Any]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._explainer, explaining.explain, self.policy, inputs)

    async def _answer(self, batch: Sequence[Asked]) -> Sequence[Any]:
        if not self.in_thread and sum(len(asked.inputs) for asked in batch) <= INLINE_SERIES:
            found, counts = answer_and_count(self.policy, batch, self.service.seen)
        else:
            loop = asyncio.get_running_loop()
            found, counts = await loop.run_in_executor(
                self._thread, answer_and_count, self.policy, batch, self.service.seen
            )
        self.service.tally.add(counts)
        return found


@serve.ingress()
class Replica(Calls):
    """One process that answers HTTP with the policies of the register's line-up.

    Serve's ``user_config`` stays as it is when the line-up changes: Serve takes a replica whose ``user_config`` changes out of
    its proxy for a second and more, and a server may have no other.

    Args:
        tokens: see Gate.
        beginning: of the register, where nobody else makes it.
    """

    def __init__(
        self, deploy: Mapping[str, Any], tokens: Mapping[str, bytes], beginning: registers.Beginning | None = None
    ) -> None:
        torch.set_num_threads(1)
        # Each request brings lists of thousands of numbers, which the collector would look through every few requests.
        gc.set_threshold(GC_THRESHOLD)
        self._settings, self._tokens, self._beginning = DeployConfig.model_validate(deploy), tokens, beginning
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._following: asyncio.Task[None] | None = None
        self._switch = Switch(self._stop)

    def __serve_build_asgi_app__(self) -> Switch:
        return self._switch

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Serve the register's line-up as it is now, and follow it: a replica that starts late begins with the present
        champion. Ray Serve calls this before the replica's first request."""
        if self._following is not None:
            return
        name = registers.register_of(serve.get_replica_context().app_name)
        if self._beginning is None:
            self._actor = ray.get_actor(name, namespace=NAMESPACE)
        else:
            self._actor = await asyncio.to_thread(registers.begun, name, self._beginning)
        self._shards = streams.found(serve.get_replica_context().app_name)
        name = serve.get_replica_context().replica_id.unique_id
        work_for({"stage": "serve"}, replica=name)
        self._register = RemoteRegister(self._actor, name)
        lineup = await self._register.lineup()
        await self._load(lineup.champion)
        log.say("a replica answers", policy=lineup.champion)
        error = await self._take(lineup.model_copy(update={"held": None}))
        if error:
            # The champion answers; what lies beside it may come again with the next change.
            self._switch.turn(Lineup(sequence=lineup.sequence, champion=lineup.champion))
            self._switch.champion.served.in_thread = False
        if lineup.held is None:
            await self._register.took(lineup.sequence, error)
        # What is only held is got ready while the others already answer.
        self._following = asyncio.create_task(self._follow(lineup.sequence if lineup.held is None else 0))

    async def _stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
            with suppress(MonitorLostError):
                await self._register.left()

    async def _follow(self, sequence: int) -> None:
        while True:
            try:
                lineup = await self._register.wait(sequence)
                if lineup.sequence != sequence:
                    error = await self._take(lineup)
                    log.say(
                        f"a change of policies failed: {error}"
                        if error
                        else "the replica follows a change of policies",
                        "error" if error else "info",
                        policy=lineup.champion,
                    )
                    await self._register.took(lineup.sequence, error)
                    sequence = lineup.sequence
            except MonitorLostError:
                # It restarts, with the line-up that it had.
                await asyncio.sleep(RETRY_SECONDS)

    async def _take(self, lineup: Lineup) -> str:
        """Serve a line-up, or say why not and go on as before."""
        try:
            for version in lineup.versions:
                await self._load(version)
        except MonitorLostError:
            raise
        except (InputError, smoke.SmokeError) as error:
            return str(error)
        except Exception as error:  # whatever a new policy does, the old one goes on, and who brought it is told
            _log.exception("policies %s cannot be served", lineup.versions)
            return f"{type(error).__name__}: {error}"
        self._switch.turn(lineup)
        for version in lineup.versions:
            self._switch.lanes[version].served.in_thread = version in (lineup.shadow, lineup.held)
        return ""

    async def _load(self, version: str) -> None:
        """Have a policy ready: read, checked against its smoke input, warm."""
        if version in self._switch.lanes:
            return
        files, loop = await self._register.files(version), asyncio.get_running_loop()
        key = await self._register.name_key()
        given = (files, self._actor, self._settings, self._tokens, self._shards, key)
        held = await loop.run_in_executor(self._loader, Held, *given)
        await held.monitor.watch()
        await self._switch.add(held.lane())
