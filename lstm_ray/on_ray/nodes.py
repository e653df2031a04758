"""A Ray cluster of several nodes on this machine, each a real ``ray start``, on loopback and with a token: for demos, tests
and measurements. Knows nothing of the work done on it; ends what it started and nothing else."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from lstm_ray.errors import InputError
from lstm_ray.on_ray.ports import free_port

RAY = str(Path(sys.executable).parent / "ray")
STARTED = "Ray runtime started"
START_SECONDS, END_SECONDS = 120.0, 20.0
HOSTS = "127.0.0.{}"
"""A node's own address on loopback, from 2 on: what names 127.0.0.1 itself Ray would bind to the machine's address."""


@dataclass(eq=False)
class Node:
    """One `ray start --block` in a process group of its own."""

    name: str
    process: subprocess.Popen
    log: Path

    def processes(self, *words: str) -> list[int]:
        """Processes that it started, and those that these started, whose command line holds all the words."""
        found, waiting = [], [self.process.pid]
        children: dict[int, list[int]] = {}
        for pid, parent in _parents():
            children.setdefault(parent, []).append(pid)
        while waiting:
            pid = waiting.pop()
            waiting += children.get(pid, [])
            if all(word in _command(pid) for word in words):
                found.append(pid)
        return sorted(found)

    def end(self) -> None:
        """End it, first asking, then not."""
        # The one that started the others: asked all at once, each takes the end of the others for a fault.
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=END_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=END_SECONDS)

    def kill(self) -> None:
        """As a machine that loses power: every process of it at once, without a word."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=END_SECONDS)


@dataclass(eq=False)
class Nodes:
    """A cluster that runs; nodes may be added, ended and killed."""

    folder: Path
    """Of temporary files: its path is short, for sockets lie in it."""
    port: int
    jobs_port: int
    token: str
    members: list[Node] = field(default_factory=list)

    @property
    def address(self) -> str:
        """For ``--address``: where a driver joins."""
        return f"{HOSTS.format(2)}:{self.port}"

    @property
    def jobs(self) -> str:
        """For ``ray job submit --address``."""
        return f"http://127.0.0.1:{self.jobs_port}"

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that starts a node, joins or submits a job. Jobs run `python`: it is the one that runs this."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        kept = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        return kept | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token, "PATH": path}

    def add(
        self,
        cpus: float = 1,
        *,
        labels: Mapping[str, str] | None = None,
        resources: Mapping[str, float] | None = None,
        more: Sequence[str] = (),
    ) -> Node:
        """Start a node and wait until it has joined; the first is the head.

        Args:
            resources: custom ones that it offers.
            more: further options of `ray start`.

        Raises InputError where it does not start, with what it said.
        """
        name = f"node-{len(self.members)}"
        own = [f"--num-cpus={cpus:g}", "--disable-usage-stats", *more]
        own += [f"--labels={','.join(f'{key}={value}' for key, value in labels.items())}"] if labels else []
        own += [f"--resources={_json(resources)}"] if resources else []
        own += [f"--node-ip-address={HOSTS.format(2 + len(self.members))}"]
        if self.members:
            own += [f"--address={self.address}"]
        else:
            own += ["--head", f"--port={self.port}", f"--temp-dir={self.folder}", f"--dashboard-port={self.jobs_port}"]
            own += [f"--ray-client-server-port={free_port()}"]
        node = _started(name, own, self.folder / f"{name}.log", self.environment)
        self.members.append(node)
        return node

    def end(self) -> None:
        """End every node, the head last."""
        for node in reversed(self.members):
            node.end()


@contextmanager
def running(
    num: int = 2, cpus: float = 1, port: int = 0, jobs_port: int = 0, token: str | None = None
) -> Iterator[Nodes]:
    """So many nodes, until the block ends.

    Args:
        port, jobs_port: of the head and of its job server; 0: any free ones.
        token: that whoever joins must show; None: one made up.
    """
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        made = Nodes(Path(folder), port or free_port(), jobs_port or free_port(), token or secrets.token_hex(32))
        try:
            for _ in range(num):
                made.add(cpus)
            yield made
        finally:
            made.end()


def _started(name: str, options: Sequence[str], log: Path, environment: Mapping[str, str]) -> Node:
    with open(log, "w") as output:
        process = subprocess.Popen(
            [RAY, "start", "--block", *options],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    node, deadline = Node(name, process, log), time.monotonic() + START_SECONDS
    while STARTED not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            node.end()
            raise InputError(f"{name} did not start within {START_SECONDS:g} s; it said:\n{log.read_text().strip()}")
        time.sleep(0.1)
    return node


def _parents() -> Iterator[tuple[int, int]]:
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            yield int(place.name), int((place / "stat").read_text().rpartition(")")[2].split()[1])


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _json(resources: Mapping[str, float]) -> str:
    return "{" + ", ".join(f'"{name}": {amount:g}' for name, amount in resources.items()) + "}"
