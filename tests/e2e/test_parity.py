"""A served policy reads a raw history as training read its segments, whatever options meet: from files to forecasts."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

from lstm_ray.config import Config, with_values
from lstm_ray.data.lags import reach
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.quality.clean import lookback
from lstm_ray.data.store import load_scaler, load_schema, load_segments
from lstm_ray.data.timeline import grid
from lstm_ray.data.windows import Segments, origins
from lstm_ray.errors import InputError
from lstm_ray.evaluate.choosing.validation import validation_metrics
from lstm_ray.evaluate.forecasts.evaluation import evaluate_forecast
from lstm_ray.evaluate.gather import narrow
from lstm_ray.model.network import build
from lstm_ray.model.policy import Policy, SeriesInput
from lstm_ray.on_ray.forecasting.predicting import part_of, roles_of
from tests.data.staged import staged
from tests.made import make_config

STEPS, MAX_GAP = 200, 6
CHOICES: dict[str, list[Any]] = {
    "data__target": [["load"], ["load", "heat"]],
    "data__categorical": [[], ["kind"]],
    "data__weight": [None, "trust"],
    "data__time_zone": [None, "Europe/Berlin"],
    "preprocess__impute": ["forward", "seasonal", "mean", "median", "zero", "constant"],
    "preprocess__impute_value": [3.0],
    "preprocess__outliers": ["keep", "clip", "mask"],
    "preprocess__outlier_method": ["z", "iqr", "hampel"],
    "preprocess__outlier_deviations": [2.0, 4.0],
    "preprocess__outlier_steps": [5, 12, 30],
    "preprocess__transform": ["auto", "none", "log", "log1p", "box_cox", "yeo_johnson"],
    "preprocess__scale": ["standard", "robust", "minmax", "none"],
    "preprocess__scale_by": ["column", "all", "series"],
    "preprocess__calendar": [[], ["hour", "weekday", "month"]],
    "preprocess__holidays": [None, "DE"],
    "window__lags": [[], [7, 24]],
    "model__difference": [None, 5],
    "model__normalisation": ["none", "last", "mean", "mean_deviation", "auto"],
    "model__linear": ["none", "average"],
}


def drawn(seed: int) -> Config:
    """Options that agree with each other, at random."""
    draw = random.Random(seed)
    while True:
        values = {name: draw.choice(found) for name, found in CHOICES.items()}
        try:
            return make_config(
                data__known=["price"], data__static=["size"], preprocess__max_gap_steps=MAX_GAP, **values
            )
        except InputError:
            continue


def table(seed: int) -> pl.DataFrame:
    """Three series of other sizes with holes and spikes in every column, a long gap, and inputs that miss more than it."""
    drawn = np.random.default_rng(seed)
    parts = []
    for number, (name, steps) in enumerate({"a": STEPS, "b": STEPS - 20, "c": STEPS - 60}.items()):
        step = np.arange(STEPS - steps, STEPS)
        wave = (20 + 3 * np.sin(2 * np.pi * step / 24)) * (1, 30, 5)[number]
        columns = {target: wave * drawn.lognormal(0, 0.02, steps) for target in ("load", "heat")}
        columns |= {"wind": drawn.normal(5, 2, steps), "price": drawn.normal(50, 5, steps), "size": np.full(steps, 7.0)}
        columns["size"] += number
        for values in columns.values():
            values[drawn.random(steps) < 0.1] = np.nan
        for target in ("load", "heat"):
            columns[target][drawn.random(steps) < 0.03] *= 9
            columns[target][40:44] = np.nan
            columns[target][75 : 75 + MAX_GAP + 3] = np.nan
        for name_of, more in (("wind", 8), ("price", 4), ("size", 8)):
            columns[name_of][:more] = np.nan
            columns[name_of][75 : 75 + MAX_GAP + 3 + more] = np.nan
        columns["wind"][90:130] = np.nan
        frame = pl.DataFrame({key: pl.Series(values).fill_nan(None) for key, values in columns.items()})
        when = pl.Series((np.datetime64("2023-12-20T00", "h") + step).astype("datetime64[us]"))
        parts.append(frame.with_columns(site=pl.lit(name), when=when, kind=pl.lit(name), trust=drawn.random(steps)))
    return pl.concat(parts)


@dataclass(frozen=True)
class Case:
    policy: Policy
    segments: Segments
    parts: Boundaries
    origin_M: NDArray
    rows: pl.DataFrame
    """On the grid, as it was read."""
    table: pl.DataFrame

    def history(self, origin: int) -> SeriesInput:
        """Everything of a series up to an origin, and its known future, as a caller has it."""
        schema, name, time = self.policy.schema, *self._at(origin)
        own = self.rows.filter(pl.col("series") == name)
        past, ahead = own.filter(pl.col("time") <= time), own.filter(pl.col("time") > time)[:6]
        columns = {c: past[c].to_numpy() for c in (*schema.target, *schema.past, *schema.known)}
        words = {c: own[c].drop_nulls()[0] for c in schema.categories}
        return SeriesInput(
            past["time"].to_numpy(), columns, {c: ahead[c].to_numpy() for c in schema.known}, name, words
        )

    def file(self, origin: int) -> pl.DataFrame:
        """The same as rows of a table."""
        name, moving = self._at(origin)[0], [*self.policy.schema.target, "wind"]
        steps = len(self.history(origin).times)
        there = pl.int_range(pl.len()) < steps
        own = self.table.filter(pl.col("site") == name)[: steps + 6]
        return own.with_columns(pl.when(there).then(pl.col(c)).otherwise(None).alias(c) for c in moving)

    def _at(self, origin: int) -> tuple[str, Any]:
        return self.segments.series[self.segments.series_of(np.array([origin]))[0]], self.segments.times(origin)


def case(seed: int, folder: Path, **values: Any) -> Case:
    config, frame = with_values(drawn(seed), values), table(seed)
    run = staged(config, frame, folder)
    segments, parts = load_segments(run)
    schema = load_schema(run)
    weights, draw = build(config, schema).state_dict(), torch.Generator().manual_seed(seed)
    for value in weights.values():
        if value.is_floating_point() and not value.any():
            torch.nn.init.normal_(value, std=0.1, generator=draw)
    Policy(config, schema, load_scaler(run), weights).save(folder / "policy")
    found = [origins(segments, parts, part, config.window) for part in ("train", "validation", "test")]  # type: ignore[arg-type]
    every_M = np.concatenate(found)
    every_M = every_M[segments.observed_RC[every_M].all(1)]
    origin_M = np.sort(np.random.default_rng(seed).choice(every_M, min(8, len(every_M)), replace=False))
    data = config.data.model_copy(update={"source": str(folder / "table.parquet")})
    rows = grid.on_grid(grid.load(data), schema.step, data)
    return Case(Policy.load(folder / "policy"), segments, parts, origin_M, rows, frame)


@pytest.mark.parametrize("seed", range(24))
def test_a_raw_history_is_answered_as_its_segments_are(seed: int, tmp_path: Path) -> None:
    one = case(seed, tmp_path / "run")
    policy, segments = one.policy, one.segments
    expected_MHC = policy.forecast_windows(segments, one.origin_M)[..., 0]
    assert np.isfinite(expected_MHC).all()

    asked = policy.predict([one.history(origin) for origin in one.origin_M])
    served_MHC = np.stack([answer.values_HCQ[..., 0] for answer in asked])  # type: ignore[union-attr]
    steps, batch, evaluated = reach(policy.config.window) + lookback(policy.scaler), [], []
    for origin in one.origin_M:
        near, row = narrow(segments, np.array([origin]), steps, 6)
        evaluated.append(policy.forecast_windows(near, row)[0, ..., 0])
        part, told = part_of(policy, roles_of(policy, "new.parquet"), one.file(origin).to_arrow())
        assert not told.num_skipped
        batch.append(pl.read_parquet(part)["median"].to_numpy().reshape(6, -1))

    size = np.maximum(np.abs(expected_MHC), np.abs(expected_MHC).mean())
    for how, found in (("predict", served_MHC), ("evaluate", np.stack(evaluated)), ("files", np.stack(batch))):
        np.testing.assert_allclose(found / size, expected_MHC / size, atol=2e-3, err_msg=f"{how}: {policy.config}")


@pytest.mark.parametrize("impute", ["forward", "median"])
def test_scores_are_those_of_forecasts_on_whole_segments(impute: str, tmp_path: Path) -> None:
    """Although windows are scored some at a time, with no more rows than they read; in the data's own units."""
    cleaning = {"impute": impute, "outliers": "mask", "outlier_method": "hampel", "outlier_deviations": 2.0}
    values = {f"preprocess.{name}": value for name, value in cleaning.items()} | {"preprocess.outlier_steps": 30}
    one = case(3, tmp_path / "run", **values, **{"evaluate.batch": 4})
    policy, segments = one.policy, one.segments
    evaluation = evaluate_forecast(policy.config, "train", policy, policy.scaler, segments, one.parts)
    found = {"test": evaluation.metrics["mae"], "validation": validation_metrics(policy, segments, one.parts)["mae"]}
    for part, mae in found.items():
        rows = origins(segments, one.parts, part, policy.config.window)  # type: ignore[arg-type]
        ahead = rows[:, None] + np.arange(1, 7)
        middle_MHC = policy.forecast_windows(segments, rows)[..., 0]
        seen = segments.observed_RC[ahead] > 0
        assert mae == pytest.approx(np.abs(middle_MHC - segments.target_RC[ahead])[seen].mean(), rel=1e-4)
