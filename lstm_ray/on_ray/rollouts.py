"""What-ifs on actors: the base and every scenario rolled out from moments of the validation part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lstm_ray import progress
from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import Segments, chunks, origins, rows_of, sequences
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray.pool import Pool
from lstm_ray.plan import labels, pictures
from lstm_ray.plan.rollouts import residual_trajectories, roll
from lstm_ray.plan.scenarios import changed, touches, under
from lstm_ray.plan.starts import World, actual_after, some_origins, start_of
from lstm_ray.run_dir import Finding
from lstm_ray.sections.plan import ScenarioConfig

ORIGINS_PER_TASK = 8
"""Origins that an actor rolls out at a time."""
SEQUENCES_PER_TASK = 4_096
"""Sequences that an actor classifies at a time."""
RESIDUAL_WINDOWS = 2_000
"""Validation windows whose errors are sampled from."""


@dataclass(frozen=True)
class Task:
    """One piece of work: some origins (or sequences) under one scenario, None for the unchanged base."""

    scenario: ScenarioConfig | None
    items_M: NDArray


def told(policy: Policy, world: World, task: Task) -> NDArray:
    """Futures [M, W, S, C], class probabilities [M, classes], or labels of steps [M, A]."""
    if policy.config.task == "label":
        changed_segments = labels.under(world.segments, task.scenario, task.items_M)
        return policy.tell_steps(changed_segments, labels.ranges(world.segments, task.items_M))
    if policy.config.task == "classify":
        return policy.class_probabilities(_under(world.segments, task.scenario), task.items_M)
    start = under(start_of(world, task.items_M), task.scenario, world.segments.schema)
    return roll(policy.forecast_batch, world, start, world.config.plan.paths)


def what_if(pool: Pool, world: World, bounds: Boundaries, config: Config, folder: Path) -> tuple:
    """Findings, facts and figures of the task's what-ifs; leaves ``rollouts.parquet`` in the folder."""
    kinds = {"forecast": _what_if_futures, "classify": _what_if_classes, "label": _what_if_labels}
    return kinds[config.task](pool, world, bounds, config, folder)


def tasks_for(config: Config, items_M: NDArray) -> list[Task]:
    """Every scenario, the base first, over every item."""
    scenarios = [None, *config.plan.scenarios]
    size = ORIGINS_PER_TASK if config.task == "forecast" else SEQUENCES_PER_TASK
    return [Task(s, some) for s in scenarios for some in chunks(items_M, size)]


def by_scenario(pool: Pool, config: Config, items_M: NDArray) -> dict[str, NDArray]:
    """What each scenario gives over every item, the base first."""
    tasks = tasks_for(config, items_M)
    answers: dict[int, NDArray] = {}
    with progress.bar("rollouts", len(tasks)) as advance:
        for number, answer in pool.each(told, [(task,) for task in tasks]):
            answers[number] = answer
            scenario = tasks[number].scenario
            advance(scenario.name if scenario else "base")
    names = ["base", *(scenario.name for scenario in config.plan.scenarios)]
    per = len(tasks) // len(names)
    return {name: np.concatenate([answers[i * per + j] for j in range(per)]) for i, name in enumerate(names)}


def world_of(base: Policy, segments: Segments, bounds: Boundaries, config: Config) -> World:
    """What rollouts of a policy need: the data, and its own errors on validation to draw from."""
    if config.task != "forecast":
        return World(segments, base.scaler, config, 0, np.zeros((1, 1, 0), np.float32))
    rows = origins(segments, bounds, "validation", config.window)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), RESIDUAL_WINDOWS)).astype(int))]
    median = base.quantiles.index(0.5)
    residuals = residual_trajectories(base.forecast_windows(segments, rows)[..., median], segments, rows, base.scaler)
    return World(segments, base.scaler, config, median, residuals)


def _what_if_futures(pool: Pool, world: World, bounds: Boundaries, config: Config, folder: Path) -> tuple:
    items = some_origins(world.segments, bounds, "validation", config, config.plan.origins)
    futures = by_scenario(pool, config, items)
    _write_rollouts(futures, world.segments, items, folder / "rollouts.parquet")
    actual, observed = actual_after(world.segments, items, world.steps)
    effects = pictures.effects(futures, world.segments, items, config)
    coverage = pictures.band_coverage(futures["base"], actual, observed)
    findings = [
        Finding(
            severity="info" if abs(coverage - 0.8) < 0.1 else "advice",
            text=f"The middle 80 % of the simulated paths held {coverage:.0%} of what really happened in validation.",
        ),
        *pictures.effect_findings(effects, config),
    ]
    facts = {
        "num_rollouts": sum(future.shape[0] * future.shape[1] for future in futures.values()),
        "coverage_80": coverage,
        "effects": effects,
        "tables": pictures.effect_tables(effects, world.segments.schema.target),
    }
    return findings, facts, pictures.rollout_figures(futures, actual, observed, world.segments, items, effects)


def _what_if_classes(pool: Pool, world: World, bounds: Boundaries, config: Config, folder: Path) -> tuple:
    ids = sequences(world.segments, bounds, "validation")
    found = by_scenario(pool, config, ids)
    classes = world.segments.schema.classes
    rows = {
        "scenario": np.repeat(list(found), len(ids)),
        "series": [world.segments.series[i] for i in ids] * len(found),
        **{name: np.concatenate([p_MK[:, k] for p_MK in found.values()]) for k, name in enumerate(classes)},
    }
    pl.DataFrame(rows).write_parquet(folder / "rollouts.parquet")
    table, figures, findings = pictures.class_effects(found, classes)
    facts = {"num_rollouts": len(ids) * len(found), "tables": [table]}
    return findings, facts, figures


def _what_if_labels(pool: Pool, world: World, bounds: Boundaries, config: Config, folder: Path) -> tuple:
    segments, schema = world.segments, world.segments.schema
    items = labels.stretches(segments, bounds)
    found = by_scenario(pool, config, items)
    rows = rows_of(labels.ranges(segments, items))
    answers = schema.classes or [schema.label or ""]
    columns = {
        "scenario": np.repeat(list(found), len(rows)),
        "series": np.tile(np.asarray(segments.series)[segments.series_of(rows)], len(found)),
        "time": np.tile(segments.times(rows), len(found)),
        **{name: np.concatenate([a_MA[:, k] for a_MA in found.values()]) for k, name in enumerate(answers)},
    }
    pl.DataFrame(columns).write_parquet(folder / "rollouts.parquet")
    if schema.classes:
        table, figures, findings = pictures.class_effects(found, schema.classes, "step")
    else:
        table, figures, findings = labels.value_effects(found, schema.label or "")
    return findings, {"num_rollouts": len(items) * len(found), "tables": [table]}, figures


def _under(segments: Segments, scenario: ScenarioConfig | None) -> Segments:
    """Every sequence with the scenario's change (task: classify)."""
    if scenario is None:
        return segments
    past_RP = segments.past_RP.copy()
    for index, name in enumerate(segments.series):
        if touches(scenario, name):
            rows = slice(segments.bounds[index], segments.bounds[index + 1])
            past_RP[rows] = changed(past_RP[rows], segments.schema.past, scenario)
    return Segments(**{**vars(segments), "past_RP": past_RP})


def _write_rollouts(futures: dict[str, NDArray], segments: Segments, origin_M: NDArray, file: Path) -> None:
    """One row for each scenario, series, origin, path, step and target."""
    frames = []
    names = np.array([segments.series[s] for s in segments.series_of(origin_M)])
    for scenario, future_MWSC in futures.items():
        index = np.indices(future_MWSC.shape).reshape(4, -1)
        frames.append(
            pl.DataFrame(
                {
                    "scenario": np.full(index.shape[1], scenario),
                    "series": names[index[0]],
                    "origin": segments.times(origin_M)[index[0]],
                    "path": index[1].astype(np.int32),
                    "step": (index[2] + 1).astype(np.int32),
                    "target": np.array(segments.schema.target)[index[3]],
                    "value": future_MWSC.ravel(),
                }
            )
        )
    pl.concat(frames).write_parquet(file)
