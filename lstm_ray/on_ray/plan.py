"""Planning as a stage: what-ifs, decisions and synthetic experience, on actors that hold the trained policy.

What is finished is kept in the stage's folder, piece by piece: a driver that was killed goes on after it and ends with the
same files and numbers.
"""

from __future__ import annotations

import shutil

from lstm_ray.config import Config
from lstm_ray.data.store import load_scaler, load_segments
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray import pieces
from lstm_ray.on_ray.decisions import decisions, require_plans
from lstm_ray.on_ray.experience import experience
from lstm_ray.on_ray.pool import actor_pool
from lstm_ray.on_ray.rollouts import PARTS, world_of
from lstm_ray.on_ray.what_if import Told, what_if
from lstm_ray.plan.futures.starts import World, some_origins
from lstm_ray.plan.what_if.scenarios import require_possible
from lstm_ray.run_dir import Report, RunDir, StageDir

POLICY = "policy"


def require_possible_plan(config: Config, run: RunDir) -> None:
    """Raises InputError where scenarios or decisions do not fit the prepared data, or a rollout does not fit into its
    validation part; asks no policy."""
    segments, bounds = load_segments(run)
    require_possible(config, segments, bounds)
    if config.task == "forecast":
        some_origins(segments, bounds, "validation", config, config.plan.origins)
    if config.plan.decision is not None:
        require_plans(World(segments, load_scaler(run), config), bounds)


def plan(config: Config, run: RunDir, work: StageDir) -> Report:
    """Roll out the scenarios, plan what is to be decided, and find out whether synthetic experience helps.

    Leaves ``rollouts.parquet`` and ``scenarios.json``; where something is decided ``decisions.json``; where synthetic
    experience is asked for ``synthetic.parquet``, ``verdict.json`` and, where it is kept, ``policy/``.
    """
    segments, bounds = load_segments(run)
    require_possible(config, segments, bounds)
    with run.local_copy(f"train/{POLICY}") as folder:
        base = Policy.load(folder)
        world = world_of(base, segments, bounds, config)
        if config.plan.decision is not None:
            require_plans(world, bounds)
        with actor_pool(folder, world, config.plan.actors, asks=config.resources) as pool:
            told = [what_if(pool, world, bounds, config, work.path)]
            work.write_json("scenarios.json", told[0].facts)
            if config.plan.decision is not None:
                told.append(Told(*decisions(pool, world, bounds, config, work.path)))
            found = None
            if config.plan.synthetic is not None:
                found = experience(pool, base, world, bounds, config, work.path)
                told.append(Told(found.findings, found.verdict.as_dict(), found.figures, found.tables))
                work.write_json("verdict.json", told[-1].facts)
    kept = found is not None and found.policy is not None
    shutil.rmtree(work.path / POLICY, ignore_errors=True)
    if found is not None and found.policy is not None:
        found.policy.save(work.path / POLICY)
    work.write_figures([figure for part in told for figure in part.figures])
    shutil.rmtree(work.path / PARTS)
    pieces.clear(work.path)
    return Report(
        stage="plan",
        summary=_summary(config, told, found.verdict.brief if found is not None else None),
        findings=[finding for part in told for finding in part.findings],
        validation=found.validation if found is not None else base.facts["validation"],
        kept=kept,
        tables=[table for part in told for table in part.tables],
    )


def _summary(config: Config, told: list[Told], verdict: str | None) -> str:
    """What was done, in one sentence."""
    done = {"forecast": "rollouts", "classify": "sequences classified", "label": "steps labelled"}[config.task]
    count = len(config.plan.scenarios)
    parts = [f"{told[0].facts['num_rollouts']:,} {done} under the base and {count} scenario{'s' * (count != 1)}"]
    if config.plan.decision is not None:
        moments = len(told[1].facts["origins"])
        parts.append(f"decisions at {moments} moment{'s' * (moments != 1)}")
    return "; ".join([*parts, verdict or "no synthetic experience was asked for."])
