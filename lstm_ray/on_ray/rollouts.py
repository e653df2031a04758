"""Planning: actors that hold the policy roll out scenarios in parallel and retrain with what was simulated."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import ray
import torch
from numpy.typing import NDArray
from ray.util import ActorPool

from lstm_ray import progress
from lstm_ray.config import Config, with_values
from lstm_ray.data.feed import all_batches, class_weights, planned, source, steps_per_epoch
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.store import load_segments
from lstm_ray.data.windows import Segments, chunks, epoch_batches, origins, rows_of, sequences
from lstm_ray.evaluate.validation import validation_metrics
from lstm_ray.model.network import build
from lstm_ray.model.policy import Policy
from lstm_ray.model.training import fit, start
from lstm_ray.on_ray import cluster
from lstm_ray.plan import labels, pictures, synthetic
from lstm_ray.plan.decide import decide
from lstm_ray.plan.rollouts import World, actual_after, residual_trajectories, roll, some_origins
from lstm_ray.plan.scenarios import changed, require_known_series, touches
from lstm_ray.run_dir import Finding, Report, RunDir, StageDir
from lstm_ray.sections.stages import ScenarioConfig

ORIGINS_PER_TASK = 8
"""Origins that an actor rolls out at a time."""
SEQUENCES_PER_TASK = 4_096
"""Sequences that an actor classifies at a time."""
RESIDUAL_WINDOWS = 2_000
"""Validation windows whose errors are sampled from."""
RETRAIN_RATE = 0.3
"""Retraining starts from good weights: this share of train.learning_rate."""


@dataclass(frozen=True)
class Task:
    """One piece of work: some origins (or sequences) under one scenario, None for the unchanged base."""

    scenario: ScenarioConfig | None
    items_M: NDArray
    paths: int


class Worker:
    """Holds one policy. Runs as a Ray actor, where the world comes from the object store without a copy, or as it is."""

    def __init__(self, policy_folder: str) -> None:
        torch.set_num_threads(1)
        self.policy = Policy.load(policy_folder)

    def roll(self, world: World, task: Task) -> NDArray:
        """Futures [M, W, S, C], class probabilities [M, classes], or labels of steps [M, A]."""
        if self.policy.config.task == "label":
            changed_segments = labels.under(world.segments, task.scenario, task.items_M)
            return self.policy.tell_steps(changed_segments, labels.ranges(world.segments, task.items_M))
        if self.policy.config.task == "classify":
            return self.policy.class_probabilities(_under(world.segments, task.scenario), task.items_M)
        return roll(self.policy.forecast_batch, world, task.items_M, task.scenario, task.paths)

    def retrain(self, world: World, bounds: Boundaries, made: Segments | None) -> dict[str, NDArray]:
        """Go on training from the policy's weights, with or without synthetic sequences: the same number of steps of the
        same size. Returns the best weights."""
        base, segments = self.policy.config, world.segments
        rate = base.train.learning_rate * RETRAIN_RATE
        config = with_values(base, {"train.max_epochs": base.plan.epochs, "train.learning_rate": rate})
        scaled = segments.scaled(self.policy.scaler)
        items = real = source(scaled, bounds, "train", config)
        held_out = source(scaled, bounds, "validation", config)
        if made is not None:
            items = synthetic.with_synthetic(real, scaled, made.scaled(self.policy.scaler), bounds, config)
        steps = steps_per_epoch(real, config)

        def batches(epoch: int) -> Iterator[Any]:
            # A mixed epoch holds more items than a real one; both take as many steps.
            for chosen in epoch_batches(items.num_items, config.train.batch, config.seed, epoch)[:steps]:
                yield items.cut(chosen)

        network = build(config, segments.schema)
        network.load_state_dict(self.policy.network.state_dict())
        torch.manual_seed(config.seed)
        training = start(network, config, class_weight_K=class_weights(scaled, bounds, config))
        fit(training, config, batches, lambda: all_batches(held_out, config), steps)
        return {name: value.numpy() for name, value in network.state_dict().items()}


@dataclass(frozen=True)
class Pool:
    """Actors, and the world that they share one copy of."""

    members: list[Any]
    actors: ActorPool
    world: ray.ObjectRef

    def roll(self, tasks: list[Task]) -> Iterator[NDArray]:
        """Answers in the order of the tasks, one task at a time on each actor."""
        return self.actors.map(lambda actor, task: actor.roll.remote(self.world, task), tasks)


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
            if config.task == "label":
                findings, facts, figures = _what_if_labels(pool, world, bounds, config, work.path)
                made = synthetic.jittered_steps(segments, bounds, np.asarray(base.scaler.past.deviation), config.seed)
            elif config.task == "classify":
                findings, facts, figures = _what_if_classes(pool, world, bounds, config, work.path)
                made = _jittered(base, segments, bounds, config)
            else:
                findings, facts, figures = _what_if_futures(pool, world, bounds, config, work.path)
                made = _imagined(pool, base, world, bounds, config)
            control, mixed = _retrained(pool, base, bounds, [None, made])
    before = base.facts["validation"]
    after = {name: validation_metrics(policy, segments, bounds) for name, policy in (("c", control), ("m", mixed))}
    verdict = decide(config.answers, before, after["c"], after["m"], _num_made(config, made, bounds))
    work.write_json("scenarios.json", facts)
    work.write_json("verdict.json", verdict.as_dict())
    shutil.rmtree(work.path / "policy", ignore_errors=True)
    if verdict.kept:
        mixed.facts["validation"] = after["m"]
        mixed.save(work.path / "policy")
    work.write_figures([*figures, pictures.before_and_after(verdict)])
    return Report(
        stage="plan",
        summary=f"{facts['num_rollouts']:,} rollouts of {1 + len(config.plan.scenarios)} scenarios; {verdict.words}",
        findings=[*findings, Finding(severity="info", text=verdict.words)],
        validation=after["m"] if verdict.kept else before,
        kept=verdict.kept,
        tables=[*facts["tables"], verdict.table()],
    )


def _num_made(config: Config, made: Segments, bounds: Boundaries) -> int:
    """Synthetic sequences that training saw."""
    if config.task != "label":
        return len(made.bounds) - 1
    copied = planned(made, bounds, "train", config)
    return min(copied.num_items, synthetic.num_synthetic(copied, config))


def rolled(answers: Iterable[NDArray], tasks: list[Task], title: str) -> list[NDArray]:
    """Collect the tasks' answers under a progress bar."""
    found = []
    with progress.bar(title, len(tasks)) as advance:
        for task, answer in zip(tasks, answers, strict=True):
            found.append(answer)
            advance(task.scenario.name if task.scenario else "base")
    return found


def tasks_for(config: Config, items_M: NDArray) -> list[Task]:
    """Every scenario, the base first, over every item."""
    scenarios = [None, *config.plan.scenarios]
    size = ORIGINS_PER_TASK if config.task == "forecast" else SEQUENCES_PER_TASK
    return [Task(s, some, config.plan.paths) for s in scenarios for some in chunks(items_M, size)]


def by_scenario(pool: Pool, config: Config, items_M: NDArray) -> dict[str, NDArray]:
    """What each scenario gives over every item, the base first."""
    tasks = tasks_for(config, items_M)
    answers = rolled(pool.roll(tasks), tasks, "rollouts")
    names = ["base", *(scenario.name for scenario in config.plan.scenarios)]
    per = len(tasks) // len(names)
    return {name: np.concatenate(answers[i * per : (i + 1) * per]) for i, name in enumerate(names)}


@contextmanager
def actor_pool(folder: Path, world: World, actors: int) -> Iterator[Pool]:
    """Actors that each hold the policy in ``folder``; they end with the block.

    A lost actor is started again and its task repeated: rollouts depend on seed and origin alone, so none differs.
    """
    cluster.ensure()
    remote = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)(Worker)
    started: list[Any] = [remote.remote(str(folder)) for _ in range(max(1, min(actors, cluster.num_cpus())))]
    try:
        yield Pool(started, ActorPool(started), ray.put(world))
    finally:
        for actor in started:
            ray.kill(actor)


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


def _imagined(pool: Pool, base: Policy, world: World, bounds: Boundaries, config: Config) -> Segments:
    """Sampled futures after training histories."""
    real = source(world.segments.scaled(base.scaler), bounds, "train", config)
    items = some_origins(world.segments, bounds, "train", config, synthetic.num_synthetic(real, config))
    tasks = [Task(None, some, 1) for some in chunks(items, 8 * ORIGINS_PER_TASK)]
    futures = np.concatenate(rolled(pool.roll(tasks), tasks, "synthetic"))
    return synthetic.after_histories(world.segments, items, futures[:, 0], config.window)


def _jittered(base: Policy, segments: Segments, bounds: Boundaries, config: Config) -> Segments:
    real = source(segments.scaled(base.scaler), bounds, "train", config)
    ids = synthetic.training_sequences(segments, bounds, synthetic.num_synthetic(real, config), config.seed)
    return synthetic.jittered(segments, ids, np.asarray(base.scaler.past.deviation), config.seed)


def _retrained(pool: Pool, base: Policy, bounds: Boundaries, made: list[Segments | None]) -> list[Policy]:
    """Policies retrained at the same time on the pool's actors."""
    with progress.bar("retrain", len(made)) as say:
        policies = []
        retrain = pool.actors.map(lambda actor, extra: actor.retrain.remote(pool.world, bounds, extra), made)
        for weights in retrain:
            tensors = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
            policies.append(Policy(base.config, base.schema, base.scaler, tensors))
            say("")
    return policies


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
