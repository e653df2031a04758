"""What each process of a stage asks of the cluster, in the words of Ray's libraries, and whether its nodes could ever hold it.

The one place that reads ``resources`` of the YAML. Knows nothing of what the processes do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lstm_ray import progress
from lstm_ray.errors import InputError
from lstm_ray.sections.resources import COUNTED_BY, ResourcesConfig, Stage, meets

GRAIN = 1 / 16
"""What is derived is a multiple of this: an exact binary fraction, for Ray adds shares up and divides nodes by them."""
POLL_SECONDS = 0.5
MOST_NODES = 8
"""That an error names."""
SLACK = 1e-6
"""Sums of shares are no exact numbers; Ray itself counts in units of 1e-4."""


@dataclass(frozen=True)
class Node:
    """What one machine of the cluster offers in all, whoever holds it now."""

    id: str
    address: str
    offers: Mapping[str, float]
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Process:
    """What one process of a stage asks for."""

    stage: Stage
    amounts: Mapping[str, float]
    """By Ray's names: CPU, GPU, memory in bytes, and custom ones."""
    labels: Mapping[str, str]
    placement: Literal["auto", "spread", "pack"] = "auto"

    @property
    def cpus(self) -> float:
        return self.amounts.get("CPU", 0.0)

    def with_cpus(self, cpus: float) -> Process:
        return replace(self, amounts={**self.amounts, "CPU": cpus})

    def options(self) -> dict[str, Any]:
        """For a task or an actor: ``.options(**process.options())``."""
        return {**self._held(), **self._placed()}

    def replica(self) -> dict[str, Any]:
        """Serve's ``ray_actor_options``. Where replicas go Serve decides by itself, but for labels."""
        return self._held()

    def scaling(self) -> dict[str, Any]:
        """Of Ray Train's ``ScalingConfig``: what each worker is given, and where."""
        return {
            "use_gpu": self.amounts.get("GPU", 0.0) > 0,
            "resources_per_worker": {name: amount for name, amount in self.amounts.items() if amount or name == "CPU"},
            # As Ray Train has it from itself.
            "placement_strategy": "SPREAD" if self.placement == "spread" else "PACK",
            **({"label_selector": dict(self.labels)} if self.labels else {}),
        }

    def bundle(self) -> dict[str, float]:
        """Of a placement group."""
        return {name: amount for name, amount in self.amounts.items() if amount}

    def _held(self) -> dict[str, Any]:
        own = dict(self.amounts)
        found: dict[str, Any] = {"num_cpus": own.pop("CPU", 0.0), "num_gpus": own.pop("GPU", 0.0)}
        if memory := own.pop("memory", 0.0):
            found["memory"] = memory
        if own:
            found["resources"] = own
        return found | ({"label_selector": dict(self.labels)} if self.labels else {})

    def _placed(self) -> dict[str, Any]:
        if self.placement == "spread":
            return {"scheduling_strategy": "SPREAD"}
        if self.placement == "auto" or not (found := _eligible(self, nodes())):
            return {}
        largest = max(found, key=lambda node: (held_by(node, self), node.id))
        # Whatever finds no room there goes where Ray finds best: soft alone would wait for that very node.
        packed = NodeAffinitySchedulingStrategy(largest.id, soft=True, _spill_on_unavailable=True)
        return {"scheduling_strategy": packed}


def process(resources: ResourcesConfig, stage: Stage, cpus: float, gpus: float = 0.0) -> Process:
    """What the YAML says, and of what it leaves out the CPUs and GPUs that are given here."""
    share = resources.of(stage)
    amounts = {"CPU": cpus if share.cpus is None else share.cpus, "GPU": gpus if share.gpus is None else share.gpus}
    if share.memory_bytes is not None:
        amounts["memory"] = share.memory_bytes
    return Process(stage, {**amounts, **share.custom}, share.labels, resources.placement)


def nodes() -> list[Node]:
    """Those that are alive, with what each offers in all."""
    return [
        Node(node["NodeID"], node["NodeManagerAddress"], node["Resources"], node.get("Labels") or {})
        for node in ray.nodes()
        if node["Alive"]
    ]


def free_nodes() -> list[Node]:
    """Those that are alive, with what nobody holds on each now."""
    free = ray._private.state.available_resources_per_node()
    return [replace(node, offers=free.get(node.id, {})) for node in nodes()]


def held_by(node: Node, asked: Process) -> int:
    """Processes that a node could hold if it held nothing else."""
    if not meets(node.labels, asked.labels):
        return 0
    return _times(node.offers, asked)


def held(asked: Process, found: Sequence[Node] | None = None) -> int:
    """Processes that the cluster could hold if it held nothing else. They are alike, so each node is filled by itself."""
    return sum(held_by(node, asked) for node in (nodes() if found is None else found))


def total(kind: str, asked: Process, found: Sequence[Node] | None = None) -> float:
    """Of CPU or GPU, on the nodes whose labels it may run on."""
    return sum(node.offers.get(kind, 0.0) for node in _eligible(asked, nodes() if found is None else found))


def largest(asked: Process) -> float:
    """CPUs of the largest node that it may run on; 0.0: there is none."""
    return max((node.offers.get("CPU", 0.0) for node in _eligible(asked, nodes())), default=0.0)


def left(asked: Process, num: int, found: Sequence[Node]) -> float:
    """CPUs that some node has left once so many processes were placed; of the orders in which Ray may do that, the worst."""
    fewest = math.inf
    for is_reversed in (False, True):
        free = [node.offers.get("CPU", 0.0) for node in sorted(found, key=_cpus, reverse=is_reversed)]
        room = [held_by(node, asked) for node in sorted(found, key=_cpus, reverse=is_reversed)]
        for _ in range(num):
            open_to = [index for index in range(len(free)) if room[index] > 0]
            if not open_to:
                break
            index = max(open_to, key=lambda index: room[index]) if asked.placement == "spread" else open_to[0]
            free[index] -= asked.cpus
            room[index] -= 1
        fewest = min(fewest, max(free, default=0.0))
    return fewest


def grain(amount: float) -> float:
    """At most so much, in whole grains."""
    return math.floor(amount / GRAIN + SLACK) * GRAIN


def derived(asked: Process, num: int, cpus: float, kept: float = 0.0, found: Sequence[Node] | None = None) -> Process:
    """With so many CPUs, or as many fewer as let the nodes hold all, one of them keeping some for others."""
    found = nodes() if found is None else found
    shares = (step * GRAIN for step in range(max(1, round(grain(cpus) / GRAIN)), 0, -1))
    tried = [asked.with_cpus(share) for share in shares]
    # What no share brings about is said by wait_for.
    return next((one for one in tried if held(one, found) >= num and left(one, num, found) >= kept), tried[-1])


def with_gpus(asked: Process, num: int, found: Sequence[Node]) -> Process:
    """With the most of a GPU, one at most, that so many processes could all have at once; as it is where some would get none:
    those would wait, or all crowd on one node."""
    if not any(node.offers.get("GPU") for node in found):
        return asked
    # Ray counts in units of 1e-4; two thirds of a GPU would leave a third that nobody can take.
    shares = (math.floor(1e4 / part) / 1e4 for part in range(1, num + 1))
    tried = (replace(asked, amounts={**asked.amounts, "GPU": share}) for share in shares)
    return next((one for one in tried if held(one, found) >= num), asked)


def room(asked: Process, data_cpus: float) -> float:
    """CPUs for processes of this kind, with those that are Ray Data's left free; half of a cluster that has no more than
    those."""
    found = nodes()
    every, own = sum(map(_cpus, found)), total("CPU", asked, found)
    if data_cpus < every:
        return min(own, every - data_cpus)
    progress.note(
        f"the cluster has {_amount('CPU', every)}, no more than resources.data_cpus {data_cpus:g}: they are halved"
    )
    return min(own, every / 2)


def beside(asked: Process, num: int, cpus: float) -> float:
    """CPUs, at most so many, that a task may ask for and find on some node beside so many processes.

    Raises InputError where none are left on any.
    """
    free = left(asked, num, nodes())
    if free < GRAIN:
        raise InputError(
            f"resources.{asked.stage}: {_asked(asked, num, 0.0)} would fill every node, and leave no CPU on any of them to Ray "
            f"Data, which feeds them; lower resources.{asked.stage}.cpus, set train.read: memory, or add nodes"
        )
    return grain(min(cpus, free))


def wait_for(asked: Process, num: int, resources: ResourcesConfig, beside_cpus: float = 0.0) -> None:
    """Wait for nodes that could hold so many processes, each whoever may hold it now, and CPUs beside them.

    Raises InputError after ``resources.wait_seconds``, which says what is missing.
    """
    if _fits(asked, num, beside_cpus, nodes()):
        return
    seconds = resources.wait_seconds
    words = f"resources.{asked.stage}: {_asked(asked, num, beside_cpus)}"
    if seconds and _came(asked, num, beside_cpus, words, seconds):
        return
    raise InputError(_missing(asked, num, beside_cpus, words, seconds, nodes()))


def _came(asked: Process, num: int, beside_cpus: float, words: str, seconds: float) -> bool:
    progress.note(f"{words}: no nodes could hold that; waiting up to {seconds:g} s for more")
    deadline = time.monotonic() + seconds
    with _demanded(asked, num):
        while time.monotonic() < deadline:
            time.sleep(min(POLL_SECONDS, seconds))
            if _fits(asked, num, beside_cpus, nodes()):
                return True
    return False


def _fits(asked: Process, num: int, beside_cpus: float, found: Sequence[Node]) -> bool:
    all_cpus = sum(map(_cpus, found))
    return held(asked, found) >= num and (not beside_cpus or all_cpus - num * asked.cpus + SLACK >= beside_cpus)


@contextmanager
def _demanded(asked: Process, num: int) -> Iterator[None]:
    """An autoscaler sees what is waited for: as a placement group, which ends with the wait or with this process.

    ``request_resources`` would hold for the whole cluster, in place of what others asked for, and outlive this process.
    """
    selector = {"bundle_label_selector": [dict(asked.labels)] * num} if asked.labels else {}
    strategy = "SPREAD" if asked.placement == "spread" else "PACK"
    group = placement_group([asked.bundle()] * num, strategy, **selector) if asked.bundle() else None
    try:
        yield
    finally:
        if group is not None and ray.is_initialized():
            remove_placement_group(group)


def _missing(asked: Process, num: int, beside_cpus: float, words: str, seconds: float, found: Sequence[Node]) -> str:
    """The error: what was asked for, how much of it there is, what is missing, what each node offers, and the fix."""
    able, eligible = held(asked, found), _eligible(asked, found)
    where = f" on nodes with {_labels(asked.labels)}" if asked.labels else ""
    lacks = [
        f"{_amount(kind, (num - able) * need)}{where}"
        for kind, need in asked.amounts.items()
        if need and sum(_times(node.offers, replace(asked, amounts={kind: need})) for node in eligible) < num
    ]
    if asked.labels and not eligible:
        missing = f"no node has {_labels(asked.labels)}"
    elif able >= num:
        rest = sum(map(_cpus, found)) - num * asked.cpus
        missing = f"{_amount('CPU', beside_cpus - rest)} more, for resources.data_cpus {beside_cpus:g}"
    elif lacks:
        missing = f"{' and '.join(lacks)}, so that each process fits on one node"
    else:
        missing = f"nodes that have all of it at once{where}"
    after = f" after {seconds:g} s" if seconds else ""
    shown = "; ".join(_offer(node, asked) for node in found[:MOST_NODES])
    more = f"; and {len(found) - MOST_NODES:,} more" if len(found) > MOST_NODES else ""
    counted = COUNTED_BY.get(asked.stage)
    fix = f"Lower resources.{asked.stage}{f' or {counted}' if counted else ''}, add nodes,"
    if asked.labels and not eligible:
        fix = f"Change resources.{asked.stage}.labels, start nodes that meet them (ray start --labels key=value),"
    return (
        f"{words} {'was' if num == 1 else 'were'} asked for, and the cluster could hold {able:,} of {num:,}{after}. "
        f"Missing: {missing}. Nodes: {shown or 'none'}{more}. {fix} or raise resources.wait_seconds where nodes are still to "
        "come"
    )


def _asked(asked: Process, num: int, beside_cpus: float) -> str:
    amounts = ", ".join(_amount(kind, need) for kind, need in asked.amounts.items() if need) or "nothing"
    where = f" on nodes with {_labels(asked.labels)}" if asked.labels else ""
    beside = f", beside {_amount('CPU', beside_cpus)} for Ray Data" if beside_cpus else ""
    return f"{num:,} {'process' if num == 1 else 'processes'} with {amounts}{' each' * (num > 1)}{where}{beside}"


def _offer(node: Node, asked: Process) -> str:
    """A node in a few words: of what was asked for."""
    kinds = dict.fromkeys(["CPU", *(kind for kind, need in asked.amounts.items() if need)])
    own = {key: node.labels[key] for key in asked.labels if key in node.labels}
    offers = ", ".join(_amount(kind, node.offers.get(kind, 0.0)) for kind in kinds)
    labels = f", {_labels(own) if own else 'without that label'}" if asked.labels else ""
    return f"{node.address} {offers}{labels}"


def _amount(kind: str, amount: float) -> str:
    if kind == "memory":
        return f"{amount / 1e9:.3g} GB of memory"
    return f"{amount:g} {kind}{'s' * (kind in ('CPU', 'GPU') and amount != 1)}"


def _labels(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in labels.items())


def _times(offers: Mapping[str, float], asked: Process) -> int:
    counts = [math.floor(offers.get(kind, 0.0) / need + SLACK) for kind, need in asked.amounts.items() if need]
    return min(counts, default=10**6)


def _eligible(asked: Process, found: Sequence[Node]) -> list[Node]:
    return [node for node in found if meets(node.labels, asked.labels)]


def _cpus(node: Node) -> float:
    return node.offers.get("CPU", 0.0)
