"""Worlds with a known best plan: a linear plant that an action drives, and demand that an order must meet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.schema import Own
from lstm_ray.data.windows import Batch
from lstm_ray.model.residuals import Residuals
from lstm_ray.plan.decisions.deciding import Case, world_for
from lstm_ray.plan.futures.starts import World, start_of
from tests import made

STEPS = 12
KEEPS, DRIVES = 0.8, 0.5
"""x' = KEEPS x + DRIVES u + noise."""
SCHEMA = made.schema_of(known=["heat", "price"], calendar=())
SEGMENTS = replace(
    made.segments_of([240], schema=SCHEMA),
    known_RK=np.stack([np.full(240, 1.0), 2 + np.sin(np.arange(240) / 4)], axis=1).astype(np.float32),
)
SCALER = made.scaler_of(made.segments_of([240], schema=SCHEMA))
NOISE = np.random.default_rng(5).normal(0, 0.5, (80, STEPS))


def respond(noise_WS: NDArray, heat_S: NDArray, begin: float) -> NDArray:
    """The plant's paths, step by step, [W, S]."""
    state, path = np.full(len(noise_WS), begin), []
    for s in range(noise_WS.shape[1]):
        state = KEEPS * state + DRIVES * heat_S[s] + noise_WS[:, s]
        path.append(state)
    return np.stack(path, axis=1)


def plant(batch: Batch, own: Own | None = None) -> NDArray:
    """The plant without noise, as a policy foresees it [B, H, 1, 1]."""
    begin_B = batch.target_BTC[:, -STEPS - 1, 0] * SCALER.target_deviation[0] + SCALER.target_mean[0]
    heat_BS = batch.known_BTK[:, -STEPS:, 0] * SCALER.known.deviation[0] + SCALER.known.mean[0]
    still = np.zeros((1, STEPS))
    paths = [respond(still, heat_S, float(begin))[0] for heat_S, begin in zip(heat_BS, begin_B, strict=True)]
    return np.stack(paths)[:, :, None, None].astype(np.float32)


def config_of(decision: dict[str, Any], **values: Any) -> Config:
    tree: dict[str, Any] = {"plan__decision": decision, "data__known": ["heat", "price"], "preprocess__calendar": []}
    tree["window"] = {"history": 12, "horizon": STEPS, "patch": 4, "season": 6}
    return made.make_config(**{**tree, "plan__steps": STEPS, **values})


def world_of(decision: dict[str, Any], **values: Any) -> World:
    """Its errors are what the plant's own noise leaves of a forecast."""
    score_RH = respond(NOISE, np.zeros(STEPS), 0.0)
    times = np.arange(len(NOISE)) - 10_000
    library = Residuals((0.5,), score_RH[:, :, None].astype(np.float32), times, np.zeros(len(times), np.int64), ["s0"])
    return World(SEGMENTS, SCALER, config_of(decision, **values), library)


def case_of(decision: dict[str, Any], origin: int = 100, **values: Any) -> Case:
    world = world_for(world_of(decision, **values))
    return Case(plant, world, start_of(world, np.array([origin])))
