"""The doctor on a Ray cluster: joins it, asks a task on every node what its machine is, and judges them side by side."""

from __future__ import annotations

import os
import time
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lstm_ray.doctor import access
from lstm_ray.doctor.checks import Check, well
from lstm_ray.doctor.judging import LEAST_OBJECT_STORE_BYTES, clock, judged, same_versions, skew_seconds
from lstm_ray.doctor.machine import Machine, this_machine
from lstm_ray.errors import InputError, without_credentials
from lstm_ray.on_ray import cluster

NODE_SECONDS = 60.0
"""For which a node may keep a task of no CPU waiting."""
CLOCK_READINGS = 5
MOST_SAID = 300
"""Characters of Ray's own words that are passed on."""


def cluster_checks(address: str) -> list[Check]:
    """All checks of the cluster at an address; it is left as it was."""
    host, _, port = address.rpartition(":")
    if address != "auto" and not (host and port.isdigit() and "/" not in host):
        advice = "name the HOST:PORT where drivers join it, such as 10.0.0.1:6379"
        advice += (
            "; http:// is its dashboard and job server, for `lstm-ray submit`" if address.startswith("http") else ""
        )
        return [
            Check("cluster", "wrong", f"--address '{without_credentials(address)}' is no address of a cluster", advice)
        ]
    was_connected = ray.is_initialized()
    os.environ["RAY_ADDRESS"] = address
    try:
        cluster.ensure()
    except InputError as error:
        return [Check("cluster", "wrong", str(error))]
    try:
        return _of_cluster(address)
    finally:
        if not was_connected:
            ray.shutdown()


def _of_cluster(address: str) -> list[Check]:
    nodes = ray.nodes()
    alive = {name_of(node): node for node in nodes if node["Alive"]}
    total = ray.cluster_resources()
    cpus, gpus = total.get("CPU", 0.0), total.get("GPU", 0.0)
    text = f"'{address}' has {len(alive)} nodes, {cpus:g} CPUs, {gpus:g} GPUs, {total.get('memory', 0) / 1e9:.3g} GB"
    found = [
        well("cluster", text)
        if cpus
        else Check("cluster", "wrong", f"{text}: nothing can be computed", "add a node with CPUs")
    ]
    found += [
        Check(
            "node",
            "warning",
            f"left the cluster: {_short(node.get('DeathReasonMessage') or 'no reason was told')}",
            "look into raylet.out there, if it was not meant to go",
            name_of(node),
        )
        for node in nodes
        if not node["Alive"] and name_of(node) not in alive
    ]
    found += access.dashboard(_session().get("webui_url") or "")
    machines, failed = _asked(alive)
    found += failed
    for where, machine in machines.items():
        found += judged(machine, where)
        found += _as_ray_sees_it(alive[where], machine, where)
        try:
            found.append(clock(_skew_seconds(alive[where]), where))
        except RayError as error:
            found.append(Check("node", "wrong", *_why(error), where))
    return [*found, *same_versions(this_machine(), machines)] if machines else found


def _session() -> dict[str, Any]:
    """What Ray tells whoever joins of where its dashboard and its folder of temporary files are."""
    node = ray._private.worker.global_worker.node
    assert node is not None, "a driver that has joined"
    return dict(node.address_info)


def name_of(node: dict[str, Any]) -> str:
    """By which a node is told: its address, which is one alone even where nodes share a machine."""
    return str(node["NodeManagerAddress"])


def _asked(alive: dict[str, dict[str, Any]]) -> tuple[dict[str, Machine], list[Check]]:
    """What each node's machine is, by the node's name; and a check for each that did not tell."""
    session = _session()["session_dir"]
    waiting = {where: _machine.options(**_on(node)).remote(session) for where, node in alive.items()}
    machines, failed, deadline = {}, [], time.monotonic() + NODE_SECONDS
    for where, answer in waiting.items():
        try:
            machines[where] = ray.get(answer, timeout=max(0.1, deadline - time.monotonic()))
        except GetTimeoutError:
            ray.cancel(answer, force=True)
            text = f"does not answer a task within {NODE_SECONDS:g} s"
            failed.append(Check("node", "wrong", text, "look into raylet.out and worker logs there, or end it", where))
        except RayError as error:
            failed.append(Check("node", "wrong", *_why(error), where))
    return machines, failed


def _why(error: RayError) -> tuple[str, str]:
    """What a task says that failed on a node, and what mends it."""
    said = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
    if "No module named" in str(error):
        missing = str(error).rpartition("No module named")[2].strip(" '\n")
        package = "lstm-ray" if missing.startswith("lstm_ray") else missing
        return (
            f"no package '{package}' there",
            f"install '{package}' there: 'pip install lstm-ray[train]', or its image",
        )
    return f"a task fails there: {_short(said)}", "look into the worker logs there"


def _as_ray_sees_it(node: dict[str, Any], machine: Machine, where: str) -> list[Check]:
    """A node offers what it was started with: more than its machine has is a promise that it breaks."""
    offered = node["Resources"]
    found = []
    memory = offered.get("memory", 0.0) + offered.get("object_store_memory", 0.0)
    if memory > machine.allowed_memory_bytes:
        text = f"Ray counts {memory / 1e9:.3g} GB on a machine that may use {machine.allowed_memory_bytes / 1e9:.3g} GB"
        found.append(Check("memory for Ray", "warning", text, "`ray start --memory` and --object-store-memory", where))
    if offered.get("CPU", 0.0) > max(1.0, machine.allowed_cpus):
        text = f"Ray counts {offered['CPU']:g} CPUs on a machine that may use {machine.allowed_cpus:g}"
        found.append(Check("CPUs for Ray", "warning", text, "`ray start --num-cpus`", where))
    store = offered.get("object_store_memory", 0.0)
    text = f"{store / 1e9:.3g} GB"
    if store <= LEAST_OBJECT_STORE_BYTES:
        found.append(
            Check(
                "object store", "warning", text, "`ray start --object-store-memory` with a third of its memory", where
            )
        )
    else:
        found.append(well("object store", text, where))
    return found


def _skew_seconds(node: dict[str, Any]) -> float:
    """Of a node's clock; of several readings the one that binds it best."""
    found = []
    for _ in range(CLOCK_READINGS):
        before = time.time()
        there = ray.get(_time.options(**_on(node)).remote(), timeout=NODE_SECONDS)
        found.append(skew_seconds(before, there, time.time()))
    # A reading that took long says little: it is 0 for whatever lies within.
    return max(found, key=abs)


def _on(node: dict[str, Any]) -> dict[str, Any]:
    strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return {"scheduling_strategy": strategy, "num_cpus": 0, "max_retries": 0}


@ray.remote
def _machine(temporary: str) -> Machine:
    return this_machine(temporary)


@ray.remote
def _time() -> float:
    return time.time()


def _short(words: str) -> str:
    return " ".join(words.split())[:MOST_SAID]
