"""Synthetic experience: made in parallel, retrained with and without, kept only where it proves itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lstm_ray import progress
from lstm_ray.config import Config, with_values
from lstm_ray.data.feed import all_batches, class_weights, planned, source, steps_per_epoch
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import Segments, chunks, epoch_batches
from lstm_ray.evaluate.validation import validation_metrics
from lstm_ray.model.network import build
from lstm_ray.model.policy import Policy
from lstm_ray.model.training import fit, start
from lstm_ray.on_ray.pool import Pool
from lstm_ray.plan import synthetic
from lstm_ray.plan.decide import Verdict, decide
from lstm_ray.plan.rollouts import roll
from lstm_ray.plan.starts import World, some_origins, start_of

ORIGINS_PER_TASK = 64
"""Origins that an actor rolls out at a time."""
RETRAIN_RATE = 0.3
"""Retraining starts from good weights: this share of train.learning_rate."""


def experience(
    pool: Pool, base: Policy, world: World, bounds: Boundaries, config: Config
) -> tuple[Verdict, Policy, dict[str, float]]:
    """Whether synthetic sequences help: the verdict, the policy that saw them, and its validation metrics."""
    segments = world.segments
    if config.task == "label":
        made = synthetic.jittered_steps(segments, bounds, np.asarray(base.scaler.past.deviation), config.seed)
    elif config.task == "classify":
        made = _jittered(base, segments, bounds, config)
    else:
        made = _imagined(pool, base, world, bounds, config)
    control, mixed = _retrained(pool, base, bounds, [None, made])
    before = base.facts["validation"]
    after = {name: validation_metrics(policy, segments, bounds) for name, policy in (("c", control), ("m", mixed))}
    verdict = decide(config.answers, before, after["c"], after["m"], _num_made(config, made, bounds))
    return verdict, mixed, after["m"]


def retrain(policy: Policy, world: World, bounds: Boundaries, made: Segments | None) -> dict[str, NDArray]:
    """Go on training from the policy's weights, with or without synthetic sequences: the same number of steps of the
    same size. Returns the best weights."""
    base, segments = policy.config, world.segments
    assert base.plan.synthetic is not None, "nothing synthetic is asked for"
    rate = base.train.learning_rate * RETRAIN_RATE
    config = with_values(base, {"train.max_epochs": base.plan.synthetic.epochs, "train.learning_rate": rate})
    scaled = segments.scaled(policy.scaler)
    items = real = source(scaled, bounds, "train", config)
    held_out = source(scaled, bounds, "validation", config)
    if made is not None:
        items = synthetic.with_synthetic(real, scaled, made.scaled(policy.scaler), bounds, config)
    steps = steps_per_epoch(real, config)

    def batches(epoch: int) -> Iterator[Any]:
        # A mixed epoch holds more items than a real one; both take as many steps.
        for chosen in epoch_batches(items.num_items, config.train.batch, config.seed, epoch)[:steps]:
            yield items.cut(chosen)

    network = build(config, segments.schema)
    network.load_state_dict(policy.network.state_dict())
    torch.manual_seed(config.seed)
    training = start(network, config, class_weight_K=class_weights(scaled, bounds, config))
    fit(training, config, batches, lambda: all_batches(held_out, config), steps)
    return {name: value.numpy() for name, value in network.state_dict().items()}


def _num_made(config: Config, made: Segments, bounds: Boundaries) -> int:
    """Synthetic sequences that training saw."""
    if config.task != "label":
        return len(made.bounds) - 1
    copied = planned(made, bounds, "train", config)
    return min(copied.num_items, synthetic.num_synthetic(copied, config))


def _imagined(pool: Pool, base: Policy, world: World, bounds: Boundaries, config: Config) -> Segments:
    """Sampled futures after training histories."""
    real = source(world.segments.scaled(base.scaler), bounds, "train", config)
    items = some_origins(world.segments, bounds, "train", config, synthetic.num_synthetic(real, config))
    tasks = [(some,) for some in chunks(items, ORIGINS_PER_TASK)]
    found: list[Any] = [None] * len(tasks)
    with progress.bar("synthetic", len(tasks)) as advance:
        for number, answer in pool.each(_one_path, tasks):
            found[number] = answer
            advance("rollouts")
    return synthetic.after_histories(world.segments, items, np.concatenate(found)[:, 0], config.window)


def _one_path(policy: Policy, world: World, origin_M: NDArray) -> NDArray:
    return roll(policy.forecast_batch, world, start_of(world, origin_M), 1)


def _jittered(base: Policy, segments: Segments, bounds: Boundaries, config: Config) -> Segments:
    real = source(segments.scaled(base.scaler), bounds, "train", config)
    ids = synthetic.training_sequences(segments, bounds, synthetic.num_synthetic(real, config), config.seed)
    return synthetic.jittered(segments, ids, np.asarray(base.scaler.past.deviation), config.seed)


def _retrained(pool: Pool, base: Policy, bounds: Boundaries, made: list[Segments | None]) -> list[Policy]:
    """Policies retrained at the same time on the pool's actors."""
    policies: list[Any] = [None] * len(made)
    with progress.bar("retrain", len(made)) as say:
        for number, weights in pool.each(retrain, [(bounds, extra) for extra in made]):
            tensors = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
            policies[number] = Policy(base.config, base.schema, base.scaler, tensors)
            say("")
    return policies
