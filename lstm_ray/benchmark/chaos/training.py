"""Cases of chaos: processes that die under a training on Ray Train's workers."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from lstm_ray.benchmark.chaos import checks
from lstm_ray.benchmark.chaos.outcome import Outcome, judged
from lstm_ray.benchmark.chaos.work import shot
from lstm_ray.benchmark.chaos.world import World
from lstm_ray.on_ray.nodes import Nodes

EPOCHS = 10
LONG = (f"train.max_epochs={EPOCHS}", f"train.patience={EPOCHS}")
WORKERS = "train.workers=2"
BEGUN = 2
"""Epochs after which something breaks."""


def train_worker(nodes: Nodes, folder: Path) -> Outcome:
    """One of two workers."""
    return _broken(nodes, folder / "train-worker", "Train worker, of two", "ray::RayTrainWorker", WORKERS)


def stream_task(nodes: Nodes, folder: Path) -> Outcome:
    """A Ray Data task that cuts batches for the workers."""
    return _broken(
        nodes, folder / "stream-task", "Data task, of a streamed training", "MapBatches", WORKERS, "train.read=stream"
    )


def _broken(nodes: Nodes, folder: Path, case: str, victim: str, *changes: str) -> Outcome:
    world = World.at(folder.parent)
    calm = world.calm(nodes, "train", *LONG, *changes)
    run = world.before(nodes, "split", folder / "run")
    with world.working(nodes, "train", run, *LONG, *changes) as work:
        work.until(lambda: epochs_done(run) >= BEGUN, f"{BEGUN} epochs")
        fault = shot(work, nodes, victim)
        done = epochs_done(run)
        work.until(lambda: epochs_done(run) > done, "an epoch more")
        seconds = fault.seconds()
        work.ended()
        wrong = work.not_well() or checks.training(run, calm)
    if done >= EPOCHS:
        wrong.append("killed too late to prove anything")
    result = f"went on after epoch {done} of {EPOCHS}; every epoch once, losses and metrics as undisturbed"
    return judged(case, result, seconds, wrong)


def epochs_done(run: Path) -> int:
    """Epochs of the newest checkpoint of a training that is under way, or of the one that has ended."""
    done = [0]
    with suppress(OSError):
        done.append(len((run / "train/metrics.jsonl").read_text().splitlines()))
    for file in run.glob(".work/train-*/checkpoints/epoch-*/training.json"):
        with suppress(OSError, ValueError):
            done.append(len(json.loads(file.read_text())["records"]))
    return max(done)
