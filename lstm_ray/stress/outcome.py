"""Everything that a server showed under load, and what of it broke. Pure; knows no server and no page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.sections.operate import StressConfig
from lstm_ray.stress.bodies import HUNG_UP, Hostile
from lstm_ray.stress.curve import MAX_FAILED, MAX_SHED, Capacity, Knee, Step
from lstm_ray.stress.leaks import Growth
from lstm_ray.stress.loading import Requests
from lstm_ray.stress.overload import Outage, Recovery, Shedding, Timeline
from lstm_ray.stress.processes import Sample

NO_ANSWER = "no answer"
UNAVAILABLE = 503


@dataclass(frozen=True)
class Used:
    """What a stretch of load took of the machine; None where that was not seen."""

    machine: float | None
    """Share of all its cores."""
    replicas: float | None
    """Cores."""
    proxy: float | None
    """Cores."""
    others: float | None = None
    """Cores that neither the server nor the generator used."""


@dataclass(frozen=True)
class Refused:
    """What one kind of hostile request got."""

    name: str
    right: list[int]
    statuses: dict[str, int]
    """How often it got each, those turned away beside."""
    away: int
    wrong: int
    """Answers that were neither right nor a turning away."""

    @property
    def asked(self) -> int:
        return sum(self.statuses.values()) + self.away


@dataclass(frozen=True)
class Outcome:
    """A server's behaviour under every load that it was put under."""

    config: StressConfig
    deploy: DeployConfig | None
    """None: the server was not started here, and how it is set is not known."""
    steps: list[Step]
    used: list[Used]
    """Of each step."""
    capacity: Capacity
    knee: Knee | None
    shedding: Shedding
    steady_users: int
    """Of the loads before and after the spike, of the soak and of the kill."""
    spike: Step | None = None
    recovery: Recovery | None = None
    spike_time: Timeline | None = None
    soak: Step | None = None
    growths: list[Growth] = field(default_factory=list)
    soak_samples: list[Sample] = field(default_factory=list)
    outage: Outage | None = None
    outage_time: Timeline | None = None
    refused: list[Refused] = field(default_factory=list)
    slow: dict[str, int] = field(default_factory=dict)
    """What slow clients got, by status."""
    faults: dict[str, int] = field(default_factory=dict)
    """What valid and slow requests got that they should not have, by status, outside of the kill."""
    crashed: list[str] = field(default_factory=list)
    """Processes that ended without being killed here, and during what."""
    first: str = ""
    """What gave way first, and at which load; empty where nothing did."""

    @property
    def broken(self) -> list[str]:
        """Why the server broke, each in a few words; a server that only turned requests away or was slow did not."""
        why = list(self.crashed)
        why += [
            f"{number:,} valid requests were answered with {status}"
            for status, number in self.faults.items()
            if status.startswith("5") and status != str(UNAVAILABLE)
        ]
        why += [
            f"{one.name} was answered with {_other(one)}"
            for one in self.refused
            if one.wrong and set(_others(one)) - {NO_ANSWER}
        ]
        if self.outage is not None and not (self.outage.answering and self.outage.back_seconds is not None):
            why.append("the server did not come back after a replica was killed")
        return why

    @property
    def generator(self) -> float | None:
        """The largest share of its core that the generator needed."""
        loads = [*self.steps, *([self.spike] if self.spike else [])]
        return max((step.generator for step in loads if step.generator is not None), default=None)

    def as_dict(self) -> dict[str, Any]:
        """Plain values: what ``report.json`` holds."""
        return {
            "config": self.config.model_dump(),
            "deploy": None if self.deploy is None else self.deploy.model_dump(),
            "steps": [{**step.as_dict(), **asdict(used)} for step, used in zip(self.steps, self.used, strict=True)],
            "capacity": self.capacity.as_dict(),
            "knee": None if self.knee is None else self.knee.as_dict(),
            "shedding": self.shedding.as_dict(),
            "steady_users": self.steady_users,
            "spike": None if self.spike is None else self.spike.as_dict(),
            "recovery": None if self.recovery is None else self.recovery.as_dict(),
            "spike_time": None if self.spike_time is None else asdict(self.spike_time),
            "soak": None if self.soak is None else self.soak.as_dict(),
            "growths": [growth.as_dict() for growth in self.growths],
            "soak_samples": [asdict(sample) for sample in self.soak_samples],
            "outage": None if self.outage is None else self.outage.as_dict(),
            "outage_time": None if self.outage_time is None else asdict(self.outage_time),
            "refused": [asdict(one) for one in self.refused],
            "slow": self.slow,
            "faults": self.faults,
            "crashed": self.crashed,
            "first": self.first,
            "generator": self.generator,
            "broken": self.broken,
        }


def _others(one: Refused) -> list[str]:
    return [status for status in one.statuses if status not in map(str, one.right)]


def _other(one: Refused) -> str:
    told = [f"{status} ({one.statuses[status]:,} times)" for status in _others(one)]
    return f"{', '.join(told)} instead of {' or '.join(map(str, one.right))}"


def refused_of(requests: Sequence[Requests], cases: Sequence[Hostile]) -> list[Refused]:
    """What each hostile case got, over several loads."""
    found = []
    for number, case in enumerate(cases):
        mine = [one.of("hostile") for one in requests]
        mine = [one.where(one.case_M == number) for one in mine]
        got = Counter(named(int(status), case) for one in mine for status in one.where(~one.away_M).status_M)
        right = {named(status, case) for status in case.right}
        wrong = sum(times for status, times in got.items() if status not in right)
        found.append(Refused(case.name, case.right, dict(got), sum(int(one.away_M.sum()) for one in mine), wrong))
    return found


def named(status: int, case: Hostile | None = None) -> str:
    """A status as it is told."""
    if status:
        return str(status)
    return str(HUNG_UP) if case is not None and HUNG_UP in case.right else NO_ANSWER


def statuses(requests: Sequence[Requests], kind: str) -> dict[str, int]:
    """How often a kind of client got what, turned away or not."""
    return dict(Counter(named(int(status)) for one in requests for status in one.of(kind).status_M).most_common())


def faults_of(requests: Sequence[Requests]) -> dict[str, int]:
    """What valid and slow clients got, truths that they brought among it, that is neither an answer nor a turning away."""
    lost = [one.of(kind).failed for one in requests for kind in ("valid", "slow", "truths")]
    return dict(Counter(named(int(status)) for one in lost for status in one.status_M).most_common())


def first_of(steps: Sequence[Step], p99_ms: float) -> str:
    """What gave way first as clients were added, in words; empty where all held."""
    for step in sorted(steps, key=lambda step: step.users):
        clients = f"at {step.users:,} client{'s' if step.users > 1 else ''}"
        if step.p99_ms is None:
            return f"nobody was answered {clients}"
        if step.failed > MAX_FAILED:
            return f"requests failed ({100 * step.failed:.2g} %) {clients}"
        if step.shed > MAX_SHED:
            return f"requests were turned away ({100 * step.shed:.2g} %) {clients}"
        if step.p99_ms > p99_ms:
            return f"the p99 passed {p99_ms:g} ms ({step.p99_ms:.0f} ms) {clients}"
    return ""
