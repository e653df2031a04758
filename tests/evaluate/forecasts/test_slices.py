"""Slices in which a forecast errs are named, with their numbers, and drawn where they say something."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import friedmanchisquare

from lstm_ray.data.windows import origins
from lstm_ray.evaluate.forecasts import slices
from lstm_ray.evaluate.forecasts.baselines import SeasonalNaive
from lstm_ray.evaluate.forecasts.metrics import seasonal_scale
from lstm_ray.evaluate.forecasts.score import Yardstick, score
from lstm_ray.evaluate.forecasts.strata import strata_of
from lstm_ray.evaluate.forecasts.view import View
from lstm_ray.figure import Figure

DAY = 86_400_000_000


def _view(data, policy, normalisation="mean") -> View:
    window = data.window
    test_M = origins(data.segments, data.parts, "test", window)
    given = Yardstick(
        window,
        seasonal_scale(data.segments, data.parts, window.season),
        data.scaler.target_deviation,
        strata=strata_of(data.segments, data.parts, window),
    )
    models = {"policy": policy, "seasonal_naive": SeasonalNaive(window.horizon, window.season)}
    scores = score(models, data.segments, test_M, given)
    deviation = data.scaler.target_deviation
    return View(scores, "policy", "seasonal_naive", data.segments, test_M, window, deviation, normalisation)


def _wrong_at(fake_policy, condition, by=5.0):
    """A policy that is further off where a condition on the number of a target's step holds."""

    class Wrong(fake_policy):
        def forecast_windows(self, segments, origins_M, batch=512):
            forecast = super().forecast_windows(segments, origins_M)
            steps = segments.steps(origins_M)[:, None] + np.arange(1, forecast.shape[1] + 1)
            return forecast + np.float32(by) * condition(steps)[..., None, None]

    return Wrong()


def _finding(view: View, words: str):
    (finding,) = [finding for finding in slices.told(view).findings if words in finding.text]
    return finding


def _figure(view: View, id: str) -> Figure:
    (figure,) = [figure for figure in slices.told(view).figures if figure.id == id]
    return figure


def test_the_worst_day_and_hour_of_the_week_are_named_and_drawn(make_data, fake_policy):
    data = make_data(num_series=2, steps=5000)
    view = _view(data, _wrong_at(fake_policy, lambda steps: (steps + 3 * 24) % 168 == 5 * 24 + 14, by=200.0))
    finding = _finding(view, "By day of the week")
    assert "largest on Saturday" in finding.text
    assert "worst hour of the week is Saturday 14:00" in finding.text
    assert "the seasonal naive is better in: Saturday" in finding.text.replace("The", "the")
    assert finding.severity == "advice"
    assert "preprocess.calendar" in finding.advice
    figure = _figure(view, "slices-week")
    values = np.asarray(figure.traces[0]["z"], dtype=float)
    assert values.shape == (7, 24)
    assert np.unravel_index(np.nanargmax(values), values.shape) == (5, 14)
    assert "to Saturday 14:00" in figure.caption


def test_days_that_differ_by_chance_alone_get_no_advice(make_data, fake_policy):
    """Noise by the day: some day of the week is always the worst."""
    data = make_data(num_series=1, steps=5000, cut_first=False, missing=0.0)
    noise = np.random.default_rng(2).gamma(0.5, 2.0, 300)
    view = _view(data, _wrong_at(fake_policy, lambda steps: noise[steps // 24], by=3.0))
    finding = _finding(view, "By day of the week")
    assert "differ no more than by chance (Friedman's p 0." in finding.text
    assert "over 5 weeks" in finding.text
    assert finding.severity == "info"


def test_chance_is_friedmans_test_of_whole_weeks(make_data, fake_policy):
    data = make_data(num_series=1, steps=5000, cut_first=False, missing=0.0)
    view = _view(data, fake_policy())
    p, weeks = slices._chance(view)
    first = (view.segments.steps(view.origins_M) + 1 + 3 * 24) // 24
    scaled = view.scores["policy"].scaled_M
    days = [scaled[first == day].mean() for day in range(first.min(), first.max() + 1)]
    skipped = -int(first.min()) % 7
    table = np.asarray(days[skipped : skipped + 7 * weeks]).reshape(weeks, 7)
    assert p == pytest.approx(friedmanchisquare(*table.T).pvalue)


def test_few_weeks_tell_no_days_from_chance(make_data, fake_policy):
    finding = _finding(_view(make_data(steps=1200), fake_policy()), "By day of the week")
    assert "Whole weeks: 0, too few" in finding.text


def test_days_without_hours_are_bars(make_data, fake_policy):
    data = make_data(steps=1200)
    data = replace(data, segments=replace(data.segments, schema=data.segments.schema.model_copy(update={"step": DAY})))
    view = _view(data, _wrong_at(fake_policy, lambda steps: (steps + 3) % 7 == 6))
    assert "largest on Sunday" in _finding(view, "By day of the week").text
    figure = _figure(view, "slices-weekday")
    assert [trace["name"] for trace in figure.traces] == ["policy", "seasonal naive"]
    assert figure.traces[0]["x"][-1] == "Sunday"
    assert int(np.argmax(figure.traces[0]["y"])) == 6


def test_a_month_is_compared_with_those_that_the_test_part_holds(make_data, fake_policy):
    data = make_data(steps=600)
    daily = data.segments.schema.model_copy(update={"step": DAY})
    data = replace(data, segments=replace(data.segments, schema=daily))
    first = (data.segments.times(np.arange(600)).astype("datetime64[M]").astype(int) % 12 == 7).tolist()
    view = _view(data, _wrong_at(fake_policy, lambda steps: np.asarray(first)[steps], by=20.0))
    text = _finding(view, "By month").text
    assert "largest in August" in text
    assert "steps of 5 of 12 months" in text
    assert [row[0] for row in slices.told(view).tables[0]["rows"] if row[0] in slices.MONTHS] == [
        "April",
        "May",
        "June",
        "July",
        "August",
    ]


def test_a_single_slice_is_listed_and_not_compared(make_data, fake_policy):
    view = _view(make_data(steps=300), fake_policy())
    told = slices.told(view)
    assert not [finding for finding in told.findings if "By month" in finding.text]
    assert not [figure for figure in told.figures if figure.id == "slices-month"]
    assert [row[0] for row in told.tables[0]["rows"]].count("January") == 1


def test_forecasts_that_are_drawn_to_the_middle_are_found(make_data, fake_policy):
    """A slow wave, of which the policy tells half the way from the mean."""
    data = make_data(num_series=1, steps=2000, missing=0.0, noise=0.3, cut_first=False)
    wave = 10 * np.sin(2 * np.pi * np.arange(2000) / 200)[:, None].astype(np.float32)
    data = replace(data, segments=replace(data.segments, target_RC=data.segments.target_RC + wave))

    class Shy(fake_policy):
        def forecast_windows(self, segments, origins_M, batch=512):
            return 10 + 0.3 * (super().forecast_windows(segments, origins_M) - 10)

    finding = _finding(_view(data, Shy()), "in the highest fifth")
    assert "too low; in the lowest fifth" in finding.text
    assert finding.text.count("too high") == 1
    assert "drawn to the middle" in finding.advice


def test_coverage_that_falls_with_volatility_is_said(make_data, fake_policy):
    data = make_data(num_series=1, steps=2000, missing=0.0, noise=0.0, cut_first=False)
    rng = np.random.default_rng(0)
    restless = (np.arange(2000) // 100 % 2)[:, None]
    target = data.segments.target_RC + (0.1 + 3 * restless) * rng.standard_normal((2000, 1)).astype(np.float32)
    data = replace(data, segments=replace(data.segments, target_RC=target.astype(np.float32)))
    finding = _finding(_view(data, fake_policy(quantiles=[0.1, 0.5, 0.9], spread=2.0)), "in the calmest fifth")
    assert "times as large" in finding.text
    assert "Intervals hold" in finding.text
    assert "does not follow the volatility" in finding.advice
    assert "model.quantiles" in _finding(_view(data, fake_policy()), "in the calmest fifth").advice


def test_the_table_holds_every_slice_with_its_count_and_the_baselines_error(data, fake_policy):
    view = _view(data, fake_policy(bias=1.0, quantiles=[0.1, 0.5, 0.9]))
    told = slices.told(view)
    (table,) = told.tables
    assert table["columns"] == ["slice", "steps", "mae", "bias", "coverage", "seasonal naive mae"]
    days = [row for row in table["rows"] if row[0] in slices.DAYS]
    total = int(view.scores["policy"].total.sums["count"].sum())
    assert sum(row[1] for row in days) == total
    sums = view.scores["policy"].by["weekday"]
    index = slices.DAYS.index(days[0][0])
    assert days[0][2] == pytest.approx(sums.rows("mae")[index])
    assert days[0][5] == pytest.approx(view.scores["seasonal_naive"].by["weekday"].rows("mae")[index])
    assert sum(row[1] for row in table["rows"] if row[0].startswith("level ")) == total
    assert told.details.keys() == {"by_weekday", "by_month", "by_level", "by_volatility"}
    assert told.details["by_level"].keys() == {"policy", "seasonal_naive"}
    assert told.details["by_month"]["policy"]["March"] is None, "the test part lies in January"


def test_what_mape_leaves_out_is_said(make_data, fake_policy):
    data = make_data(missing=0.0)
    assert not [finding for finding in slices.told(_view(data, fake_policy())).findings if "MAPE" in finding.text]
    target = data.segments.target_RC.copy()
    target[::10] = 0
    view = _view(replace(data, segments=replace(data.segments, target_RC=target)), fake_policy())
    finding = _finding(view, "MAPE leaves out")
    assert "(10 %)" in finding.text
    assert "WAPE or MASE" in finding.advice
    dead = target.copy()
    dead[data.segments.steps(np.arange(len(dead))) >= data.parts["test"][0]] = 0
    view = _view(replace(data, segments=replace(data.segments, target_RC=dead)), fake_policy(bias=1.0))
    assert _finding(view, "MAPE leaves out").advice.startswith("Read MASE instead"), "WAPE is undefined, too"


def test_a_slice_of_few_steps_is_listed_and_not_spoken_of(make_data, fake_policy):
    """Six hours of February beside the last days of January."""
    view = _view(make_data(steps=754, num_series=1, cut_first=False), fake_policy())
    count = view.scores["policy"].by["month"].sums["count"]
    assert count[1] >= slices.ENOUGH
    count[0] *= 100
    told = slices.told(view)
    assert not [finding for finding in told.findings if "By month" in finding.text]
    assert "February" in [row[0] for row in told.tables[0]["rows"]]


def test_slices_without_a_clock_are_those_of_the_history(make_data, fake_policy):
    told = slices.told(_view(make_data(is_time=False), fake_policy()))
    assert told.details.keys() == {"by_level", "by_volatility"}
    assert told.topic == "Where it errs"


def test_a_perfect_forecast_and_a_part_without_measured_steps_make_no_sentence_stumble(make_data, fake_policy):
    assert slices.told(_view(make_data(noise=0.0, missing=0.0), fake_policy())).findings
    nothing = make_data(missing=1.1)
    told = slices.told(_view(nothing, fake_policy()))
    assert not told.findings
    assert not told.figures
    assert not told.tables
