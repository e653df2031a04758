"""Forecasts of a table are what ``Policy.predict`` says of each of its series: in every way of preparing them, gaps and all."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from lstm_ray.config import Config
from lstm_ray.data.quality.clean import Cleaning
from lstm_ray.data.schema import Fence, Scaler, SeriesUnits
from lstm_ray.data.source import files
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.model.policy import Forecast, Policy, SeriesInput
from lstm_ray.on_ray.forecasting.predicting import Told, part_of, roles_of
from tests import made

HISTORY, HORIZON = 12, 6
KNOWN, SHOPS = ["price"], ["bakery", "bank"]


def drawn_policy(random: random.Random, numbers: np.random.Generator) -> Policy:
    """A policy with random weights whose data is prepared in some way."""
    config, segments = drawn_config(random)
    scaler = made.scaler_of(segments)
    cleaning = Cleaning.of(config.preprocess, config.window)
    if cleaning and cleaning.method != "hampel":
        scaler = scaler.model_copy(
            update={"fences": {role: fence(scaler, role) for role in ("target", "past", "known")}}
        )
    if random.random() < 0.3:
        scaler = made.in_logarithms(scaler, 5.0, 3.2, 0.2)
    if random.random() < 0.4:
        zeros, units = numbers.normal(20, 3, len(config.data.target)), numbers.uniform(1, 4, len(config.data.target))
        own = SeriesUnits(
            of={"s01": [*zeros, *units]}, scale=random.choice(["standard", "robust", "minmax"]), steps=HISTORY
        )
        scaler = scaler.model_copy(update={"series": own})
    policy = made.random_policy(config, segments)
    for weight in policy.network.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return Policy(
        config, segments.schema, scaler.model_copy(update={"cleaning": cleaning}), policy.network.state_dict()
    )


def fence(scaler: Scaler, role: str) -> Fence:
    columns = getattr(scaler, role)
    mean, deviation = np.asarray(columns.mean), np.asarray(columns.deviation)
    return Fence(low=(mean - 1.5 * deviation).tolist(), high=(mean + 1.5 * deviation).tolist())


def drawn_config(random: random.Random) -> tuple[Config, Segments]:
    targets = random.choice([["load"], ["load", "heat"]])
    past, known = random.choice([[], ["wind"]]), random.choice([[], KNOWN])
    static, words = random.choice([[], ["size"]]), random.choice([[], ["shop"]])
    values: dict[str, Any] = {
        "data__target": targets,
        "data__past": past,
        "data__known": known,
        "data__static": static,
        "data__categorical": words,
        "window__lags": random.choice([[], [], [6, 20]]),
        "window__patch": random.choice([1, 4]),
        "model__quantiles": [0.1, 0.5, 0.9],
        "preprocess__impute": random.choice(["forward", "linear", "seasonal", "mean", "median", "zero", "constant"]),
        "preprocess__impute_value": 17.0,
        "preprocess__causal": True,
        "preprocess__max_gap_steps": random.choice([2, 6]),
        "preprocess__outliers": random.choice(["keep", "clip", "mask"]),
        "preprocess__outlier_method": random.choice(["z", "iqr", "hampel"]),
        "preprocess__outlier_steps": 7,
        "preprocess__outlier_deviations": 2.0,
        "seed": random.randrange(1000),
    }
    if values["preprocess__impute"] in ("seasonal", "mean", "median", "linear"):
        values["preprocess__causal"] = values["preprocess__impute"] != "linear" and random.random() < 0.5
    is_time = random.random() < 0.7
    if not is_time:
        values["data__time"] = "step"
    schema = made.schema_of(targets, past, [*known, *static], is_time=is_time)
    schema = schema.model_copy(update={"categories": dict.fromkeys(words, SHOPS)})
    segments = made.segments_of(schema=schema)
    return made.make_config(**values), replace(segments, category_SK=np.ones((1, len(words)), np.int64))


def drawn_table(policy: Policy, random: random.Random, numbers: np.random.Generator) -> pl.DataFrame:
    """Series that start and end anywhere, miss rows and values, have outliers, and some of which cannot be predicted."""
    schema, parts = policy.schema, []
    for s in range(14):
        length, start = random.choice([5, 12, 13, 20, 40, 90]), random.randrange(30)
        step = np.arange(start, start + length + HORIZON)
        columns = {name: numbers.normal(20, 3, len(step)) for name in (*schema.target, *schema.past, *schema.known)}
        for name, values in columns.items():
            values[numbers.random(len(step)) < random.choice([0, 0, 0.1, 0.5])] = np.nan
            values[numbers.random(len(step)) < random.choice([0, 0.05])] += random.choice([-30, 12, 80])
            if name in schema.target or name in schema.past or random.random() < 0.05:
                values[length:] = np.nan
        if "size" in columns:
            columns["size"][:] = np.where(numbers.random(len(step)) < 0.3, np.nan, 20.0 + s)
            columns["size"][0] = 20.0 + s
        if random.random() < 0.1:
            columns[schema.target[0]][-HORIZON - 2] = random.choice([3e12, 1e39])
        times = (made.START + step).astype("datetime64[us]") if schema.is_time else step
        words = {name: [random.choice([*SHOPS, "barn", "", None])] * len(step) for name in schema.categories}
        time, text = "when" if schema.is_time else "step", dict.fromkeys(words, pl.String)
        part = pl.DataFrame({"site": [f"s{s:02d}"] * len(step), time: times, **columns, **words}, schema_overrides=text)
        kept = numbers.random(len(step)) > random.choice([0, 0, 0.1, 0.6])
        gap = random.randrange(length)
        kept[gap : gap + random.choice([0, 0, 3, 9])] = False
        kept[0] |= "size" in columns
        parts.append(part.filter(pl.Series(kept)))
    return pl.concat(parts).with_columns(pl.col(pl.Float64).fill_nan(None))


def expected(policy: Policy, table: pl.DataFrame, name: str) -> Forecast | None:
    """What a caller would be told who sends all of a series: every step in its place, static values repeated."""
    schema = policy.schema
    own = table.filter(pl.col("site") == name).with_columns(
        pl.col(policy.config.data.static).forward_fill().backward_fill()
    )
    time = "when" if schema.is_time else "step"
    step = own[time].to_numpy()
    step = (step.astype("datetime64[h]") - made.START).astype(np.int64) if schema.is_time else step
    there = own.select(pl.any_horizontal(pl.col(c).is_not_null() for c in schema.target)).to_series().to_numpy()
    if not there.any():
        return None
    last, first = step[there].max(), step.min()
    wide = {c: np.full(last + HORIZON + 1 - first, np.nan) for c in (*schema.target, *schema.past, *schema.known)}
    for column, values in wide.items():
        inside = step - first < len(values)
        values[(step - first)[inside]] = own[column].to_numpy()[inside]
        if column in policy.config.data.static:
            values[:] = np.nan if np.isnan(values).all() else values[~np.isnan(values)][0]
    past, ahead = slice(0, last + 1 - first), slice(last + 1 - first, None)
    if any(np.isnan(wide[column][ahead]).all() for column in policy.config.data.known):
        return None
    ticks = schema.axis_start + schema.step * np.arange(first, last + 1)
    words = {column: word for column in schema.categories if (word := own[column][0]) is not None}
    item = SeriesInput(
        schema.of_ticks(ticks),  # type: ignore[arg-type]
        {column: values[past] for column, values in wide.items()},
        {column: wide[column][ahead] for column in schema.known},
        name,
        words,
    )
    try:
        [found] = policy.predict([item])
    except InputError:
        return None
    assert isinstance(found, Forecast)
    return found


def of_table(policy: Policy, file: Path) -> tuple[pl.DataFrame, Told]:
    config = roles_of(policy, str(file))
    content, told = part_of(policy, config, files.read(config.data))
    return pl.read_parquet(io.BytesIO(content)), told


@pytest.mark.parametrize("seed", range(60))
def test_a_table_is_forecast_as_each_of_its_series_alone(tmp_path: Path, seed: int) -> None:
    draw, numbers = random.Random(seed), np.random.default_rng(seed)
    policy = drawn_policy(draw, numbers)
    table = drawn_table(policy, draw, numbers)
    table.write_parquet(tmp_path / "t.parquet")
    found, told = of_table(policy, tmp_path / "t.parquet")
    names = table["site"].unique(maintain_order=True).to_list()
    by_name = {name: part for (name,), part in found.partition_by("series", as_dict=True).items()}
    deviation_C, predicted = np.asarray(policy.scaler.target.deviation), 0
    for name in names:
        wanted = expected(policy, table, name)
        assert (wanted is None) == (name not in by_name), name
        if wanted is None:
            continue
        own, predicted = by_name[name], predicted + 1
        values_HCQ = own.select("q0.1", "median", "q0.9").to_numpy().reshape(wanted.values_HCQ.shape)
        # Forecasts far from zero are float32, too.
        error = np.abs(values_HCQ - wanted.values_HCQ) / np.maximum(deviation_C[:, None], np.abs(wanted.values_HCQ))
        assert error.max() < 1e-5, name
        assert own["warnings"].unique().to_list() == ["; ".join(wanted.warnings)], name
        assert own["time"].to_list() == np.repeat(wanted.times, len(policy.schema.target)).tolist()
        assert own["target"].to_list() == policy.schema.target * HORIZON
    assert told.num_series == predicted
    assert {item["series"] for item in told.skipped} == {*names} - {*by_name}
    assert all(item["reason"] for item in told.skipped)
