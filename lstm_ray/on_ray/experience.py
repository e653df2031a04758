"""Synthetic experience: made from the training part, judged beside it, and kept only where retraining proves its worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray

from lstm_ray import progress
from lstm_ray.config import Config, with_values
from lstm_ray.data.feed import all_batches, class_weights, of_items, planned, source, steps_per_epoch
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import Batch, chunks
from lstm_ray.evaluate.choosing.validation import validation_errors
from lstm_ray.figure import Figure
from lstm_ray.model.network import build
from lstm_ray.model.policy import Policy
from lstm_ray.model.training import fit, start
from lstm_ray.on_ray import pieces
from lstm_ray.on_ray.pool import Pool
from lstm_ray.plan.experience import pictures as fidelity_pictures
from lstm_ray.plan.experience import synthetic
from lstm_ray.plan.experience.fidelity import fidelity_of
from lstm_ray.plan.experience.making import Real, kinds_of, of_futures, real_of, shares, variants_of
from lstm_ray.plan.experience.synthetic import Synthetic
from lstm_ray.plan.experience.verdict import Scored, Verdict, decide
from lstm_ray.plan.futures.residuals import errors_of
from lstm_ray.plan.futures.rollouts import roll
from lstm_ray.plan.futures.starts import World, some_origins, start_of
from lstm_ray.run_dir import Finding

ORIGINS_PER_TASK = 64
"""Origins that an actor rolls out at a time."""
RETRAIN_RATE = 0.3
"""Retraining starts from good weights: this share of train.learning_rate."""
TABLE = "synthetic.parquet"
ARMS = ("control", "mixed")
WEIGHT = "weight "
"""Before the name of a tensor in a piece."""


@dataclass(frozen=True)
class Experience:
    """What came of synthetic sequences."""

    verdict: Verdict
    policy: Policy | None
    """The one that saw them; None where they are dropped."""
    validation: dict[str, float]
    """Of the policy, or of the base where that stays."""
    findings: list[Finding]
    figures: list[Figure]
    tables: list[dict[str, Any]]


def experience(pool: Pool, base: Policy, world: World, bounds: Boundaries, config: Config, folder: Path) -> Experience:
    """Whether synthetic sequences help. Leaves ``synthetic.parquet`` in the folder."""
    real = real_of(world.segments, world.segments.scaled(base.scaler), base.scaler, bounds, _config(base, config))
    made = synthetic.together(list(_made(pool, base, world, real, folder)), real.items.num_rows)
    synthetic.table(made, base.scaler).write_parquet(folder / TABLE)
    likeness = fidelity_of(real, made)
    answers = _retrained(pool, bounds, made, config, folder)
    assert config.plan.synthetic is not None, "nothing synthetic is asked for"
    verdict = decide(
        config,
        base.facts["validation"],
        controls=[_scored(one) for one in answers["control"]],
        mixeds=[_scored(one) for one in answers["mixed"]],
        seeds=_seeds(config),
        num_synthetic={kind: len(made.of(kind)) for kind in kinds_of(config)},
        num_steps=steps_per_epoch(real.items, real.config) * config.plan.synthetic.epochs,
    )
    chosen = answers["mixed"][0]
    policy = None
    if verdict.kept:
        found = {n.removeprefix(WEIGHT): torch.from_numpy(v) for n, v in chosen.items() if n.startswith(WEIGHT)}
        policy = Policy(base.config, base.schema, base.scaler, found, {"validation": chosen["metrics"]})
    return Experience(
        verdict,
        policy,
        chosen["metrics"] if verdict.kept else base.facts["validation"],
        [*fidelity_pictures.findings(likeness), Finding(severity="info", text=verdict.words)],
        [*fidelity_pictures.figures(likeness), verdict.picture()],
        [fidelity_pictures.table(likeness), verdict.table()],
    )


def retrain(
    policy: Policy, world: World, bounds: Boundaries, seed: int, made: ray.ObjectRef | None, keep: bool
) -> pieces.Piece:
    """Go on training from the policy's weights, with or without synthetic sequences: as many steps of the same size.

    Args:
        keep: the weights are part of the answer, beside metrics and errors on validation.
    """
    config = _config(policy, world.config, seed)
    scaled = world.segments.scaled(policy.scaler)
    items = planned(scaled, bounds, "train", config)
    drawn, held_out = of_items(items, scaled), source(scaled, bounds, "validation", config)
    if made is not None:
        number = synthetic.num_synthetic(items, config)
        drawn = synthetic.with_synthetic(drawn, items, ray.get(made), number)

    def batches(epoch: int) -> Iterator[Batch]:
        return synthetic.batches(drawn, items.num_items, config, epoch)

    torch.manual_seed(seed)
    network = build(config, scaled.schema)
    network.load_state_dict(policy.network.state_dict())
    # The weights bring their closed forms along: they are of the same data.
    training = start(network, config, scaler=policy.scaler, class_weight_K=class_weights(scaled, bounds, config))
    fit(training, config, batches, lambda: all_batches(held_out, config), steps_per_epoch(items, config))
    weights = network.state_dict()
    errors = validation_errors(Policy(policy.config, policy.schema, policy.scaler, weights), world.segments, bounds)
    count_M = errors.parts[1] if config.task == "forecast" else np.ones(len(errors.error_M))
    found: pieces.Piece = {"metrics": errors.metrics, "error": errors.error_M, "step": errors.step_M, "count": count_M}
    return found | ({f"{WEIGHT}{name}": value.numpy() for name, value in weights.items()} if keep else {})


def imagined(policy: Policy, world: World, origin_M: NDArray, residuals: ray.ObjectRef) -> pieces.Piece:
    """One future of each origin, drawn from what forecasts of the training part missed: of validation nothing is told."""
    here = replace(world, residuals=ray.get(residuals))
    return {"future": roll(policy.forecast_batch, here, start_of(here, origin_M), 1)[:, 0]}


def _config(policy: Policy, config: Config, seed: int | None = None) -> Config:
    """What a policy is retrained by: as it was trained, but for the run's own plan and seed, and a gentler rate."""
    assert config.plan.synthetic is not None, "nothing synthetic is asked for"
    epochs, rate = config.plan.synthetic.epochs, policy.config.train.learning_rate * RETRAIN_RATE
    # Without patience both take all their steps.
    values = {"train.max_epochs": epochs, "train.patience": epochs, "train.learning_rate": rate}
    trained = with_values(policy.config, values)
    return trained.model_copy(update={"plan": config.plan, "seed": config.seed if seed is None else seed})


def _seeds(config: Config) -> list[int]:
    assert config.plan.synthetic is not None, "nothing synthetic is asked for"
    return [config.seed + turn for turn in range(config.plan.synthetic.seeds)]


def _made(pool: Pool, base: Policy, world: World, real: Real, folder: Path) -> Iterator[Synthetic]:
    """The sequences of each kind in turn."""
    for kind, number in shares(real).items():
        if kind != "rollouts":
            yield variants_of(real, kind, number)
            continue
        origin_M = some_origins(world.segments, real.bounds, "train", real.config, number)
        residuals = ray.put(errors_of(base, world.segments, real.bounds, part="train"))
        tasks = [(some, residuals) for some in chunks(origin_M, ORIGINS_PER_TASK)]
        keys = [["synthetic rollouts", pool.version, number, turn] for turn in range(len(tasks))]
        found: list[Any] = [None] * len(tasks)
        with progress.bar("synthetic", len(tasks)) as advance:
            for turn, answer in pieces.each(pool, folder, imagined, tasks, keys):
                found[turn] = answer["future"]
                advance("rollouts")
        yield of_futures(real, base.scaler, origin_M, np.concatenate(found))


def _retrained(
    pool: Pool, bounds: Boundaries, made: Synthetic, config: Config, folder: Path
) -> dict[str, list[pieces.Piece]]:
    """By arm, what came of each seed. A killed driver goes on after those that are done."""
    seeds, shared = _seeds(config), ray.put(made)
    runs = [(arm, seed) for seed in seeds for arm in ARMS]
    tasks = [
        (bounds, seed, shared if arm == "mixed" else None, arm == "mixed" and seed == seeds[0]) for arm, seed in runs
    ]
    found: dict[str, list[Any]] = {arm: [None] * len(seeds) for arm in ARMS}
    with progress.bar("retrain", len(tasks)) as say:
        for turn, answer in pieces.each(
            pool, folder, retrain, tasks, [["retrain", pool.version, *run] for run in runs]
        ):
            arm, seed = runs[turn]
            found[arm][seeds.index(seed)] = answer
            say(f"{arm}, seed {seed}")
    return found


def _scored(answer: pieces.Piece) -> Scored:
    return Scored(answer["metrics"], answer["error"], answer["step"], answer["count"])
