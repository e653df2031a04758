"""Cases of chaos: the user's own process dies, or the head that it asks for everything."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from lstm_ray.benchmark.chaos import checks
from lstm_ray.benchmark.chaos.outcome import Fault, Outcome, judged
from lstm_ray.benchmark.chaos.training import BEGUN, EPOCHS, LONG, WORKERS, epochs_done
from lstm_ray.benchmark.chaos.world import World
from lstm_ray.on_ray.nodes import Nodes, running

ERROR_SECONDS = 120.0
"""Within which a driver whose cluster is lost says so."""


def driver(nodes: Nodes, folder: Path) -> Outcome:
    """kill -9 of the command, and the same command again."""
    world = World.at(folder)
    calm = world.calm(nodes, "train", *LONG, WORKERS)
    run = world.before(nodes, "split", folder / "driver/run")
    with world.working(nodes, "train", run, *LONG, WORKERS) as work:
        work.until(lambda: epochs_done(run) >= BEGUN, f"{BEGUN} epochs")
        fault = Fault.now()
        work.kill()
    done, wrong = epochs_done(run), checks.nothing_half_made(run, "train")
    with world.working(nodes, "train", run, *LONG, WORKERS) as work:
        work.until(lambda: epochs_done(run) > done, "an epoch more")
        seconds = fault.seconds()
        work.ended()
        wrong = wrong + work.not_well() or checks.training(run, calm)
    if done >= EPOCHS:
        wrong.append("killed too late to prove anything")
    result = f"the same command went on after epoch {done} of {EPOCHS}; losses and metrics as undisturbed"
    return judged("driver, kill -9", result, seconds, wrong)


def head(nodes: Nodes, folder: Path) -> Outcome:
    """The process that keeps the cluster's state, which Ray without a store outside does not survive."""
    world = World.at(folder)
    calm = world.calm(nodes, "train", *LONG, WORKERS)
    run = world.before(nodes, "split", folder / "head/run")
    with running(1, 2.0) as own, world.working(own, "train", run, *LONG, WORKERS) as work:
        work.until(lambda: epochs_done(run) >= BEGUN, f"{BEGUN} epochs")
        fault = Fault.now()
        for pid in own.members[0].processes("gcs_server"):
            os.kill(pid, signal.SIGKILL)
        work.ended(ERROR_SECONDS)
        seconds = fault.seconds()
        wrong = work.not_one_error("cluster", codes=(1, 2)) + checks.nothing_half_made(run, "train")
    done = epochs_done(run)
    with world.working(nodes, "train", run, *LONG, WORKERS) as work:
        work.ended()
        wrong = wrong or work.not_well() or checks.training(run, calm)
    result = f"the cluster is lost, as Ray's are: one error; the same command on another went on after epoch {done}"
    return judged("head (GCS) of a cluster", result, seconds, wrong)
