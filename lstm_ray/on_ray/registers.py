"""The actor that replicas follow, as it is made and found. Knows no HTTP."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
from ray.exceptions import RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lstm_ray.model import stored
from lstm_ray.on_ray import cluster, streams
from lstm_ray.on_ray.cluster import NAMESPACE
from lstm_ray.registry.policies import lay
from lstm_ray.serving.bundle import Packed
from lstm_ray.serving.switching.register import Register

KEPT_SECONDS = 60.0
"""Within which a register that is made where replicas run must answer."""


def register_of(application: str) -> str:
    """Name of the actor that replicas follow."""
    return f"{application}-register"


@contextmanager
def beside(
    name: str,
    files: Packed,
    source: str,
    history: Path | None,
    shards: list[Any],
    monitor: Mapping[str, Any],
) -> Iterator[None]:
    """The register of a server that this process keeps, until the block ends; one left by a killed process makes room.

    It stays on this machine, for its history does. Where the machine is lost, replicas answer on with what they hold.
    """
    with suppress(ValueError):
        ray.kill(ray.get_actor(name, namespace=NAMESPACE))
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    with tempfile.TemporaryDirectory(prefix="lstm-ray-") as temporary:
        made: Any = ray.remote(Register).options(**_options(name), scheduling_strategy=here)
        folder = history or Path(temporary)
        following = (streams.Following(shards), streams.Forgetting(shards))
        actor = made.remote(folder, uuid4().hex, source, lay(folder, files), *following, monitor)
        try:
            cluster.answer(actor.status.remote())
            yield
        finally:
            ray.kill(actor)


@dataclass(frozen=True)
class Beginning:
    """What a register needs to begin with, where no process keeps the server."""

    files: Packed
    source: str
    monitor: Mapping[str, Any]


class Portable(Register):
    """A register with all that it needs to begin on whatever machine of the cluster.

    Its folder is one of temporary files, the same after its process was lost; on another machine it begins anew.
    """

    def __init__(self, files: Packed, session: str, source: str, monitor: Mapping[str, Any]) -> None:
        folder = Path(tempfile.gettempdir()) / f"lstm-ray-{session}"
        super().__init__(folder, session, source, lay(folder, files), settings=monitor)


def begun(name: str, beginning: Beginning) -> Any:
    """The register of that name; whoever asks first makes it. What an update put in stays; but where the register has never
    served this policy, another one was deployed, and it makes room."""
    version, deadline = stored.version(beginning.files), time.monotonic() + KEPT_SECONDS
    while True:
        made: Any = ray.remote(Portable).options(**_options(name), get_if_exists=True)
        actor = made.remote(beginning.files, uuid4().hex, beginning.source, beginning.monitor)
        try:
            if version in cluster.answer(actor.status.remote())["champions"]:
                return actor
            ray.kill(actor)
        except RayActorError:
            # Another replica has just had it make room.
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _options(name: str) -> dict[str, Any]:
    """Detached, as Serve's applications are."""
    return {"name": name, "namespace": NAMESPACE, "lifetime": "detached", "num_cpus": 0, "max_restarts": -1}
