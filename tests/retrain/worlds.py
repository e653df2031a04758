"""A made-up world whose daily wave becomes a half-daily one, and a small run that was trained before it did."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lstm_ray.config import Config
from tests import made

OLD, NEW = 480, 240
"""Steps of the table, and of the rows that come after it."""
UNASKED = {
    "evaluate__statistical_windows": 0,
    "evaluate__damage": [],
    "evaluate__explain": "none",
    "evaluate__predictions": False,
}


def write(
    file: Path, first: int, steps: int, period: int = 24, seed: int = 1, names: tuple[str, ...] = ("a", "b")
) -> Path:
    """Hourly rows from a step on: a wave of that period, one input, noise."""
    random = np.random.default_rng(seed)
    lines = ["site,when,load,wind"]
    for name in names:
        for step in range(first, first + steps):
            wind = random.normal()
            load = 20 + 3 * np.sin(2 * np.pi * step / period) + random.normal(0, 0.2)
            lines.append(f"{name},{made.START + step}:00:00Z,{load:.4f},{wind:.4f}")
    file.write_text("\n".join(lines) + "\n")
    return file


def config_of(table: Path, **values: object) -> Config:
    """A small forecast that a second trains."""
    small = {"window__history": 24, "model__linear": "average", "train__max_epochs": 2, "train__origins": 6}
    return made.make_config(table, **{**small, **UNASKED, **values})
