"""How fast a trained policy rolls out, bare and on actors. To be called in a process of its own, for it starts a cluster.

Shapes: M origins, W paths of each, B = M W, L history, H horizon, C targets.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.config_file import load
from lstm_ray.data.store import load_segments
from lstm_ray.data.windows import chunks
from lstm_ray.lifecycle import run_stages
from lstm_ray.model.network import forecaster
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray.pool import actor_pool
from lstm_ray.plan.futures.residuals import errors_of
from lstm_ray.plan.futures.rollouts import roll
from lstm_ray.plan.futures.starts import World, some_origins, start_of
from lstm_ray.plan.what_if.scenarios import under
from lstm_ray.run_dir import RunDir

ORIGINS = 48
"""Origins of one task."""
BARE, BARE_ONCE = "bare torch, every path in every block", "bare torch, first block once"


def train(path: str, folder: str) -> dict[str, Any]:
    """Run a config up to its trained policy."""
    return run_stages(_config(path), RunDir(folder), ["train"])["train"].validation or {}


def per_second(path: str, folder: str, actors: list[int], tasks: int, turns: int) -> dict[str, list[float]]:
    """Rollouts a second of bare loops and of so many actors, in turns, after one turn that is not counted. Actors answer for
    the base and every scenario, bare loops go round as often.

    Args:
        tasks: of ORIGINS origins each, in every turn.
    """
    policy, world, origin_M = _world(path, folder)
    scenarios = 1 + len(world.config.plan.scenarios)
    rollouts = tasks * scenarios * ORIGINS * world.config.plan.paths
    loops = {name: _bare_loop(policy, world, origin_M[:ORIGINS], name == BARE_ONCE) for name in (BARE, BARE_ONCE)}
    found: dict[str, list[float]] = {name: [] for name in [*loops, *map(_name, actors)]}
    torch.set_num_threads(1)
    with actor_pool(Path(folder) / "train/policy", world, max(actors)) as pool:
        for turn in range(1 + turns):
            # Another seed every time, as draws are kept.
            parts = chunks(np.resize(origin_M, tasks * ORIGINS), ORIGINS)
            work = [(part, turn * tasks + number) for number, part in enumerate(parts)]
            runs: dict[str, Callable[[], object]] = {
                name: lambda bare=bare: [bare() for _ in range(tasks * scenarios)]  # type: ignore[misc]
                for name, bare in loops.items()
            }
            for number in actors:
                runs[_name(number)] = lambda number=number, work=work: [None for _ in pool.each(_futures, work, number)]  # type: ignore[misc]
            for name, run in runs.items():
                started = time.perf_counter()
                run()
                if turn:
                    found[name].append(rollouts / (time.perf_counter() - started))
    return found


def search_seconds(path: str, folder: str, trials: int) -> dict[str, Any]:
    """Seconds of the whole tune stage, in a process that has not started Ray."""
    config = load(Path(path), [f"tune.trials={trials}", "train.threads=1"])
    report = run_stages(config, RunDir(folder), ["tune"], force=True)["tune"]
    return {"seconds": report.wall_seconds, "summary": report.summary}


def _config(path: str) -> Config:
    return load(Path(path), ["train.threads=1"])


def _world(path: str, folder: str) -> tuple[Policy, World, NDArray]:
    config = _config(path)
    segments, bounds = load_segments(RunDir(folder))
    policy = Policy.load(Path(folder) / "train/policy")
    world = World(segments, policy.scaler, config, errors_of(policy, segments, bounds))
    return policy, world, some_origins(segments, bounds, "validation", config, 8 * ORIGINS)


def _futures(policy: Policy, world: World, origin_M: NDArray, seed: int) -> NDArray:
    """What an actor does: some origins under the base and every scenario."""
    start = start_of(world, origin_M)
    changed = (under(start, scenario, world) for scenario in (None, *world.config.plan.scenarios))
    return np.stack([roll(policy.forecast_batch, world, one, world.config.plan.paths, seed=seed) for one in changed])


def _bare_loop(policy: Policy, world: World, origin_M: NDArray, once: bool) -> Callable[[], torch.Tensor]:
    """The least that such a rollout needs of torch: the same network on ready tensors, block after block, each forecast's
    middle with an error added and read by the next. Nothing is scaled, drawn by a seed or put back into units.

    Args:
        once: forecast the first block once for all paths of an origin, which are one until something was drawn.
    """
    paths, window = world.config.plan.paths, world.config.window
    history, horizon = window.history, window.horizon
    start, scaler = start_of(world, origin_M), world.scaler
    num_known = len(world.segments.schema.known)
    known = start.known_MTK
    known = np.concatenate([scaler.scale(known[..., :num_known], "known"), known[..., num_known:]], -1)
    ready = {
        "target": scaler.scale(start.target_MXC[:, -history:], "target", start.own),
        "observed": start.observed_MLC,
        "past": scaler.scale(start.past_with_ahead(window.season, world.ahead), "past"),
        "known": known,
        "category": start.category_MS,
    }
    one = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in ready.items()}
    one |= {name: value.float() for name, value in one.items() if name != "category"}
    tensors = {name: value.repeat_interleave(paths, 0) for name, value in one.items()}
    size = len(origin_M) * paths
    error_RHC = torch.randn(1_000, horizon, tensors["target"].shape[2])
    middle = policy.quantiles.index(0.5)
    empty_BHC = torch.zeros(size, horizon, tensors["target"].shape[2])
    empty_BHP = torch.zeros(size, horizon, tensors["past"].shape[2])
    network, head = policy.network, forecaster(policy.network)

    def block(
        values: dict[str, torch.Tensor], target: torch.Tensor, observed: torch.Tensor, first: int
    ) -> torch.Tensor:
        batch = len(target)
        raw_BNHCP = network(
            torch.cat([target, empty_BHC[:batch]], 1),
            torch.cat([observed, empty_BHC[:batch]], 1),
            torch.cat([values["past"][:, first : first + history], empty_BHP[:batch]], 1),
            values["known"][:, first : first + history + horizon],
            values["category"],
        )[:, -1:]
        return head.forecast(raw_BNHCP)[:, 0, ..., middle]

    def run() -> torch.Tensor:
        target_BLC, observed_BLC = tensors["target"], tensors["observed"]
        futures = []
        with torch.inference_mode():
            for first in range(0, world.ahead, horizon):
                if once and first == 0:
                    median_BHC = block(one, one["target"], one["observed"], 0).repeat_interleave(paths, 0)
                else:
                    median_BHC = block(tensors, target_BLC, observed_BLC, first)
                path_BHC = median_BHC + error_RHC[torch.randint(len(error_RHC), (size,))]
                target_BLC = torch.cat([target_BLC, path_BHC], 1)[:, -history:]
                observed_BLC = torch.cat([observed_BLC[:, horizon:], torch.ones_like(path_BHC)], 1)[:, -history:]
                futures.append(path_BHC)
        return torch.cat(futures, 1)

    return run


def _name(number: int) -> str:
    return f"{number} actor{'s' if number > 1 else ''}"
