"""Planning as a stage: what-ifs, decisions and synthetic experience, on actors that hold the trained policy."""

from __future__ import annotations

import shutil

from lstm_ray.config import Config
from lstm_ray.data.store import load_segments
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray.experience import experience
from lstm_ray.on_ray.pool import actor_pool
from lstm_ray.on_ray.rollouts import what_if, world_of
from lstm_ray.plan import pictures
from lstm_ray.plan.scenarios import require_known_series
from lstm_ray.run_dir import Finding, Report, RunDir, StageDir


def plan(config: Config, run: RunDir, work: StageDir) -> Report:
    """Roll out the scenarios, make synthetic sequences, retrain with and without them, keep what validation prefers.

    Leaves ``rollouts.parquet``, ``scenarios.json``, ``verdict.json`` and, where kept, ``policy/``.
    """
    segments, bounds = load_segments(run)
    require_known_series(config.plan.scenarios, segments.series)
    with run.local_copy("train/policy") as folder:
        base = Policy.load(folder)
        world = world_of(base, segments, bounds, config)
        with actor_pool(folder, world, config.plan.actors) as pool:
            findings, facts, figures = what_if(pool, world, bounds, config, work.path)
            verdict, mixed, after = experience(pool, base, world, bounds, config)
    work.write_json("scenarios.json", facts)
    work.write_json("verdict.json", verdict.as_dict())
    shutil.rmtree(work.path / "policy", ignore_errors=True)
    if verdict.kept:
        mixed.facts["validation"] = after
        mixed.save(work.path / "policy")
    work.write_figures([*figures, pictures.before_and_after(verdict)])
    return Report(
        stage="plan",
        summary=f"{facts['num_rollouts']:,} rollouts of {1 + len(config.plan.scenarios)} scenarios; {verdict.words}",
        findings=[*findings, Finding(severity="info", text=verdict.words)],
        validation=after if verdict.kept else base.facts["validation"],
        kept=verdict.kept,
        tables=[*facts["tables"], verdict.table()],
    )
