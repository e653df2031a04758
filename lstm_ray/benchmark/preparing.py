"""From files to the first batch, timed, each way in a process of its own: ours, bare Polars, neuralforecast's."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import polars as pl

from lstm_ray.benchmark.tables import SERIES_ID, TIME, VALUE

HISTORY, HORIZON = 24, 12
MAX_GAP_STEPS = 24
TRAIN = 0.7


def tree(folder: str, **preprocess: Any) -> dict[str, Any]:
    """The YAML that prepares a generated table."""
    return {
        "name": "generated",
        "data": {"source": folder, "series_id": [SERIES_ID], "time": TIME, "target": [VALUE]},
        "preprocess": preprocess,
        "window": {"history": HISTORY, "horizon": HORIZON, "patch": HORIZON},
        "split": {"train": TRAIN, "validation": 0.15},
    }


def ours(folder: str, out: str, **preprocess: Any) -> dict[str, float]:
    """Seconds of the stages preprocess and split, and from their files to the first batch."""
    from lstm_ray.config import parse
    from lstm_ray.data.feed import source, train_batches
    from lstm_ray.data.store import load_scaler, load_segments
    from lstm_ray.lifecycle import run_stages
    from lstm_ray.run_dir import RunDir

    config, run = parse(tree(folder, **preprocess)), RunDir(out)
    reports = run_stages(config, run, ["preprocess", "split"])
    begun = time.perf_counter()
    segments, parts = load_segments(run)
    batch = next(train_batches(source(segments.scaled(load_scaler(run)), parts, "train", config), config, 0))
    assert batch.target_BTC.shape[0] == config.train.batch
    seconds = {name: reports[name].wall_seconds for name in ("preprocess", "split")}
    return {**seconds, "first_batch": time.perf_counter() - begun}


def bare_polars(folder: str, out: str) -> dict[str, float]:
    """Seconds of a script that does what the stage preprocess does here, with Polars alone and the whole table in memory."""
    begun = time.perf_counter()
    frame = pl.read_parquet(Path(folder) / "*.parquet").sort(SERIES_ID, TIME)
    assert not frame.select(pl.struct(SERIES_ID, TIME).is_duplicated().any()).item()
    difference = pl.col(TIME).diff().over(SERIES_ID)
    step = frame.select(difference.drop_nulls().mode().first()).item()
    step_us = int(step.total_seconds() * 1e6)
    start = frame[TIME].min()
    grid = (
        frame.group_by(SERIES_ID, maintain_order=True)
        .agg(pl.datetime_ranges(pl.col(TIME).min(), pl.col(TIME).max(), step).first().alias(TIME))
        .explode(TIME)
    )
    frame = grid.join(frame, on=[SERIES_ID, TIME], how="left", maintain_order="left")
    missing = pl.col(VALUE).is_null()
    frame = frame.with_columns(missing.rle_id().over(SERIES_ID).alias("run"), (~missing).alias("observed"))
    frame = frame.filter(~((pl.len().over(SERIES_ID, "run") > MAX_GAP_STEPS) & missing))
    frame = frame.with_columns(
        ((pl.col(TIME) - start).dt.total_microseconds() // step_us).alias("step"),
        pl.col(VALUE).forward_fill().over(SERIES_ID),
    )
    train = frame.filter(pl.col("step") < TRAIN * (frame["step"].max() + 1), "observed")  # type: ignore[operator]
    statistics = train.select(pl.col(VALUE).mean().alias("mean"), pl.col(VALUE).std().alias("deviation"))
    Path(out).mkdir(parents=True)
    frame.select(SERIES_ID, "run", "step", VALUE, "observed").write_parquet(Path(out) / "segments.parquet")
    statistics.write_parquet(Path(out) / "statistics.parquet")
    return {"preprocess": time.perf_counter() - begun}


def neuralforecast(folder: str, out: str) -> dict[str, float]:
    """Seconds until neuralforecast's LSTM has made its first training step from the table, which it keeps in memory."""
    from neuralforecast import NeuralForecast
    from neuralforecast.models import LSTM

    begun = time.perf_counter()
    frame = pl.read_parquet(Path(folder) / "*.parquet").rename({SERIES_ID: "unique_id", TIME: "ds", VALUE: "y"})
    model = LSTM(h=HORIZON, input_size=HISTORY, max_steps=1, scaler_type="standard", accelerator="cpu")
    NeuralForecast(models=[model], freq="1h").fit(frame)
    return {"first_batch": time.perf_counter() - begun}
