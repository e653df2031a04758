"""How fast a policy is scored on windows beside a bare forward pass, and in how much memory. For a process of its own.

Shapes: B windows of a batch, L history, H horizon, T = L + H, C targets, Q quantiles.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lstm_ray.benchmark import fresh, made_up
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.schema import ColumnScale, Scaler
from lstm_ray.data.windows import Segments, origins
from lstm_ray.evaluate.forecasts.baselines import fit_baselines
from lstm_ray.evaluate.forecasts.metrics import seasonal_scale
from lstm_ray.evaluate.forecasts.score import Yardstick, score
from lstm_ray.evaluate.gather import Forecaster
from lstm_ray.evaluate.names import POLICY
from lstm_ray.model.network import build, forecaster
from lstm_ray.model.policy import Policy

BATCH, WARM_UP = 512, 10_000
TRAINING, HELD_OUT = 20_000, 2_000
"""Rows before the test part that baselines are fitted on."""
BARE, SCORED, WRITTEN, BESIDE = "bare forward pass", "scored", "scored and written", "with all baselines"


def per_second(window: dict[str, int], num_windows: int, turns: int) -> dict[str, list[float]]:
    """Windows a second of a bare forward pass, of scoring, of scoring with every forecast written to Parquet, and of the same
    with the baselines beside, in turns, after a short turn that is not counted."""
    torch.set_num_threads(1)
    policy, segments, bounds, given = made_up_run(window, num_windows)
    baselines = fit_baselines(segments, bounds, given.window, policy.scaler)
    test_M = origins(segments, bounds, "test", given.window)
    everybody: dict[str, Forecaster] = {POLICY: policy, **baselines}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "predictions.parquet"
        loops: dict[str, Callable[[NDArray], object]] = {
            BARE: lambda origins_M: deque(forward(policy, segments, origins_M), maxlen=0),
            SCORED: lambda origins_M: score({POLICY: policy}, segments, origins_M, given),
            WRITTEN: lambda origins_M: score({POLICY: policy}, segments, origins_M, given, out=out),
            BESIDE: lambda origins_M: score(everybody, segments, origins_M, given, out=out),
        }
        found: dict[str, list[float]] = {name: [] for name in loops}
        for turn in range(1 + turns):
            for name, loop in loops.items():
                origins_M = test_M if turn else test_M[:WARM_UP]
                began = time.perf_counter()
                loop(origins_M)
                if turn:
                    found[name].append(len(origins_M) / (time.perf_counter() - began))
                out.unlink(missing_ok=True)
    return found


def peak(window: dict[str, int], num_windows: int) -> dict[str, int]:
    """Bytes that this process held at most: before scoring, with the series and the policy in memory, and all in all."""
    torch.set_num_threads(1)
    policy, segments, bounds, given = made_up_run(window, num_windows)
    baselines = fit_baselines(segments, bounds, given.window, policy.scaler)
    origins_M = origins(segments, bounds, "test", given.window)
    before = fresh.peak_bytes()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "predictions.parquet"
        score({POLICY: policy, **baselines}, segments, origins_M, given, out=out)
        size = out.stat().st_size
    return {"before_bytes": before, "peak_bytes": fresh.peak_bytes(), "written_bytes": size}


def made_up_run(window: dict[str, int], num_windows: int) -> tuple[Policy, Segments, Boundaries, Yardstick]:
    """A network as it is before training (no slower than after), and a series whose test part has so many windows."""
    config = made_up.config(window, max_epochs=1)
    segments, _ = made_up.series(num_windows + TRAINING, window)
    rows = len(segments.target_RC)
    first = rows - num_windows - window["horizon"] + 1
    bounds: Boundaries = {
        "train": (0, first - HELD_OUT),
        "validation": (first - HELD_OUT, first),
        "test": (first, rows),
    }
    unit, none = ColumnScale(mean=[0.0], deviation=[1.0]), ColumnScale(mean=[], deviation=[])
    scaler = Scaler(target=unit, past=none, known=none)
    torch.manual_seed(made_up.SEED)
    policy = Policy(config, segments.schema, scaler, build(config, segments.schema).state_dict())
    scale_NC = seasonal_scale(segments, bounds, config.window.season)
    return policy, segments, bounds, Yardstick(config.window, scale_NC, np.ones(1), BATCH)


def forward(policy: Policy, segments: Segments, origins_M: NDArray) -> Iterator[Tensor]:
    """Forecasts [B, H, C, Q] of windows whose origins follow each other: the network on views of a tensor, batch by batch.
    Nothing is scaled, kept or compared."""
    window = policy.config.window
    windows_RL = torch.from_numpy(segments.target_RC[:, 0]).unfold(0, window.history, 1)
    empty_BT0 = torch.zeros(BATCH, window.history + window.horizon, 0)
    category_B0 = torch.zeros(BATCH, 0, dtype=torch.int64)
    future_BH1 = torch.zeros(BATCH, window.horizon, 1)
    observed_BT1 = torch.cat([torch.ones(BATCH, window.history, 1), future_BH1], 1)
    network, head = policy.network, forecaster(policy.network)
    start, end = int(origins_M[0]) - window.history + 1, int(origins_M[-1]) - window.history + 2
    with torch.inference_mode():
        for first in range(start, end, BATCH):
            history_BL1 = windows_RL[first : min(first + BATCH, end)][..., None]
            size = len(history_BL1)
            target_BT1 = torch.cat([history_BL1, future_BH1[:size]], 1)
            rest = (observed_BT1[:size], empty_BT0[:size], empty_BT0[:size], category_B0[:size])
            yield head.forecast(network(target_BT1, *rest)[:, -1:])[:, 0]
