"""A server of two replicas on two nodes, asked without a pause, and one of its processes killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lstm_ray.benchmark import fresh, untrained
from lstm_ray.benchmark.chaos.outcome import Fault, Missed, Outcome, judged
from lstm_ray.benchmark.chaos.steady import Steady, asking, questions
from lstm_ray.benchmark.chaos.work import Work, command, found
from lstm_ray.live import reading
from lstm_ray.live.rows import FILE
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray.nodes import Nodes
from lstm_ray.on_ray.ports import free_port
from lstm_ray.registry.folder import at

REPLICAS = 2
REPLICA, PROXY, CONTROLLER, REGISTER = "ray::ServeReplica", "ray::ProxyActor", "ray::ServeController", "ray::Register"
BACK_SECONDS = 90.0
SHAPE = {"history": 48, "horizon": 12}
Processes = Callable[..., list[int]]
"""Those whose command line holds all the words."""


@dataclass(frozen=True)
class Server:
    """One that runs, as its operator sees it."""

    work: Work
    run: Path
    steady: Steady
    processes: Processes

    def back(self, name: str, gone: list[int], number: int, fault: Fault) -> float:
        """Wait until so many processes of a name run that were not there before; returns the seconds since the fault."""
        while len(set(self.processes(name)) - set(gone)) < number:
            if fault.seconds() > BACK_SECONDS:
                raise Missed(f"no new {name} within {BACK_SECONDS:g} s: {self.steady.told(fault)}")
            time.sleep(0.05)
        return fault.seconds()

    def unkept(self) -> list[str]:
        """What is wrong with the rows on disk: every observation that was answered must be among them."""
        _, chunks = reading.chunks(at(self.run) / FILE)
        kept = {name for chunk in chunks for name in chunk.series_T}
        lost = [name for name in self.steady.acknowledged if name not in kept]
        return (
            [f"{len(lost)} of {len(self.steady.acknowledged)} acknowledged observations are not kept"] if lost else []
        )


@contextmanager
def serving(nodes: Nodes | None, folder: Path, replicas: int = REPLICAS) -> Iterator[Server]:
    """A policy served on the nodes, or without any on a Ray of its own; it is asked until the block ends, and then ended."""
    run, port = folder / f"served-{time.monotonic_ns()}", free_port()
    untrained.save(str(run / "policy"), **SHAPE)
    words = ["serve", str(run), f"--set=deploy.port={port}", f"--set=deploy.replicas={replicas}"]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = nodes.environment if nodes else alone
    words += [f"--address={nodes.address}"] if nodes else []
    with command(words, environment, run / "serve.log") as work:

        def processes(*words: str) -> list[int]:
            if nodes is not None:
                return found(nodes, *words)
            return [pid for pid in fresh.family(work.process.pid) if all(word in _command(pid) for word in words)]

        work.until(lambda: "serving" in work.said, "the server")
        with asking(f"http://127.0.0.1:{port}", questions(Policy.load(run / "policy"))) as steady:
            yield Server(work, run, steady, processes)
        work.process.terminate()
        work.ended()


def replica(nodes: Nodes, folder: Path) -> Outcome:
    """A replica's process is killed."""
    return _killed(nodes, folder, "a replica (SIGKILL), requests at both", REPLICA)


def proxy(nodes: Nodes, folder: Path) -> Outcome:
    """The proxy of a cluster of several nodes is killed."""
    return _killed(nodes, folder, "Serve's proxy (SIGKILL), two nodes", PROXY)


def controller(nodes: Nodes, folder: Path) -> Outcome:
    """Serve's controller is killed."""
    return _killed(nodes, folder, "Serve's controller (SIGKILL)", CONTROLLER)


def register(nodes: Nodes, folder: Path) -> Outcome:
    """The actor that keeps rows and tells replicas what to serve is killed."""
    return _killed(nodes, folder, "the register (SIGKILL), observations coming in", REGISTER)


def fast_proxy(nodes: Nodes, folder: Path) -> Outcome:
    """The proxy of a server on one machine is killed: HAProxy and the actor that keeps it."""
    return _killed(None, folder, "HAProxy and its keeper (SIGKILL), one node", PROXY, "haproxy")


def node(nodes: Nodes, folder: Path) -> Outcome:
    """A whole machine goes, with the replica on it."""
    with serving(nodes, folder) as server:
        victim = next(one for one in reversed(nodes.members) if one.processes(REPLICA))
        if victim is nodes.members[0]:
            raise Missed("both replicas are on the head: they are not spread over the nodes")
        before, fault = server.processes(REPLICA), Fault.now()
        victim.kill()
        seconds = server.steady.calm(fault)
        back = server.back(REPLICA, before, 1, fault)
        server.steady.calm(settled := Fault.now())
    return _told("a whole node with one of two replicas", server, fault, settled, seconds, back)


def _killed(nodes: Nodes | None, folder: Path, case: str, *names: str) -> Outcome:
    """What comes of a process of each of these names being killed at once."""
    with serving(nodes, folder) as server:
        gone = {name: server.processes(name)[:1] if name == REPLICA else server.processes(name) for name in names}
        if missing := [name for name, pids in gone.items() if not pids]:
            raise Missed(f"no process {missing[0]} to kill")
        before, fault = {name: server.processes(name) for name in names}, Fault.now()
        for pid in {pid for pids in gone.values() for pid in pids}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        back = max(server.back(name, before[name], 1, fault) for name in names)
        seconds = server.steady.calm(fault)
        server.steady.calm(settled := Fault.now())
    return _told(case, server, fault, settled, seconds, back)


def _told(case: str, server: Server, fault: Fault, settled: Fault, seconds: float, back: float) -> Outcome:
    """The outcome of a server that has ended.

    Args:
        settled: from when on nothing more may fail.
        seconds: for how long requests failed.
        back: after which what was killed was there again.
    """
    late = sum(one.kind != "ok" for one in server.steady.asked if one.ended_seconds > settled.at_seconds)
    wrong = [*server.steady.wrong(), *server.work.not_well(), *server.unkept()]
    wrong += [f"{late} requests failed after all was well again"] if late else []
    kept = f"all {len(server.steady.acknowledged)} acknowledged observations kept"
    errors = f"for {seconds:.1f} s, none wrong" if seconds else "none wrong"
    result = f"{server.steady.told(fault)} {errors}; a new process after {back:.1f} s; {kept}"
    return judged(case, result, max(seconds, back), wrong)


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
