"""A policy with the weights that its seed draws, as fast as a trained one, and what to ask it. Imports no Ray.

Shapes: L history, H horizon.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lstm_ray.benchmark.tables import SERIES_ID, TIME, VALUE
from lstm_ray.config import Config, parse
from lstm_ray.data.schema import ColumnScale, Scaler, Schema
from lstm_ray.model.network import build
from lstm_ray.model.policy import Policy
from lstm_ray.model.request import SeriesInput

SEED, HOUR = 7, 3_600_000_000
START = np.datetime64("2024-01-01", "us")
PAST = ("temperature", "humidity", "wind", "pressure", "cloud", "rain")
NUM_BODIES = 64
"""Different requests that clients send in turn."""
MEAN, DEVIATION, NOISE = 10.0, 1.0, 0.3


def config(history: int = 336, horizon: int = 24, columns: int = 1, seed: int = SEED) -> Config:
    """Hourly forecasts with three quantiles, and the network's size left as it is.

    Args:
        columns: one target and so many less one past inputs.
    """
    past = list(PAST[: columns - 1])
    return parse(
        {
            "name": "untrained",
            "seed": seed,
            "data": {"source": "made up", "series_id": [SERIES_ID], "time": TIME, "target": [VALUE], "past": past},
            "window": {"history": history, "horizon": horizon, "patch": 24, "season": 24},
            "model": {"quantiles": [0.1, 0.5, 0.9]},
        }
    )


def policy(config: Config) -> Policy:
    """What a training would begin with. Its reference is that of the waves in ``series``, so replicas count as ever."""
    torch.manual_seed(config.seed)
    names = [VALUE, *config.data.past]
    schema = Schema(
        target=[VALUE],
        past=config.data.past,
        known=[],
        calendar=["hour"],
        classes=[],
        step=HOUR,
        is_time=True,
        axis_start=int(START.astype(np.int64)),
    )

    def scale(number: int) -> ColumnScale:
        return ColumnScale(mean=[MEAN] * number, deviation=[DEVIATION] * number)

    scaler = Scaler(target=scale(1), past=scale(len(names) - 1), known=scale(0))
    edges = (MEAN + DEVIATION * np.linspace(-1.2, 1.2, 9)).tolist()
    column = {"edges": edges, "shares": [0.1] * 10, "count": 10_000, "mean": MEAN, "deviation": DEVIATION}
    facts = {"reference": {"columns": dict.fromkeys(names, column)}}
    return Policy(config, schema, scaler, build(config, schema).state_dict(), facts)


def save(folder: str, **values: int) -> str:
    """Save the policy of a config; returns its version."""
    return policy(config(**values)).save(Path(folder))


def series(config: Config, number: int, steps: int | None = None, name: str = "") -> SeriesInput:
    """A day's wave with noise in every column, drawn by the number; ``steps`` of it, or the history."""
    steps = steps or config.window.history
    random = np.random.default_rng([SEED, number])
    wave_L = MEAN + DEVIATION * np.sin(2 * np.pi * (np.arange(steps) + number) / 24)
    columns = {c: np.round(wave_L + NOISE * random.normal(size=steps), 3) for c in (VALUE, *config.data.past)}
    times: Any = START + np.arange(steps) * np.timedelta64(HOUR, "us")
    return SeriesInput(times, columns, name=name)


def part(item: SeriesInput, first: int, end: int) -> SeriesInput:
    """Some of its steps."""
    columns = {name: np.asarray(values)[first:end] for name, values in item.columns.items()}
    return SeriesInput(item.times[first:end], columns, name=item.name)


def bodies(config: Config) -> list[bytes]:
    """Requests of one series each, as JSON."""
    return [json.dumps({"series": [plain(series(config, number))]}).encode() for number in range(NUM_BODIES)]


def plain(item: SeriesInput) -> dict[str, object]:
    """A request's series as JSON has it."""
    times = [f"{time}Z" for time in np.asarray(item.times).astype("datetime64[s]").astype(str)]
    return {"times": times, "columns": {name: np.asarray(values).tolist() for name, values in item.columns.items()}}
