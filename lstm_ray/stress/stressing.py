"""A policy's server put under every load in turn. Composes; the judging is done by the pure modules beside."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from lstm_ray import progress
from lstm_ray.config import Config, with_values
from lstm_ray.errors import InputError, nearest
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray.serve import QUEUE_FACTOR
from lstm_ray.on_ray.stress import Stressed, stressed
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.sections.operate import StressConfig
from lstm_ray.serving.bundle import find, unpack
from lstm_ray.serving.gate import RETRY_SECONDS
from lstm_ray.serving.proof import READY_SECONDS, route
from lstm_ray.serving.stress import closed_loop
from lstm_ray.stress import bodies
from lstm_ray.stress.curve import Capacity, capacity_of, knee_of, step_of
from lstm_ray.stress.leaks import growths_of
from lstm_ray.stress.loading import Clients, Loaded, Phase, load, require_locust
from lstm_ray.stress.outcome import Outcome, Used, faults_of, first_of, refused_of, statuses
from lstm_ray.stress.overload import Places, outage_of, recovery_of, shedding_of, timeline_of
from lstm_ray.stress.processes import PROC, Samples, sampled

WARM_UP_SECONDS = 1.0
CALM_SECONDS, AFTER_SECONDS = 3.0, 10.0
"""Steady load before a spike, and after it: as long as the spike, from the first to the second."""
KILL_AFTER_SECONDS, KILL_SETTLE_SECONDS, KILL_MOST_SECONDS = 2.0, 3.0, 90.0
"""Of steady load before a replica is killed, after it has a successor, and in all."""
SECTIONS: dict[str, type[Any]] = {"stress": StressConfig, "deploy": DeployConfig}


@dataclass
class Work:
    """What every load needs, and what all of them left."""

    clients: Clients
    config: StressConfig
    server: Stressed | None
    samples: Samples
    folder: Path
    advance: Callable[[str], None]
    loads: list[Loaded] = field(default_factory=list)
    """Without that of the kill."""
    crashed: list[str] = field(default_factory=list)

    def load(self, name: str, phases: Sequence[Phase]) -> Loaded:
        """One load, the bar moving with it; a process of the server that another has replaced meanwhile is noted."""
        before = self._processes()
        found = load(
            self.clients, phases, self._place(name), self.ticking(name, sum(phase.seconds for phase in phases))
        )
        self.loads.append(found)
        after = self._processes()
        self.crashed += [
            f"{role} ended during the {name}" for role in before if set(before[role]) - set(after.get(role, []))
        ]
        return found

    def ticking(self, name: str, seconds: float) -> Callable[[float], bool]:
        told = 0

        def on_look(passed: float) -> bool:
            nonlocal told
            while told < min(passed, seconds) - 1:
                told += 1
                self.advance(name)
            return False

        return on_look

    def _place(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        return folder

    def _processes(self) -> dict[str, list[int]]:
        if self.server is None:
            return {}
        register = self.server.register
        lives = (PROC / str(register)).exists()
        return {"a replica": self.server.running(), "the register": [register] if lives else []}


def configured(policy: Policy, overrides: Sequence[str]) -> Config:
    """The policy's own configuration with other ``stress`` and ``deploy`` fields. Raises InputError for any other."""
    values = {}
    for override in overrides:
        path, equals, text = override.partition("=")
        section, _, name = path.partition(".")
        if not equals or section not in SECTIONS or name not in SECTIONS[section].model_fields:
            known = [f"{one}.{field}" for one, kind in SECTIONS.items() for field in kind.model_fields]
            raise InputError(
                f"--set {override!r}: a trained policy can be put under load with other stress and deploy fields "
                f"alone{nearest(path, known)}"
            )
        values[path] = yaml.safe_load(text)
    return with_values(policy.config, values)


def stress(
    source: str, overrides: Sequence[str] = (), url: str = "", token_variable: str = ""
) -> tuple[Policy, Outcome]:
    """Put the policy of a run under load: on a server started here, or on one that runs.

    Args:
        url: root of a running server that serves this policy, or one that takes the same requests.
        token_variable: environment variable that holds the token that it asks for; none: ``deploy.token_variable``, where that
            is set.

    Raises:
        InputError: no policy there, settings that cannot be served, or a server that does not answer the policy's example.
        LoadFailedError: the generator broke.
    """
    require_locust()
    files = find(source)
    policy = unpack(files)
    config = configured(policy, overrides)
    token = _token(config.deploy, token_variable)
    starting = nullcontext(None) if url else stressed(files, config.deploy, source, config.resources)
    with starting as server, tempfile.TemporaryDirectory(prefix="lstm-ray-stress-") as folder:
        root = (server.url if server else url).rstrip("/")
        clients = _clients(policy, config, root, server.token if server else token, server is not None)
        _require_answers(clients)
        closed_loop(clients.url, [body.encode() for body in clients.valid], 2, WARM_UP_SECONDS, clients.token or None)
        with _bar(config.stress, server) as advance, sampled(server.roles if server else dict) as samples:
            work = Work(clients, config.stress, server, samples, Path(folder), advance)
            return policy, _loads(work, config.deploy if server else None)


def _token(deploy: DeployConfig, variable: str) -> str:
    """Raises InputError where a variable that was asked for is not set."""
    if variable and variable not in os.environ:
        raise InputError(f"the variable {variable} is not set; put the server's token into it")
    return os.environ.get(variable or deploy.token_variable, "").strip()


def _clients(policy: Policy, config: Config, root: str, token: str, ours: bool) -> Clients:
    most, shares = config.deploy.max_body_bytes, config.stress
    valid = bodies.valid(policy, most, named=ours)
    return Clients(
        url=f"{root}{route(policy)}",
        base=urlsplit(root).path,
        valid=valid,
        hostile=bodies.hostile(policy, most, asks_token=bool(token)),
        shares={"valid": 1 - shares.slow - shares.hostile, "slow": shares.slow, "hostile": shares.hostile},
        token=token,
        truths=bodies.truths(policy, valid, most),
    )


def _require_answers(clients: Clients) -> None:
    headers = {"content-type": "application/json"}
    if clients.token:
        headers["authorization"] = f"Bearer {clients.token}"
    try:
        found = httpx.post(clients.url, content=clients.valid[0], headers=headers, timeout=READY_SECONDS)
    except (httpx.TransportError, httpx.UnsupportedProtocol) as error:
        raise InputError(
            f"nothing answers at {clients.url}: {error}; name the server's root, such as http://127.0.0.1:8000"
        ) from None
    if found.status_code != 200:
        raise InputError(
            f"{clients.url} answers this policy's example with {found.status_code}: {found.text[:300]}; name a server that "
            "serves this policy, and the variable that holds its token"
        )


@contextmanager
def _bar(config: StressConfig, server: Stressed | None) -> Iterator[Callable[[str], None]]:
    calm = CALM_SECONDS + _after(config) + config.spike_seconds if config.spike_users else 0
    kill = 20.0 if config.kill_replica and server else 0
    total = len(config.users) * config.step_seconds + calm + config.soak_seconds + kill
    with progress.bar("stress, seconds", max(1, round(total))) as advance:
        yield advance


def _after(config: StressConfig) -> float:
    return min(max(config.spike_seconds, CALM_SECONDS), AFTER_SECONDS)


def _loads(work: Work, deploy: DeployConfig | None) -> Outcome:
    config = work.config
    users = sorted(set(config.users))
    stepped = work.load("steps", [Phase(number, config.step_seconds) for number in users])
    between = list(zip(stepped.starts, stepped.starts[1:], strict=False))
    steps = [step_of(stepped, number, *times) for number, times in zip(users, between, strict=True)]
    capacity = capacity_of(steps, config.p99_ms)
    steady = _steady(capacity)
    spiked = _spike(work, steady) if config.spike_users else {}
    soaked = _soak(work, steady) if config.soak_seconds else {}
    borne = [one.requests for one in work.loads]
    killed = _kill(work, steady) if config.kill_replica and work.server else {}
    spike = spiked.get("spike")
    loads = [*steps, *([spike] if spike else [])]
    return Outcome(
        config=config,
        deploy=deploy,
        steps=steps,
        used=[_used(work.samples, step.generator, *times) for step, times in zip(steps, between, strict=True)],
        capacity=capacity,
        knee=knee_of(steps),
        shedding=shedding_of(loads, config.p99_ms, places_of(deploy) if deploy else None),
        steady_users=steady,
        refused=refused_of(borne, work.clients.hostile) if config.hostile else [],
        slow=statuses(borne, "slow"),
        faults=faults_of(borne),
        crashed=work.crashed,
        first=first_of(loads, config.p99_ms),
        **spiked,
        **soaked,
        **killed,
    )


def places_of(deploy: DeployConfig) -> Places:
    """Of all replicas together."""
    working = deploy.replicas * deploy.max_ongoing_requests
    return Places(working, QUEUE_FACTOR * working, RETRY_SECONDS)


def _steady(capacity: Capacity) -> int:
    """Clients of a load that should be borne easily: half of the capacity."""
    return max(1, round((capacity.users or 1) / 2))


def _spike(work: Work, steady: int) -> dict[str, Any]:
    """Fields of an outcome."""
    config = work.config
    phases = [
        Phase(steady, CALM_SECONDS),
        Phase(config.spike_users, config.spike_seconds),
        Phase(steady, _after(config)),
    ]
    found = work.load("spike", phases)
    calm, spike, after, end = found.starts
    return {
        "spike": step_of(found, config.spike_users, spike, after),
        "recovery": recovery_of(found.requests, calm, spike, after, end),
        "spike_time": timeline_of(found.requests, calm, end, {"spike": spike, "its end": after}),
    }


def _soak(work: Work, steady: int) -> dict[str, Any]:
    """Fields of an outcome."""
    found = work.load("soak", [Phase(steady, work.config.soak_seconds)])
    samples = work.samples.between(*found.starts)
    return {
        "soak": step_of(found, steady, *found.starts),
        "growths": growths_of(samples, work.config.max_memory_growth),
        "soak_samples": [replace(sample, time=sample.time - found.starts[0]) for sample in samples],
    }


def _kill(work: Work, steady: int) -> dict[str, Any]:
    """Fields of an outcome. Kill a replica in mid-load, and go on until it has had a successor for a while."""
    server = work.server
    assert server is not None, "a replica is killed where the server is started here"
    killed: float | None = None
    back: float | None = None
    gone = 0
    tick = work.ticking("kill", KILL_MOST_SECONDS)

    def on_look(passed: float) -> bool:
        nonlocal killed, back, gone
        tick(passed)
        if passed < KILL_AFTER_SECONDS:
            return False
        if killed is None:
            gone, killed = server.kill(), monotonic()
            progress.note(f"replica {gone} was killed on purpose; Ray tells of a worker that died")
        elif back is None:
            pids = server.running()
            back = monotonic() if gone not in pids and len(pids) == server.replicas else None
        return back is not None and monotonic() > back + KILL_SETTLE_SECONDS

    folder = work.folder / "kill"
    folder.mkdir()
    found = load(work.clients, [Phase(steady, KILL_MOST_SECONDS)], folder, on_look)
    assert killed is not None, "the load lasts longer than the wait before the kill"
    first, end = found.starts
    marks = {"replica killed": killed} | ({} if back is None else {"successor": back})
    return {
        "outage": outage_of(found.requests, killed, end, server.replicas, back),
        "outage_time": timeline_of(found.requests, first, end, marks),
    }


def _used(samples: Samples, generator: float | None, first: float, last: float) -> Used:
    machine = samples.machine_share(first, last)
    replicas, proxy, register = (samples.cores(role, first, last) for role in ("replicas", "proxy", "register"))
    known = (generator, replicas, proxy, register)
    others = None
    if machine is not None and None not in known:
        others = max(0.0, machine * (os.cpu_count() or 1) - sum(used for used in known if used is not None))
    return Used(machine, replicas, proxy, others)
