"""Others' predictions of many series with an LSTM of the same width, history and horizon, from files to a file.

To be called in processes of their own, perhaps of a Python where lstm-ray's other dependencies are not installed. What is told
is a prediction's time: libraries are imported and a model is fitted, for a moment, before it.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lstm_ray.benchmark.tables import SERIES_ID, TIME, VALUE

HIDDEN = 128
FITTED = 32
"""Series that a model is fitted on; it predicts no slower for it."""
BATCH = 1024


def neuralforecast(table: str, out: str, history: int, horizon: int) -> dict[str, float]:
    """Seconds of reading, ``NeuralForecast.predict(df)`` and writing."""
    from neuralforecast import NeuralForecast
    from neuralforecast.models import LSTM

    names = {SERIES_ID: "unique_id", TIME: "ds", VALUE: "y"}
    trainer = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    size = {"encoder_n_layers": 1, "encoder_hidden_size": HIDDEN, "inference_windows_batch_size": BATCH}
    model = LSTM(h=horizon, input_size=history, max_steps=1, scaler_type="standard", **size, **trainer)
    forecaster = NeuralForecast(models=[model], freq="1h")
    forecaster.fit(_longer(history + 2 * horizon).rename(names))
    begun = time.perf_counter()
    found = forecaster.predict(df=_read(table).rename(names))
    found.write_parquet(out)
    return _told(begun, found.height, horizon)


def darts(table: str, out: str, history: int, horizon: int) -> dict[str, float]:
    """Seconds of reading, cutting into ``TimeSeries``, ``BlockRNNModel.predict`` and writing."""
    from darts import TimeSeries
    from darts.models import BlockRNNModel

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    trainer = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    model = BlockRNNModel(
        history,
        horizon,
        model="LSTM",
        hidden_dim=HIDDEN,
        n_rnn_layers=1,
        n_epochs=1,
        batch_size=BATCH,
        pl_trainer_kwargs=trainer,
    )

    def cut(frame: pl.DataFrame) -> list[Any]:
        kinds = {"group_cols": SERIES_ID, "time_col": TIME, "value_cols": VALUE, "freq": "h"}
        found = TimeSeries.from_group_dataframe(frame.to_pandas(), **kinds)
        return [one.with_static_covariates(None).astype(np.float32) for one in found]

    model.fit(cut(_longer(history + 2 * horizon)))
    begun = time.perf_counter()
    found = model.predict(horizon, series=cut(_read(table)))
    values = np.concatenate([one.values()[:, 0] for one in found])
    pl.DataFrame({VALUE: values}).write_parquet(out)
    return _told(begun, len(values), horizon)


def _read(table: str) -> pl.DataFrame:
    return pl.read_parquet(Path(table) / "*.parquet")


def _longer(steps: int) -> pl.DataFrame:
    """Series that are long enough to fit a model on."""
    step = np.tile(np.arange(steps), FITTED)
    stamps = np.datetime64("2020-01-01", "us") + step * np.timedelta64(1, "h")
    names = np.repeat([f"fitted-{number}" for number in range(FITTED)], steps)
    return pl.DataFrame({SERIES_ID: names, TIME: stamps, VALUE: 10 + np.sin(2 * np.pi * step / 24)})


def _told(begun: float, rows: int, horizon: int) -> dict[str, float]:
    return {"seconds": time.perf_counter() - begun, "series": rows / horizon}
