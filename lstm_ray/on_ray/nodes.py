"""A Ray cluster of several nodes on this machine, each a real ``ray start``, on loopback and with a token: for demos, tests
and measurements. Knows nothing of the work done on it; ends what it started and nothing else."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE

from lstm_ray.errors import InputError
from lstm_ray.on_ray.ports import free_port

RAY = str(Path(sys.executable).parent / "ray")
STARTED = "Ray runtime started"
START_SECONDS, END_SECONDS = 120.0, 20.0
PATIENT = {"RAY_raylet_start_wait_time_s": f"{START_SECONDS:g}"}
"""Of a node's environment: left to itself it gives up after 30 s, which a busy machine may need."""
HOSTS = "127.0.0.{}"
"""A node's own address on loopback, from 2 on: what names 127.0.0.1 itself Ray would bind to the machine's address."""
TARGETS = "prom_metrics_service_discovery.json"
WATCH = 'read -r _; kill -TERM "$1"'
"""In a shell whose standard input ends with the process that has started the node."""


@dataclass(eq=False)
class Node:
    """One `ray start --block` in a session of its own."""

    name: str
    process: subprocess.Popen
    log: Path
    watcher: subprocess.Popen
    """Ends it, should this process be killed."""

    @property
    def runs(self) -> bool:
        """Whether it was neither ended nor killed."""
        return self.process.poll() is None

    def processes(self, *words: str) -> list[int]:
        """Processes that it started, and those that these started, whose command line holds all the words."""
        return sorted(pid for pid in _family({self.process.pid}) if all(word in _command(pid) for word in words))

    def end(self) -> None:
        """End it, first asking, then not; nothing of it is left."""
        sessions = self._sessions()
        # The one that started the others: asked all at once, each takes the end of the others for a fault.
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=END_SECONDS)
        self._kill(sessions)

    def kill(self) -> None:
        """As a machine that loses power: every process of it at once, without a word."""
        self._kill(self._sessions())

    def _sessions(self) -> set[int]:
        """Of its processes: a job's driver, which has one of its own, is still known by it when its parent is gone."""
        own = _family({self.process.pid})
        return {self.process.pid} | {session for pid, _, session in _processes() if pid in own}

    def _kill(self, sessions: set[int]) -> None:
        if self.watcher.poll() is not None:
            return  # it has ended before, and its numbers may be another process's by now
        deadline = time.monotonic() + END_SECONDS
        # Again, for one that is about to die may have started another.
        while left := _family(sessions):
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            assert time.monotonic() < deadline, f"{self.name}: processes {sorted(left)} do not end"
            time.sleep(0.02)
            self.process.poll()
        self.process.wait(timeout=END_SECONDS)
        self.watcher.kill()
        self.watcher.wait()
        assert self.watcher.stdin is not None, "it was given a pipe"
        self.watcher.stdin.close()


@dataclass(eq=False)
class Nodes:
    """A cluster that runs; nodes may be added, ended and killed."""

    folder: Path
    """Of temporary files: its path is short, for sockets lie in it."""
    port: int
    jobs_port: int
    token: str
    members: list[Node] = field(default_factory=list)
    hosts: str = HOSTS
    """Addresses of the nodes, by their number from 2 on."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Variables of the environment of every node, and of whoever joins."""

    @property
    def address(self) -> str:
        """For ``--address``: where a driver joins."""
        return f"{self.hosts.format(2)}:{self.port}"

    @property
    def jobs(self) -> str:
        """For ``ray job submit --address``."""
        return f"http://127.0.0.1:{self.jobs_port}"

    @property
    def targets(self) -> Path:
        """Where the head lists for Prometheus what its nodes tell metrics at: in its own folder of temporary files."""
        return self._temporary(0) / TARGETS

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that starts a node, joins or submits a job. Jobs run `python`: it is the one that runs this."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        kept = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        return kept | dict(self.settings) | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token, "PATH": path}

    def add(
        self,
        cpus: float = 1,
        *,
        labels: Mapping[str, str] | None = None,
        resources: Mapping[str, float] | None = None,
        hides: Sequence[Path] = (),
        inside: Sequence[str] = (),
        more: Sequence[str] = (),
    ) -> Node:
        """Start a node and wait until it has joined; the first is the head.

        Args:
            resources: custom ones that it offers.
            hides: folders that it finds empty, as a machine with disks of its own would; needs root.
            inside: what to put before its command, such as that of a network namespace; it must keep its process id.
            more: further options of `ray start`.

        Raises InputError where it does not start, with what it said.
        """
        name = f"node-{len(self.members)}"
        own = [f"--num-cpus={cpus:g}", "--disable-usage-stats", *more]
        own += [f"--labels={','.join(f'{key}={value}' for key, value in labels.items())}"] if labels else []
        own += [f"--resources={_json(resources)}"] if resources else []
        own += [f"--node-ip-address={self.hosts.format(2 + len(self.members))}"]
        # Jobs go through this one, and another cluster on this machine may have Ray's own choice of it.
        own += [f"--dashboard-agent-listen-port={free_port()}"]
        # Where a machine lays the working directories of jobs, too: in one folder, nodes would replace each other's.
        own += [f"--temp-dir={self._temporary(len(self.members))}"]
        if self.members:
            own += [f"--address={self.address}"]
        else:
            own += ["--head", f"--port={self.port}", f"--dashboard-port={self.jobs_port}"]
            own += [f"--ray-client-server-port={free_port()}"]
        command = [*inside, *_without(hides), RAY, "start", "--block", *own]
        node = _started(name, command, self.folder / f"{name}.log", self.environment | PATIENT)
        self.members.append(node)
        return node

    def end(self) -> None:
        """End every node, the head last. None is asked: each would wait for work to leave it, and nothing of it stays."""
        for node in reversed(self.members):
            node.kill()

    def _temporary(self, number: int) -> Path:
        return self.folder / str(number)


@contextmanager
def running(
    num: int = 2,
    cpus: float = 1,
    port: int = 0,
    jobs_port: int = 0,
    token: str | None = None,
    hosts: str = HOSTS,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Nodes]:
    """So many nodes, until the block ends.

    Args:
        port, jobs_port: of the head and of its job server; 0: any free ones.
        token: that whoever joins must show; None: one made up.
        hosts, settings: as of Nodes.
    """
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        ports = port or free_port(), jobs_port or free_port()
        made = Nodes(Path(folder), *ports, token or secrets.token_hex(32), hosts=hosts, settings=settings or {})
        try:
            for _ in range(num):
                made.add(cpus)
            yield made
        finally:
            made.end()


def _without(folders: Sequence[Path]) -> list[str]:
    """Before a command: it, and all that it starts, sees empty folders in place of these. It keeps its process id."""
    if not folders:
        return []
    mounts = "".join(f"mount -t tmpfs none {shlex.quote(str(folder))} && " for folder in folders)
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'{mounts}exec "$@"', "sh"]


def _started(name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Node:
    with open(log, "w") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    watcher = subprocess.Popen(["/bin/sh", "-c", WATCH, "sh", str(process.pid)], stdin=PIPE, start_new_session=True)
    node, deadline = Node(name, process, log, watcher), time.monotonic() + START_SECONDS
    while STARTED not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            node.end()
            raise InputError(f"{name} did not start within {START_SECONDS:g} s; it said:\n{log.read_text().strip()}")
        time.sleep(0.1)
    return node


def _family(roots: set[int]) -> set[int]:
    """Living processes that are one of these, of the session of one of these, or were started by one of the family."""
    children: dict[int, list[int]] = {}
    found, waiting = set[int](), []
    for pid, parent, session in _processes():
        children.setdefault(parent, []).append(pid)
        if pid in roots or session in roots:
            waiting.append(pid)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return found


def _processes() -> Iterator[tuple[int, int, int]]:
    """Every living process, its parent and its session."""
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            # After the name in brackets, which may hold anything: the state, the parent, the group and the session.
            state, parent, _, session = (place / "stat").read_text().rpartition(")")[2].split()[:4]
            if state != "Z":
                yield int(place.name), int(parent), int(session)


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _json(resources: Mapping[str, float]) -> str:
    return "{" + ", ".join(f'"{name}": {amount:g}' for name, amount in resources.items()) + "}"
