"""What a caller sends is filled and cleaned as training was: a served answer equals the answer on segments."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from lstm_ray.config import Config
from lstm_ray.data.preparing.segments import make_schema, make_segments
from lstm_ray.data.scaling.fit import fit_scaler
from lstm_ray.data.schema import Schema
from lstm_ray.data.store import to_segments
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.model import request
from lstm_ray.model.network import build
from lstm_ray.model.policy import Policy, SeriesInput
from lstm_ray.model.request import Reader
from tests import made
from tests.made import classify_config, frame_of, label_config, make_config

STEPS = 120
STEP_TIME = 3_600_000_000


def table() -> pl.DataFrame:
    """One hourly series with holes in every column, and two spikes."""
    random = np.random.default_rng(5)
    step = np.arange(STEPS)
    columns = {
        "load": 20 + 3 * np.sin(2 * np.pi * step / 24) + random.normal(0, 0.3, STEPS),
        "wind": random.normal(size=STEPS),
        "price": random.normal(50, 5, STEPS),
        "size": np.full(STEPS, 7.0),
    }
    columns["load"][[60, 95]] = 400, -300
    columns["wind"][97] = 60
    for name, values in columns.items():
        values[random.random(STEPS) < (0.1 if name != "size" else 0.4)] = np.nan
        values[[92, 93, 94, 98]] = np.nan if name != "size" else 7.0
    columns["load"][[0, 60, 95, 99, 105]] = 20, 400, -300, 21, 20
    # A line to a value after the origin, or after the horizon, is one that nobody can draw yet.
    columns["wind"][[97, 99, 105]], columns["price"][105:113] = (60, 1, 1), 50
    frame = frame_of(**{name: pl.Series(values).fill_nan(None) for name, values in columns.items()})
    return frame.with_columns((pl.col("time") * STEP_TIME).cast(pl.Datetime("us")))


def made_of(config: Config, frame: pl.DataFrame) -> tuple[Policy, Segments]:
    schema = make_schema(frame, STEP_TIME, config)
    segments = make_segments(frame, schema, config)
    scaler = fit_scaler(segments, schema, pl.col("step") < 80, config)
    policy = Policy(config, schema, scaler, build(config, schema).state_dict())
    return policy, to_segments(segments, schema)


def sent(frame: pl.DataFrame, schema: Schema, origin: int, horizon: int) -> SeriesInput:
    """Everything up to a step as it was measured, and the known columns ahead."""
    past, ahead = frame[: origin + 1], frame[origin + 1 : origin + 1 + horizon]
    columns = {name: past[name].to_numpy() for name in (*schema.target, *schema.past, *schema.known)}
    return SeriesInput(past["time"].to_list(), columns, {name: ahead[name].to_numpy() for name in schema.known}, "one")


CLEANINGS: list[dict[str, Any]] = [
    {},
    {"preprocess__outliers": "clip"},
    {"preprocess__outliers": "mask", "preprocess__outlier_method": "iqr"},
    {"preprocess__outliers": "mask", "preprocess__outlier_method": "hampel", "preprocess__outlier_steps": 12},
    {"preprocess__outliers": "clip", "preprocess__outlier_method": "hampel", "preprocess__outlier_steps": 12},
]
FILLINGS: list[dict[str, Any]] = [
    {"preprocess__impute": how} for how in ("forward", "seasonal", "mean", "median", "zero", "constant")
] + [{"preprocess__impute": "linear", "preprocess__causal": False}]


@pytest.mark.parametrize("cleaning", CLEANINGS, ids=str)
@pytest.mark.parametrize("filling", FILLINGS, ids=str)
def test_a_served_forecast_equals_that_of_segments(filling: dict[str, Any], cleaning: dict[str, Any]) -> None:
    config = make_config(data__known=["price"], data__static=["size"], **filling, **cleaning)
    frame = table()
    policy, segments = made_of(config, frame)
    assert segments.bounds.tolist() == [0, STEPS]
    origins_M = np.array([99, 105])
    expected = policy.forecast_windows(segments, origins_M)
    found = policy.predict([sent(frame, policy.schema, origin, 6) for origin in origins_M])
    np.testing.assert_allclose([one.values_HCQ for one in found], expected, rtol=2e-4, atol=2e-4)  # type: ignore[union-attr]


@pytest.mark.parametrize("cleaning", CLEANINGS, ids=str)
@pytest.mark.parametrize("filling", FILLINGS, ids=str)
def test_served_labels_equal_those_of_segments(filling: dict[str, Any], cleaning: dict[str, Any]) -> None:
    config = label_config(**filling, **cleaning)
    frame = table().select(
        "series", "time", "load", state=pl.when(pl.col("price") > 50).then(pl.lit("a")).otherwise(pl.lit("b"))
    )
    policy, segments = made_of(config, frame)
    expected = policy.tell_steps(segments, np.array([[0, STEPS]]))
    (found,) = policy.predict([sent(frame, policy.schema, STEPS - 1, 0)])
    np.testing.assert_allclose(found.answer_LA, expected, rtol=1e-4, atol=1e-5)  # type: ignore[union-attr]


@pytest.mark.parametrize("cleaning", CLEANINGS, ids=str)
def test_a_served_class_equals_that_of_segments(cleaning: dict[str, Any]) -> None:
    config = classify_config(preprocess__impute="median", **cleaning)
    short = table()[70:82].select("series", "time", "load", kind=pl.lit("up"))
    other = short.with_columns(series=pl.lit("b"), kind=pl.lit("down"), load=pl.col("load") + 1)
    policy, segments = made_of(config, pl.concat([short, other]).sort("series", "time"))
    expected = policy.class_probabilities(segments, np.arange(2))
    found = policy.predict([sent(part, policy.schema, 11, 0) for part in (short, other)])
    order = [segments.series.index(name) for name in ("all", "b")]
    np.testing.assert_allclose([one.probabilities for one in found], expected[order], rtol=1e-4, atol=1e-5)  # type: ignore[union-attr]


def test_a_caller_is_told_of_outliers_and_what_was_done_to_them() -> None:
    frame = table()
    for action, words in (("mask", "was an outlier and masked"), ("clip", "was an outlier and clipped")):
        config = make_config(preprocess__outliers=action, preprocess__outlier_method="iqr")
        policy, _ = made_of(config, frame.drop("price", "size"))
        (found,) = policy.predict([sent(frame, policy.schema, 99, 6)])
        assert f"1 of 12 values of 'load' {words}" in found.warnings
        assert f"1 of 12 values of 'wind' {words}" in found.warnings


def test_what_lies_before_the_history_fills_it_by_the_rule() -> None:
    policy, _ = made_of(make_config(preprocess__impute="mean"), table().drop("price", "size"))
    frame = table()
    whole = policy.predict([sent(frame, policy.schema, 99, 6)])[0]
    later = policy.predict([sent(frame[80:], policy.schema, 19, 6)])[0]
    assert not np.allclose(whole.values_HCQ, later.values_HCQ)  # type: ignore[union-attr]


def test_nothing_is_filled_from_before_a_gap_that_would_have_cut_the_series() -> None:
    config = make_config(preprocess__impute="median", preprocess__max_gap_steps=6, data__known=["price"])
    frame, step = table().drop("size"), pl.int_range(pl.len())
    holes = {"load": (70, 78), "wind": (70, 84), "price": (70, 82)}
    frame = frame.with_columns(
        pl.when(step.is_between(*ends, closed="left")).then(None).otherwise(pl.col(c)).alias(c)
        for c, ends in holes.items()
    )
    policy, segments = made_of(config, frame)
    assert len(segments.series) == 2
    rows = segments.bounds[1] + np.array([12, 21])
    origins = segments.steps(rows)
    expected = policy.forecast_windows(segments, rows)
    found = policy.predict([sent(frame, policy.schema, int(origin), 6) for origin in origins])
    served = np.stack([one.values_HCQ for one in found])  # type: ignore[union-attr]
    np.testing.assert_allclose(served, expected, rtol=2e-3, atol=2e-3)
    after = [sent(frame[int(segments.first_step[1]) :], policy.schema, 12, 6)]
    np.testing.assert_allclose(policy.predict(after)[0].values_HCQ, served[0], rtol=1e-5)  # type: ignore[union-attr]


def test_a_long_gap_in_the_history_itself_is_filled_from_before_it() -> None:
    policy, _ = made_of(make_config(preprocess__max_gap_steps=6), table().drop("price", "size"))
    frame, step = table().drop("price", "size").with_columns(pl.col("wind").fill_null(1.0)), pl.int_range(pl.len())
    load = pl.col("load").fill_null(20.0)
    frame = frame.with_columns(load=pl.when(step.is_between(89, 97)).then(None).otherwise(load))
    holes = frame.with_columns(wind=pl.when(step.is_between(98, 99)).then(None).otherwise(pl.col("wind")))
    filled = holes.with_columns(pl.col("wind").forward_fill())
    answers = [policy.predict([sent(one, policy.schema, 100, 6)])[0].values_HCQ for one in (holes, filled)]  # type: ignore[union-attr]
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize(
    "times",
    [
        ["2024-02-29T23:00:00Z", "2024-03-01T00:00:00Z"],
        ["2024-02-29T23:00:00", "2024-03-01T00:00:00Z"],
        ["2024-02-29T23:00:00Z", "2024-03-01T02:00:00+02:00"],
        ["2024-02-29 23:00:00Z", "2024-03-01 00:00:00Z"],
    ],
)
def test_times_mean_the_same_however_they_are_written(times: list[str]) -> None:
    schema = made.schema_of()
    reader = Reader(made.make_config(), schema, made.scaler_of(made.segments_of()))
    expected = np.array(["2024-02-29T23", "2024-03-01T00"], "datetime64[us]")
    np.testing.assert_array_equal(schema.of_ticks(reader.ticks(times, "here")), expected)


@pytest.mark.parametrize(
    "wrong", ["2024-02-30T00:00:00Z", "2024-02-29T24:00:00Z", "2024-02-29T0a:00:00Z", "Z2024-02-29T00:00:0"]
)
def test_a_time_that_is_none_is_refused_beside_good_ones(wrong: str) -> None:
    reader = Reader(made.make_config(), made.schema_of(), made.scaler_of(made.segments_of()))
    with pytest.raises(InputError, match=r"here, times: .*ISO 8601"):
        reader.ticks(["2024-02-29T23:00:00Z", wrong], "here")


def test_times_are_read_alike_whether_they_were_read_before_or_not():
    words = [f"{time}Z" for time in np.datetime64("2024-01-31T22:00:00") + np.arange(5) * np.timedelta64(1, "h")]
    first, again = request._alike(words), request._alike(list(words))
    assert first is not None
    assert [f"{time}Z" for time in first.astype("datetime64[s]").astype(str)] == words
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize(
    "words",
    [
        ["2024-01-31T22:00:00Z2", "024-01-31T23:00:00Z"],
        ["2024-01-31T22:00:00Z,2024-01-31T23:00:00Z"],
        ["2024-01-31T22:00:00Z,", "2024-01-31T23:00:00Z"],
        ["2024-01-31T22:00:00Z", ""],
        [],
    ],
)
def test_times_that_only_join_to_what_is_usual_are_not_taken_for_it(words):
    assert request._alike(words) is None
