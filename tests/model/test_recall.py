"""Lags in the network: they look back alone, each channel hears its own, and a season longer than the history is learned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lstm_ray.config import Config
from lstm_ray.data.lags import num_known, reach
from lstm_ray.data.windows import Segments
from lstm_ray.model.network import Forecaster, Inputs, build
from lstm_ray.model.policy import Policy
from lstm_ray.model.recall import freed
from tests import made
from tests.model.causality import assert_looks_back_alone
from tests.model.test_training import trained

SCHEMA = made.schema_of(target=["load", "heat"], known=["price"])
WEEK = 168
OPTIONS: list[dict[str, Any]] = [
    {},
    {"model__channels": "joint"},
    {"model__normalisation": "mean_deviation", "model__linear": "average", "model__quantiles": [0.1, 0.5, 0.9]},
    {"model__normalisation": "auto"},
    {"model__difference": 3},
    {"model__distribution": "student_t"},
]


def lag_config(**values: Any) -> Config:
    return made.make_config(
        **({"window__lags": [6, 20], "data__target": ["load", "heat"], "data__known": ["price"]} | values)
    )


def shaken(config: Config) -> torch.nn.Module:
    """A network all of whose parts speak."""
    network = build(config, SCHEMA).eval()
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=draw)
    return network


def policy_of(config: Config, segments: Segments) -> Policy:
    return Policy(config, segments.schema, made.scaler_of(segments), shaken(config).state_dict())


@pytest.mark.parametrize("values", OPTIONS, ids=str)
def test_the_future_changes_no_earlier_forecast(values: dict[str, Any]) -> None:
    config = lag_config(**values)
    network = shaken(config)
    one = network if isinstance(network, Forecaster) else network.members[0]
    draw = torch.Generator().manual_seed(0)
    sizes = (2, 2, 1, num_known(SCHEMA, config.window))
    target, observed, past, known = (torch.randn(2, 30, size, generator=draw) for size in sizes)
    inputs = Inputs(target.cumsum(1) / 3, (observed > -1).float(), past, known)
    assert_looks_back_alone(network, inputs, config.window, one.num_parameters)


@pytest.mark.parametrize("values", OPTIONS, ids=str)
def test_parts_answer_as_the_whole_does(values: dict[str, Any]) -> None:
    """Truncated backpropagation reads a sequence so."""
    config = lag_config(**values)
    network = shaken(config)
    draw = torch.Generator().manual_seed(0)
    sizes = (2, 2, 1, num_known(SCHEMA, config.window))
    inputs = [torch.randn(2, 30, size, generator=draw) for size in sizes]
    with torch.inference_mode():
        whole = network(*inputs)
        _, state = network(*inputs, part=(0, 2))
        first, state = network(*inputs, part=(2, 4), state=state)
        second, _ = network(*inputs, part=(4, 6), state=state)
        answers = torch.cat([first, second], -4)
    torch.testing.assert_close(answers, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("values", OPTIONS, ids=str)
def test_a_served_forecast_is_that_of_the_segments(values: dict[str, Any]) -> None:
    """With all that the lags ask for, and at a segment's start, where there is less."""
    segments = made.segments_of([240, 100], [0, 30], SCHEMA)
    segments = replace(segments, observed_RC=np.ones_like(segments.observed_RC))
    config = lag_config(**values)
    policy = policy_of(config, segments)
    for origin, length in ((150, reach(config.window)), (240 + 15, 16), (240 + 11, 12)):
        sent = made.series_input(segments, origin, length, 6)
        [found] = policy.predict([sent])
        expected = policy.forecast_windows(segments, np.array([origin]))[0]
        np.testing.assert_allclose(found.values_HCQ, expected, atol=2e-4)
        assert any("absent" in words for words in found.warnings) == (length < reach(config.window))
    [short] = policy.predict([made.series_input(segments, 150, 20, 6)])
    assert np.abs(short.values_HCQ - policy.forecast_windows(segments, np.array([150]))[0]).max() > 1e-3


@pytest.mark.parametrize("empty", [slice(0, 15), slice(3, 18)], ids=["before the first value", "a long gap"])
def test_lags_of_a_request_begin_where_training_would_begin_a_segment(empty: slice) -> None:
    segments = made.segments_of([240], schema=SCHEMA)
    policy = policy_of(lag_config(), segments)
    sent = made.series_input(segments, 150, 32, 6)
    columns = {name: np.array(values, np.float64) for name, values in sent.columns.items()}
    for name in ("load", "heat"):
        columns[name][empty] = np.nan
    [found] = policy.predict([replace(sent, columns=columns)])
    later = slice(empty.stop, None)
    whole = replace(sent, times=sent.times[later], columns={name: values[later] for name, values in columns.items()})
    [expected] = policy.predict([whole])
    np.testing.assert_allclose(found.values_HCQ, expected.values_HCQ, atol=1e-5)
    [without_gap] = policy.predict([sent])
    assert np.abs(found.values_HCQ - without_gap.values_HCQ).max() > 1e-3
    assert "unbroken steps" in found.warnings[-1]


def test_a_channel_read_alone_hears_its_own_lags_alone() -> None:
    segments = made.segments_of([240], schema=SCHEMA)
    policy = policy_of(lag_config(), segments)
    before = policy.forecast_windows(segments, np.array([150]))
    target = segments.target_RC.copy()
    target[150 - 20 + 1 : 150 - 12, 1] += 5.0
    after = policy.forecast_windows(replace(segments, target_RC=target), np.array([150]))
    np.testing.assert_array_equal(after[:, :, 0], before[:, :, 0])
    assert np.abs(after[:, :, 1] - before[:, :, 1]).max() > 0.1


@pytest.mark.parametrize("values", [{}, {"model__difference": 3}])
def test_lags_say_the_same_at_any_level(values: dict[str, Any]) -> None:
    segments = made.segments_of([240], schema=SCHEMA)
    policy = policy_of(lag_config(model__normalisation="mean_deviation", **values), segments)
    # The level is an input too, so that only what hangs on it may differ.
    with torch.no_grad():
        for weight in (policy.network.body.layers[0].weight_ih_l0, policy.network.newest.weight):
            own = 4 * (2 + 2 * 2)
            weight[:, 8:9] = 0
            assert weight.shape[1] == own + 3 + 4 * (1 + SCHEMA.num_known)
    found = policy.forecast_windows(segments, np.array([150]))
    moved = policy.forecast_windows(replace(segments, target_RC=segments.target_RC + 7), np.array([150]))
    np.testing.assert_allclose(moved, found + 7, atol=2e-3)


@pytest.mark.parametrize("values", OPTIONS[2:5], ids=str)
def test_in_bfloat16_forecasts_stay_close(values: dict[str, Any]) -> None:
    """What a level and a sum of changes are made of keeps its digits."""
    segments = made.segments_of([240], schema=SCHEMA)
    policy = policy_of(lag_config(**values), segments)
    rows = np.array([150])
    exact = policy.forecast_windows(segments, rows)
    with torch.autocast("cpu", torch.bfloat16):
        rough = policy.forecast_windows(segments, rows)
    assert rough.dtype == np.float32
    assert 0 < np.abs(rough - exact).max() < 0.1 * segments.target_RC.std()


def weekly(weeks: int = 9) -> Segments:
    """A profile of 168 hours, over and over, with noise."""
    random = np.random.default_rng(0)
    profile = np.convolve(np.pad(random.normal(size=WEEK), 1, mode="wrap"), np.ones(3) / 1.7, "valid")
    values = np.tile(profile, weeks) + random.normal(scale=0.1, size=WEEK * weeks)
    made_up = made.segments_of([WEEK * weeks], schema=made.schema_of(past=(), calendar=()))
    observed_RC = np.ones((WEEK * weeks, 1), np.float32)
    return replace(made_up, target_RC=values[:, None].astype(np.float32), observed_RC=observed_RC)


def test_a_season_longer_than_the_history_is_learned_by_its_lag() -> None:
    """Two noises of 0.1 between a week and the next make an error of 0.113 at best."""
    window = {"window__history": 48, "window__horizon": 24, "window__patch": 12}
    parts = {"train": (0, 6 * WEEK), "validation": (6 * WEEK, 8 * WEEK), "test": (8 * WEEK, 9 * WEEK)}
    least = {}
    for lags in ((), (WEEK,)):
        config = made.make_config(
            data__past=[],
            preprocess__calendar=[],
            window__lags=list(lags),
            train__max_epochs=8,
            train__origins=8,
            model__hidden=16,
            **window,
        )
        least[lags] = trained(config, weekly(), parts).best_loss  # type: ignore[arg-type]
    assert least[()] > 0.4
    assert least[WEEK,] < 0.15


def test_a_lag_that_is_not_there_is_0_whatever_the_level() -> None:
    value, there = torch.tensor([3.0, 0.0]), torch.tensor([1.0, 0.0])
    torch.testing.assert_close(freed(value, there, torch.tensor(5.0), torch.tensor(2.0)), torch.tensor([-1.0, 0.0]))
    torch.testing.assert_close(freed(value, there, torch.tensor(5.0), None), torch.tensor([-2.0, 0.0]))
