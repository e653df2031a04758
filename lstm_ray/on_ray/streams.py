"""Where a server's streams live: processes of their own, each with a share of the ids. Knows no HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lstm_ray.model.streaming import can_stream
from lstm_ray.on_ray import cluster
from lstm_ray.on_ray.shard import Following, Forgetting, Shard
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.serving import bodies
from lstm_ray.serving.bundle import Packed, unpack
from lstm_ray.serving.streams.messages import Ahead, Steps, StreamAnswer, StreamsLostError

__all__ = ["Following", "Forgetting", "RemoteStreams", "ended", "found", "shard_of", "started", "use"]
RETRIES = 3
"""A call whose process dies is made again: what it did already, it does not do twice."""
END_SECONDS = 10.0


class RemoteStreams:
    """The shards as routes call them."""

    def __init__(self, actors: Sequence[Any], seconds: float) -> None:
        """``seconds``: an answer that takes longer is given up, with a TimeoutError."""
        self._actors, self._seconds = list(actors), seconds

    async def put(self, stream: str, series: bodies.Series) -> StreamAnswer:
        found: StreamAnswer = await self._call("put", stream, series)
        return found

    async def observe(self, stream: str, steps: Steps) -> StreamAnswer:
        found: StreamAnswer = await self._call("observe", stream, steps)
        return found

    async def forecast(self, stream: str, ahead: Ahead) -> bodies.ForecastAnswer:
        found: bodies.ForecastAnswer = await self._call("forecast", stream, ahead)
        return found

    async def facts(self, stream: str) -> StreamAnswer:
        found: StreamAnswer = await self._call("facts", stream)
        return found

    async def forget(self, stream: str) -> None:
        await self._call("forget", stream)

    async def _call(self, method: str, stream: str, *arguments: Any) -> Any:
        actor = self._actors[shard_of(stream, len(self._actors))]
        try:
            async with asyncio.timeout(self._seconds):
                found = await actor.call.remote(method, stream, *arguments)
        except RayActorError as error:
            raise StreamsLostError(str(error)) from None
        if isinstance(found, Exception):
            raise found
        return found


def started(application: str, files: Packed, deploy: DeployConfig, beside: Path | None = None) -> list[Any]:
    """The shards of a server's streams, with the streams that lie in their folder; none where no streams are kept.

    Args:
        beside: folder in which 'streams' lies where ``deploy.streams_dir`` names none; None: a temporary one.

    Raises InputError where the folder cannot be had.
    """
    if not deploy.streams or can_stream(unpack(files)):
        return []
    temporary = deploy.streams_dir is None and beside is None
    if temporary:
        folder = Path(tempfile.mkdtemp(prefix="lstm-ray-streams-"))
    else:
        folder = Path(deploy.streams_dir).expanduser().absolute() if deploy.streams_dir else beside / "streams"  # type: ignore[operator]
    # Ids were dealt to as many as there are: other replicas do not deal them anew.
    num_shards = len(list(folder.glob("shard-*.sqlite"))) or deploy.replicas
    most = -(-deploy.streams // num_shards)
    # Elsewhere they would find no file, and begin anew: only a folder that was named may be one that all machines see.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=bool(deploy.streams_dir))
    actors = []
    for number in range(num_shards):
        name = _name(application, number)
        with suppress(ValueError):
            ray.kill(ray.get_actor(name, namespace=cluster.NAMESPACE))
        made: Any = ray.remote(Shard).options(
            name=name,
            namespace=cluster.NAMESPACE,
            lifetime="detached",
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=RETRIES,
            scheduling_strategy=here,
        )
        file = folder / f"shard-{number}.sqlite"
        actors.append(made.remote(file, most, deploy.stream_idle_seconds, temporary))
    try:
        use(actors, files)
    except BaseException:
        ended(actors)
        raise
    return actors


def found(application: str) -> list[Any]:
    """The shards of a server that runs."""
    actors: list[Any] = []
    with suppress(ValueError):
        while True:
            actors.append(ray.get_actor(_name(application, len(actors)), namespace=cluster.NAMESPACE))
    return actors


def use(actors: Sequence[Any], files: Packed) -> None:
    """Have the streams read with another policy: each is begun again from its newest rows when it is next asked for."""
    for waiting in [actor.use.remote(files) for actor in actors]:
        cluster.answer(waiting)


def ended(actors: Sequence[Any]) -> None:
    """Their streams stay in their folder, unless that was a temporary one."""
    for actor in actors:
        with suppress(RayActorError, GetTimeoutError):
            ray.get(actor.end.remote(), timeout=END_SECONDS)
        ray.kill(actor)


def shard_of(stream: str, num_shards: int) -> int:
    """Which shard an id falls to: the same in every process."""
    return int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "big") % num_shards


def _name(application: str, number: int) -> str:
    return f"{application}-streams-{number}"
