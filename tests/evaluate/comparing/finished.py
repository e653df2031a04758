"""Run directories as an evaluated run leaves them, with errors that a test chooses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray

from lstm_ray.run_dir import Report, RunDir
from tests import made

HORIZON = 6


def leave(
    folder: Path,
    error_MN: NDArray,
    *,
    task: str = "forecast",
    target: str = "load",
    horizon: int = HORIZON,
    last_value: NDArray | None = None,
    config: dict[str, Any] | None = None,
    first: int = 0,
    series: Sequence[str] | None = None,
) -> str:
    """A run whose policy made these errors at each time (M) in each series (N), all at hours from a common start on."""
    run = RunDir(folder)
    times, number = error_MN.shape
    names = series or [f"s{n}" for n in range(number)]
    hours = (made.START + np.arange(first, first + times)).astype("datetime64[us]")
    columns = {
        "series_id": np.repeat(names, times),
        "time": np.tile(hours, number),
        "policy": error_MN.T.ravel(),
        "last_value": (np.ones_like(error_MN) if last_value is None else last_value).T.ravel(),
    }
    (folder / "evaluate").mkdir(parents=True)
    pl.DataFrame(columns).write_parquet(folder / "evaluate" / "cases.parquet")
    metrics = {"mae": float(error_MN.mean()), "rmse": float(np.sqrt((error_MN**2).mean()))}
    told = {
        "task": task,
        "policy": "train",
        "split": "test",
        "num_windows": error_MN.size,
        "metrics": metrics,
        "baselines": {},
    }
    run.write_json(
        "evaluate/metrics.json", told | {"window": {"history": 12, "horizon": horizon, "patch": 4, "season": 6}}
    )
    run.write_json("evaluate/report.json", Report(stage="evaluate", summary="", num_parameters=1234))
    run.write_json("train/report.json", Report(stage="train", summary="", wall_seconds=12.5))
    classes = ["a", "b"] if task != "forecast" else []
    run.write_json("preprocess/schema.json", made.schema_of(target=(target,), classes=classes))
    tree = {"name": folder.name, "task": task, "data": {"target": [target]}, "train": {"batch": 8}} | (config or {})
    run.write_bytes("config.yaml", yaml.safe_dump(tree).encode())
    return str(folder)


def noise(times: int = 300, number: int = 8, seed: int = 0) -> NDArray:
    """Errors around 1 that series share in part, as they do in one table."""
    random = np.random.default_rng(seed)
    return np.abs(1 + 0.3 * random.normal(size=(times, 1)) + 0.2 * random.normal(size=(times, number)))
