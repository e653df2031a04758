"""A server started to be put under load: its processes by what they do, and the end of one of its replicas.
Makes no load and judges nothing."""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
from ray.serve._private.constants import SERVE_NAMESPACE
from ray.serve.context import _get_global_client

from lstm_ray.on_ray import cluster
from lstm_ray.on_ray.cluster import NAMESPACE
from lstm_ray.on_ray.registers import register_of
from lstm_ray.on_ray.serve import running
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.sections.resources import NOTHING_SAID, ResourcesConfig
from lstm_ray.serving.bundle import Packed

FAST_PROXY = "haproxy"
LOOK_SECONDS = 1.0
RUNNING = "RUNNING"


@dataclass
class Stressed:
    """A server of this process."""

    url: str
    token: str
    application: str
    register: int
    """Its process."""
    proxies: list[int]
    """Processes that Serve answers in, on this machine; a fast proxy is a child of one of them."""
    replicas: int
    """As many as it should have."""
    _roles: dict[str, list[int]] = field(default_factory=dict)
    _looked: float = 0.0

    def roles(self) -> dict[str, list[int]]:
        """Pids on this machine by what they do, as they were within the last second. To be asked by one thread alone."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._roles, self._looked = self._processes(), time.monotonic()
        return self._roles

    def running(self) -> list[int]:
        """Pids of the replicas that answer."""
        found = _details()["applications"].get(self.application, {"deployments": {}})["deployments"]
        told = [one for deployment in found.values() for one in deployment["replicas"]]
        # One that is being started has no process yet.
        return [one["pid"] for one in told if one.get("pid") is not None and one["state"] == RUNNING]

    def kill(self) -> int:
        """End one replica as the kernel would, without warning; returns its pid."""
        pid = self.running()[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def _processes(self) -> dict[str, list[int]]:
        fast = [child for pid in self.proxies for child in _children(pid) if _name(child) == FAST_PROXY]
        return {"replicas": self.running(), "register": [self.register], "proxy": [*self.proxies, *fast]}


@contextmanager
def stressed(
    files: Packed, deploy: DeployConfig, source: str, asks: ResourcesConfig = NOTHING_SAID
) -> Iterator[Stressed]:
    """Serve a policy on loopback, on any free port, with a token made for the occasion, until the block ends. It keeps no
    history, and streams in temporary files."""
    name, token = f"lstm-ray-stress-{uuid4().hex[:8]}", secrets.token_hex(32)
    cluster.ensure()
    with tempfile.TemporaryDirectory(prefix="lstm-ray-") as folder:
        file = Path(folder) / "token"
        file.touch(mode=0o600)
        file.write_text(token)
        settings = {"host": "127.0.0.1", "port": 0, "grpc_port": None, "token_file": str(file), "streams_dir": None}
        with running(files, deploy.model_copy(update=settings), name, f"/{name}", source, asks=asks) as served:
            register = _pid(register_of(name), NAMESPACE)
            proxies = [_pid(one["actor_name"], SERVE_NAMESPACE) for one in _details()["proxies"].values()]
            yield Stressed(served.url, token, name, register, proxies, deploy.replicas)


def _pid(actor: str, namespace: str) -> int:
    found: Any = ray.get_actor(actor, namespace=namespace)
    pid: int = ray.get(found.__ray_call__.remote(lambda _: os.getpid()))
    return pid


def _details() -> dict[str, Any]:
    client = _get_global_client()
    assert client is not None, "Serve runs in the block of stressed"
    found: dict[str, Any] = client.get_serve_details()
    return found


def _children(pid: int) -> list[int]:
    found = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""
