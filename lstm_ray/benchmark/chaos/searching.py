"""Cases of chaos: processes that die under a search of settings and under a plan's rollouts."""

from __future__ import annotations

from pathlib import Path

from lstm_ray.benchmark.chaos import checks
from lstm_ray.benchmark.chaos.outcome import Outcome, judged
from lstm_ray.benchmark.chaos.work import Strike, shot
from lstm_ray.benchmark.chaos.world import World
from lstm_ray.on_ray.nodes import Nodes

TRIALS, EPOCHS = 4, 8
SEARCH = (
    f"tune.trials={TRIALS}",
    f"tune.max_epochs={EPOCHS}",
    "tune.scheduler=none",
    "tune.space={train.learning_rate: {choice: [0.001, 0.002, 0.004, 0.008]}}",
    "tune.search=grid",
)
PLAN = ("plan.paths=800", "plan.steps=48")
"""Enough for actors of both nodes to get some, however late the second comes up."""


def tune_trial(nodes: Nodes, folder: Path) -> Outcome:
    """The process of one of the trials."""
    world, run = World.at(folder), folder / "tune-trial/run"
    calm = world.calm(nodes, "tune", *SEARCH)
    world.before(nodes, "train", run)
    with world.working(nodes, "tune", run, *SEARCH) as work:
        work.until(lambda: epochs_tried(run), "an epoch of a trial")
        fault = shot(work, nodes, "ray::ImplicitFunc")
        done = epochs_tried(run)
        work.until(lambda: epochs_tried(run) > done, "an epoch more")
        seconds = fault.seconds()
        work.ended()
        wrong = work.not_well() or _trials(run, calm)
    result = f"an epoch more after {done}; {TRIALS} trials, each once, with the losses of the undisturbed search"
    return judged("Tune trial", result, seconds, wrong)


def rollout_actor(nodes: Nodes, folder: Path, name: str = "rollout-actor", strike: Strike = shot) -> Outcome:
    """An actor that rolls out what-ifs."""
    world, run = World.at(folder), folder / f"{name}/run"
    calm = world.calm(nodes, "plan", *PLAN)
    world.before(nodes, "train", run)
    with world.working(nodes, "plan", run, *PLAN) as work:
        work.until(lambda: num_rolled(run), "a part of the rollouts")
        fault = strike(work, nodes, "ray::Worker.do")
        done = num_rolled(run)
        work.until(lambda: num_rolled(run) > done, "a part more")
        seconds = fault.seconds()
        work.ended()
        keys = ["scenario", "series", "origin", "path", "step", "target"]
        wrong = work.not_well() or checks.same_rows(run / "plan/rollouts.parquet", calm / "plan/rollouts.parquet", keys)
    result = f"a part more after {done}; every future once, with the numbers of the undisturbed plan"
    return judged("rollout actor", result, seconds, wrong)


def epochs_tried(run: Path) -> int:
    """Checkpoints that trials have written so far, and those of a search that has ended."""
    return len([*run.glob(".work/tune-*/trials/*/epoch-*/training.json"), *run.glob("tune/policy/weights*")])


def num_rolled(run: Path) -> int:
    return len([*run.glob(".work/plan-*/rollouts/*.parquet"), *run.glob("plan/rollouts.parquet")])


def _trials(run: Path, calm: Path) -> list[str]:
    ours, theirs = (
        sorted(checks.report(path, "tune")["trials"], key=lambda one: one["number"]) for path in (run, calm)
    )
    if len(ours) != TRIALS or len(theirs) != TRIALS:
        return [f"{len(ours)} trials in place of {TRIALS}"]
    wrong = []
    for our, their in zip(ours, theirs, strict=True):
        names = [name for name, value in their.items() if isinstance(value, int | float) and "seconds" not in name]
        wrong += checks.unlike({n: our[n] for n in names}, {n: their[n] for n in names}, f"trial {their['number']}")
    return wrong
