"""Inputs that know too much, planted, and honest ones."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from lstm_ray.explore.leakage import clocks_and_ids, knows_next, leaks
from lstm_ray.sections.data import DataConfig
from tests.explore.tables import HOUR, daily_wave, hourly, noise, said

NOISE = noise(600, 1)


def data(*past, known=(), static=()):
    return DataConfig(
        source="x.csv", time="time", target=["y"], past=list(past), known=list(known), static=list(static)
    )


def looked_at(config, **columns):
    return leaks(hourly(columns), config, 24, 48, HOUR)


def remembering(size, share, seed):
    values = noise(size, seed)
    for t in range(1, size):
        values[t] += share * values[t - 1]
    return values


def test_the_target_under_another_name_is_a_leak_where_it_is_known_ahead_and_else_nothing_new():
    target = daily_wave(600)
    columns = {"y": target, "copy": 3 - 2 * target, "x": NOISE}
    text = said(looked_at(data(known=["copy", "x"]), **columns), "warning")
    assert "'copy' correlates -1.0000 with 'y' at the same step" in text
    assert text.endswith("data: {known: [x]}")
    beside = looked_at(data("copy", "x"), **columns)
    assert said(beside, "warning") == ""
    assert "'copy' correlates -1.0000 with 'y' at the same step: it says the same once more." in said(beside, "advice")
    assert said(beside, "advice").endswith("data: {past: [x]}")


def test_an_input_that_knows_the_future_is_a_leak():
    analysis = looked_at(data(known=["oracle"]), y=NOISE, oracle=np.roll(NOISE, -2))
    assert "'oracle' correlates 1.0000 with 'y' 2 steps later" in said(analysis, "warning")


@pytest.mark.parametrize("lead", [1, 3])
def test_a_column_that_is_dated_too_early_is_a_leak_though_it_is_not_equal(lead):
    target = remembering(2000, 0.8, 2)
    early = np.roll(target, -lead) + 0.1 * noise(2000, 3)
    text = said(looked_at(data("early", "x"), y=target, early=early, x=noise(2000, 4)), "warning")
    assert "'early' takes away 9" in text
    assert text.endswith("data: {past: [x]}")


def test_a_centred_mean_of_the_target_is_a_leak():
    target = daily_wave(2000, 0.5, 5)
    centred = np.convolve(target, np.ones(5) / 5, "same")
    assert "'centred' takes away" in said(looked_at(data("centred"), y=target, centred=centred), "warning")
    trailing = np.convolve(target, np.ones(5) / 5)[:2000]
    assert said(looked_at(data("trailing"), y=target, trailing=trailing), "warning") == ""


@pytest.mark.parametrize("seed", range(5))
def test_honest_inputs_are_no_leak(seed):
    weather = remembering(1000, 0.9, seed)
    load = daily_wave(1000, 0.2, seed) + 0.7 * np.roll(weather, 2) + 0.5 * noise(1000, 50 + seed)
    columns = {"weather": weather, "walk": noise(1000, 70 + seed).cumsum(), "echo": np.roll(load, 1)}
    assert leaks(hourly({"y": load, **columns}), data(*columns), 24, 48, HOUR).findings == []


def test_a_cycle_that_input_and_target_share_is_no_leak():
    wave = np.sin(2 * np.pi * np.arange(600) / 24)
    assert said(looked_at(data("x"), y=wave, x=np.roll(wave, 5)), "warning") == ""


def test_what_is_too_short_or_constant_is_not_judged():
    assert knows_next(NOISE[:40], NOISE[:40], 24) is None
    assert knows_next(NOISE, np.ones(600), 24) is None
    assert knows_next(np.ones(600), NOISE, 24) is None


def test_clocks_and_counters_are_named():
    counter = np.cumsum(np.random.default_rng(6).exponential(size=600))
    hour = np.arange(600) % 24
    frame = hourly(
        {"y": NOISE, "epoch": np.arange(600) * 3600.0, "counter": counter, "hour": hour, "trend": counter + 9 * NOISE}
    )
    text = said(clocks_and_ids(frame, data("epoch", "counter", "hour", "trend")), "warning")
    assert "'epoch' goes up with time all the way (rank correlation 1.0000)" in text
    assert "'counter' goes up" in text
    assert "'hour'" not in text
    assert "'trend'" not in text


def test_the_number_of_a_series_is_named_but_not_its_place():
    frames = [
        hourly({"y": noise(80, i), "number": np.full(80, 100.0 + i), "height": np.full(80, 7.0 * i * i)}, f"{i:02d}")
        for i in range(8)
    ]
    text = said(clocks_and_ids(pl.concat(frames), data(static=["number", "height"])), "warning")
    assert "'number' is a different whole number in each of 8 series, 100 to 107" in text
    assert text.endswith("data: {static: [height]}")
    assert "'height' is" not in text
