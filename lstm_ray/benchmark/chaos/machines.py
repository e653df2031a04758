"""Cases of chaos: a whole machine goes, or its cable is slow or cut, while work runs on both machines of a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lstm_ray.benchmark.chaos import checks, network, searching, tables
from lstm_ray.benchmark.chaos.outcome import Fault, LeftOut, Outcome, judged
from lstm_ray.benchmark.chaos.training import BEGUN, EPOCHS, LONG, WORKERS, epochs_done
from lstm_ray.benchmark.chaos.work import Work
from lstm_ray.benchmark.chaos.world import World
from lstm_ray.on_ray.nodes import Nodes, running

ELASTIC = "train.workers=[1, 2]"
WORKER = "ray::RayTrainWorker"
SLOW_SECONDS, SLOW_BYTES = 0.01, 2_000_000.0
"""A packet's way, and what passes in a second."""
SHORT_SECONDS = 3.0
"""A cut that nobody need act on."""
HEALTH = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "8",
}
"""With these Ray takes a node that is not heard of for about 8 s for dead; by itself it takes over a minute."""


def train(nodes: Nodes, folder: Path) -> Outcome:
    """A machine with one of a training's two workers, which goes on with the other."""
    return _training(
        nodes, folder, "node-train", "a whole node with one of two Train workers", lambda: nodes.members[-1].kill()
    )


def stream(nodes: Nodes, folder: Path) -> Outcome:
    """A machine of a training that Ray Data feeds, which the other alone has no room for; another comes in its place."""

    def replaced() -> None:
        nodes.members[-1].kill()
        nodes.add(1)

    case = "a whole node of a streamed training, and another in its place"
    return _training(nodes, folder, "node-stream", case, replaced, None, "train.workers=1", "train.read=stream")


def rollouts(nodes: Nodes, folder: Path) -> Outcome:
    """A machine with actors that roll out what-ifs."""
    outcome = searching.rollout_actor(nodes, folder, "node-rollouts", _gone)
    return replace(outcome, case="a whole node with rollout actors")


def preprocess(nodes: Nodes, folder: Path) -> Outcome:
    """A machine that prepares blocks of a table."""
    outcome = tables.data_task(nodes, folder, "node-preprocess", _gone)
    return replace(outcome, case="a whole node, in preprocess")


def forecast(nodes: Nodes, folder: Path) -> Outcome:
    """A machine that forecasts blocks of series."""
    outcome = tables.forecast_task(nodes, folder, "node-forecast", _gone)
    return replace(outcome, case="a whole node, in a batch forecast")


def slow(nodes: Nodes, folder: Path) -> Outcome:
    """The cable to one of two Train workers becomes slow."""
    with _far() as (far, cable):

        def slower() -> None:
            cable.delay_seconds, cable.bytes_per_second = SLOW_SECONDS, SLOW_BYTES

        case = f"a node behind a slow cable ({SLOW_SECONDS * 1000:g} ms, {SLOW_BYTES / 1e6:g} MB/s), training"
        return _training(far, folder, "slow", case, slower, shrinks=False)


def cut(nodes: Nodes, folder: Path) -> Outcome:
    """The cable to one of two Train workers is cut for less time than a node is waited for."""
    with _far() as (far, cable):

        def broken() -> None:
            cable.is_cut = True
            time.sleep(SHORT_SECONDS)
            cable.is_cut = False

        case = f"a node that is cut off for {SHORT_SECONDS:g} s, training"
        return _training(far, folder, "cut", case, broken, shrinks=False)


def cut_off(nodes: Nodes, folder: Path) -> Outcome:
    """The cable to one of two Train workers is cut for good."""
    with _far() as (far, cable):

        def broken() -> None:
            cable.is_cut = True

        return _training(far, folder, "cut-off", "a node that is cut off for good, training", broken)


def cut_off_rollouts(nodes: Nodes, folder: Path) -> Outcome:
    """The cable to a machine with rollout actors is cut for good."""
    with _far() as (far, cable):

        def strike(work: Work, nodes: Nodes, words: str) -> Fault:
            work.until(lambda: nodes.members[-1].processes(words), f"'{words}' on the node that is cut off")
            cable.is_cut = True
            return Fault.now()

        outcome = searching.rollout_actor(far, folder, "cut-off-rollouts", strike)
    return replace(outcome, case="a node that is cut off for good, rollouts")


def _training(
    nodes: Nodes,
    folder: Path,
    name: str,
    case: str,
    strike: Callable[[], None],
    shrinks: bool | None = True,
    *changes: str,
) -> Outcome:
    """A training with processes on both nodes, and what comes of it where something is struck.

    Args:
        shrinks: the other node goes on alone; None: one worker goes on as one.
        changes: as of ``World.words``; none: workers as many as there are nodes.
    """
    world, run = World.at(folder), folder / f"{name}/run"
    calm = world.calm(nodes, "train", *LONG, *(changes or (WORKERS,)))
    world.before(nodes, "split", run)
    with world.working(nodes, "train", run, *LONG, *(changes or (ELASTIC,))) as work:
        work.until(lambda: epochs_done(run) >= BEGUN, f"{BEGUN} epochs")
        idle = [node.name for node in nodes.members if node.runs and not node.processes(WORKER)]
        fault = Fault.now()
        strike()
        done = epochs_done(run)
        work.until(lambda: epochs_done(run) > done, "an epoch more")
        seconds = fault.seconds()
        work.ended()
        wrong = work.not_well() or checks.training(run, calm, checks.RESIZED_TOLERANCE)
    wrong += [f"no worker was on {idle[0]}"] if idle and shrinks is not None else []
    wrong += ["struck too late to prove anything"] if done >= EPOCHS else []
    if not wrong and bool(shrinks) != any(
        "number of workers changed" in text for text in checks.findings(run, "train")
    ):
        wrong.append("it went on with two workers" if shrinks else "it went on with another number of workers")
    how = {True: "with the other worker", False: "with both workers", None: "with another node"}[shrinks]
    result = f"went on {how} after epoch {done} of {EPOCHS}; every epoch once, losses and metrics as undisturbed"
    return judged(case, result, seconds, wrong)


def _gone(work: Work, nodes: Nodes, words: str) -> Fault:
    """The newest node loses power while a process on it is at what the words say."""
    victim = nodes.members[-1]
    work.until(lambda: victim.processes(words), f"a process '{words}' on {victim.name}")
    fault = Fault.now()
    victim.kill()
    return fault


@contextmanager
def _far() -> Iterator[tuple[Nodes, network.Cable]]:
    """A cluster of two nodes, one of them in a network of its own. Raises LeftOut where there can be none."""
    if why := network.unable():
        raise LeftOut(why)
    with (
        network.apart() as (cable, hosts, inside, device),
        # Both sides have one name, by which gloo would take loopback for the way to the other.
        running(0, hosts=hosts, settings={**HEALTH, "GLOO_SOCKET_IFNAME": device}) as nodes,
    ):
        nodes.add(1)
        nodes.add(1, inside=inside)
        try:
            yield nodes, cable
        finally:
            # It would not hear that it is to end.
            nodes.members[-1].kill()
