"""Small runs for the tests of what Ray does: two hourly waves with gaps, prepared in this process."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl

from lstm_ray.config import Config, parse, with_values
from lstm_ray.lifecycle import run_stages
from lstm_ray.run_dir import RunDir


def write_waves(folder: Path, steps: int = 600, series: tuple[str, ...] = ("a", "b", "c")) -> Path:
    """A long table of noisy daily waves; series b misses ten hours in a row."""
    random = np.random.default_rng(1)
    lines = ["name,time,load,wind"]
    for index, name in enumerate(series):
        for step in range(steps):
            if name == "b" and 100 <= step < 110:
                continue
            stamp = np.datetime64("2024-01-01T00") + np.timedelta64(step, "h")
            load = 10 * index + 3 * math.sin(2 * math.pi * step / 24) + random.normal(0, 0.3)
            lines.append(f"{name},{stamp}:00:00,{load:.4f},{random.normal():.4f}")
    file = folder / "waves.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def small_config(file: Path, **values: object) -> Config:
    """A config of the waves that trains in a blink; ``section__field`` changes a field."""
    config = parse(
        {
            "name": "waves",
            "data": {"source": str(file), "series_id": ["name"], "time": "time", "target": ["load"], "past": ["wind"]},
            "preprocess": {"engine": "polars", "max_gap_steps": 6},
            "window": {"history": 48, "horizon": 12, "patch": 12},
            "model": {"hidden": 8, "dropout": 0.0, "quantiles": [0.1, 0.5, 0.9]},
            "train": {"precision": "float32", "batch": 6, "origins": 5, "max_epochs": 3, "learning_rate": 0.005},
            "plan": {"origins": 12, "paths": 3, "synthetic": {"epochs": 1, "seeds": 1}},
        }
    )
    return with_values(config, {name.replace("__", "."): value for name, value in values.items()})


def prepared(config: Config, folder: Path, stage: str = "split") -> RunDir:
    """A run directory in which everything up to ``stage`` has run."""
    run = RunDir(folder)
    run_stages(config, run, [stage])
    return run


def label_config(file: Path, kind: str = "class", **values: object) -> Config:
    """A config that labels every step of the waves: whether the load is high, or itself as it was an hour before."""
    text = pl.read_csv(file)
    before = pl.col("load").shift(1).over("name")
    label = before if kind == "value" else pl.when(before > before.mean().over("name")).then(pl.lit("up"))
    label = label if kind == "value" else label.when(before.is_not_null()).then(pl.lit("down"))  # type: ignore[union-attr]
    labelled = file.with_name(f"labelled-{kind}.csv")
    text.with_columns(state=label).write_csv(labelled)
    tree = small_config(labelled).model_dump()
    tree |= {"name": "states", "task": "label"}
    tree["data"] |= {"target": [], "past": ["load", "wind"], "label": "state", "label_kind": kind}
    tree["model"] |= {"quantiles": [], "members": 1}
    tree["plan"]["scenarios"] = [{"name": "higher", "column": "load", "operation": "shift", "value": 5.0}]
    return with_values(parse(tree), {name.replace("__", "."): value for name, value in values.items()})
