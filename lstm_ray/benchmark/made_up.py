"""Seeded made-up series, already standardised, and the configs that train on them. Opens no file and knows no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from lstm_ray.config import Config, parse
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.preparing.segments import OBSERVED, SEGMENT, STEP
from lstm_ray.data.schema import Schema
from lstm_ray.data.store import to_segments
from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.data.windows import Segments

SEED, TARGET, HIDDEN = 7, "value", 128


def config(window: dict[str, int], **train: Any) -> Config:
    """One target, one layer, nothing optional: the network that a bare loop of torch would also train.

    Args:
        window: history, horizon, patch.
        train: fields of the train section.
    """
    epochs = train["max_epochs"]
    return parse(
        {
            "name": "made-up",
            "seed": SEED,
            "data": {"source": "made up", "target": [TARGET]},
            "window": window,
            "model": {"hidden": HIDDEN, "dropout": 0.0, "linear": "none", "members": 1, "normalisation": "mean"},
            "train": {"threads": 1, "precision": "float32", "patience": epochs, **train},
        }
    )


def series(num_windows: int, window: dict[str, int]) -> tuple[Segments, Boundaries]:
    """One daily wave with noise, its training part holding this many windows and its validation part a handful.

    Scaled: its mean is about 0 and its deviation about 1.
    """
    train = num_windows + window["history"] + window["horizon"] - 1
    held_out = window["horizon"] + 8 * window["patch"]
    step = np.arange(train + held_out)
    random = np.random.default_rng(SEED)
    value = np.sin(2 * np.pi * step / 24) + 0.5 * random.normal(size=len(step)) + 0.5 * np.sin(step / 500)
    frame = pl.DataFrame({STEP: step, TARGET: value.astype(np.float32)}).with_columns(
        pl.lit("made up").alias(SERIES), pl.lit(0, pl.Int32).alias(SEGMENT), pl.lit(True).alias(OBSERVED + TARGET)
    )
    none: list[str] = []
    columns = {"target": [TARGET], "past": none, "known": none, "calendar": none, "classes": none}
    schema = Schema.model_validate({**columns, "step": 1, "is_time": False, "axis_start": 0})
    parts: Boundaries = {"train": (0, train), "validation": (train, len(step)), "test": (len(step), len(step))}
    return to_segments(frame, schema), parts
