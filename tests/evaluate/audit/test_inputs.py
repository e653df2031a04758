"""A covariate that holds the target's future is caught and named; an honest one is not accused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.audit import inputs
from lstm_ray.evaluate.audit.relied import of_forecasts
from lstm_ray.evaluate.forecasts.baselines import SeasonalNaive
from tests import made

PARTS = {"train": (0, 1400), "validation": (1400, 1900), "test": (1900, 2400)}
WINDOW = made.make_config(window={"history": 48, "horizon": 12, "patch": 12, "season": 24}).window
RANDOM = np.random.default_rng(8)


def _segments(column: str = "", role: str = "past", make=lambda target_R: target_R) -> Segments:
    """Two series of a daily cycle and noise that lasts for some hours; honest inputs 'rain' (which follows the target),
    'sun' (which moves it two hours later) and the planned 'staff', and one that is made from the target."""
    length = 2400
    parts = []
    for level in (10.0, 40.0):
        sun = RANDOM.normal(size=length)
        slow = np.zeros(length)
        for t in range(1, length):
            slow[t] = 0.9 * slow[t - 1] + RANDOM.normal() + (0.6 * sun[t - 2] if t > 1 else 0)
        staff = np.sin(2 * np.pi * np.arange(length) / 24) + RANDOM.normal(size=length)
        target = level + 4 * np.sin(2 * np.pi * np.arange(length) / 24) + slow + 0.8 * staff
        rain = np.concatenate([np.zeros(3), target[:-3]]) + RANDOM.normal(size=length)
        parts.append((target, rain, sun, staff, make(target)))
    target, rain, sun, staff, planted = (
        np.concatenate(one)[:, None].astype(np.float32) for one in zip(*parts, strict=True)
    )
    past, known = ["rain", "sun"], ["staff"]
    past_RP, known_RK = np.concatenate([rain, sun], axis=1), staff
    if column and role == "past":
        past, past_RP = [*past, column], np.concatenate([past_RP, planted], axis=1)
    elif column:
        known, known_RK = [*known, column], np.concatenate([known_RK, planted], axis=1)
    schema = made.schema_of(target=["load"], past=past, known=known)
    shell = made.segments_of([length, length], schema=schema)
    observed = (RANDOM.random(target.shape) > 0.05).astype(np.float32)
    calendar = shell.known_RK[:, len(known) :]
    known_RK = np.concatenate([known_RK, calendar], axis=1)
    return replace(shell, target_RC=target, past_RP=past_RP, known_RK=known_RK, observed_RC=observed)


def _later(steps: int, noise: float = 0.0, scale: float = 1.0):
    def make(target_R):
        found = np.concatenate([target_R[steps:], np.full(steps, target_R[-1])]) if steps > 0 else target_R
        return scale * found + noise * target_R.std() * RANDOM.normal(size=len(found))

    return make


def _smooth(target_R):
    """Mean over the three steps before and the three after."""
    return np.convolve(np.pad(target_R, 3, mode="edge"), np.ones(7) / 7, "valid")


LEAKS = {
    "next": _later(1),
    "some_steps": _later(5),
    "a_horizon": _later(12),
    "scaled": _later(12, scale=-0.2),
    "noisy": _later(12, noise=0.3),
    "smooth": _smooth,
}


@pytest.mark.parametrize("role", ["past", "known"])
@pytest.mark.parametrize("name", LEAKS)
def test_the_shifted_target_is_caught_and_named(name, role):
    check = inputs.that_know(_segments(name, role, LEAKS[name]), PARTS, WINDOW, seed=1)
    assert check.verdict == "failed", check.text
    assert check.details["caught"] == [name]
    assert f"'{name}' takes away" in check.text
    assert f"'{name}'" in check.advice


def test_a_known_input_that_is_the_target_itself_is_caught_and_as_a_past_one_it_tells_nothing_new():
    known = inputs.that_know(_segments("copy", "known", _later(0)), PARTS, WINDOW, seed=1)
    assert known.details["caught"] == ["copy"]
    past = inputs.that_know(_segments("copy", "past", _later(0)), PARTS, WINDOW, seed=1)
    assert past.verdict == "passed", past.text


def test_honest_inputs_are_not_accused():
    check = inputs.that_know(_segments(), PARTS, WINDOW, seed=1)
    assert check.verdict == "passed", check.text
    assert {one["input"] for one in check.details["inputs"]} == {"rain", "sun", "staff"}
    assert check.details["caught"] == []


def test_a_target_that_its_own_past_forecasts_without_error_accuses_nobody():
    segments = _segments("next", "past", _later(1))
    cycle = np.sin(2 * np.pi * np.arange(2400) / 24).astype(np.float32)
    segments = replace(segments, target_RC=np.concatenate([cycle, cycle])[:, None])
    assert inputs.that_know(segments, PARTS, WINDOW, seed=1).verdict in ("passed", "left out")


def test_how_many_steps_later_is_said():
    check = inputs.that_know(_segments("date", "past", _later(5)), PARTS, WINDOW, seed=1)
    assert "5 steps later: correlation 0.9" in check.text


def test_a_value_that_tells_how_each_series_will_go_on_is_caught():
    schema = made.schema_of(target=["load"], past=[], known=["size", "final"])
    num = 40
    segments = made.segments_of([2400] * num, schema=schema)
    rise_S = RANDOM.normal(size=num)
    step_R = np.tile(np.arange(2400), num)
    size_S = RANDOM.normal(size=num)
    target = (
        20
        + 5 * size_S.repeat(2400)
        + 3 * np.where(step_R >= 1400, rise_S.repeat(2400), 0)
        + RANDOM.normal(size=len(step_R))
    )
    known = np.stack([size_S.repeat(2400), rise_S.repeat(2400)], axis=1)
    segments = replace(
        segments,
        target_RC=target[:, None].astype(np.float32),
        known_RK=np.concatenate([known, segments.known_RK[:, 2:]], axis=1).astype(np.float32),
    )
    check = inputs.that_know(segments, PARTS, WINDOW, seed=1)
    assert check.details["caught"] == ["final"], check.text


def test_without_inputs_or_windows_it_is_said_that_nothing_was_looked_at():
    bare = made.segments_of([2400], schema=made.schema_of(past=()))
    assert inputs.that_know(bare, PARTS, WINDOW, seed=1).verdict == "left out"
    short = made.segments_of([100])
    assert (
        "too few to fit"
        in inputs.that_know(short, {"train": (0, 70), "validation": (70, 85), "test": (85, 100)}, WINDOW, 1).text
    )


class Reader:
    """Forecasts what the last column of the past inputs holds, which is the target a horizon later."""

    quantiles = (0.5,)

    def forecast_windows(self, segments, origins_M, batch=512):
        rows = origins_M[:, None] + np.arange(1 - 12, 1)
        return segments.past_RP[rows, -1][..., None, None]


def test_a_policy_that_lives_on_one_input_is_caught_and_the_input_named():
    segments = _segments("ahead", "past", _later(12))
    scaler = made.scaler_of(segments)
    check = of_forecasts(Reader(), segments, PARTS, WINDOW, scaler, before=0, seed=1)
    assert check.verdict == "failed", check.text
    assert check.details["caught"] == ["ahead"]
    honest = of_forecasts(SeasonalNaive(12, 24), segments, PARTS, WINDOW, scaler, before=0, seed=1)
    assert honest.verdict == "passed", honest.text


def test_much_of_a_target_told_by_a_plan_may_be_honest_and_is_said_to_be_much():
    check = inputs.that_know(_segments("plan", "known", _later(0, noise=0.35)), PARTS, WINDOW, seed=1)
    assert check.verdict == "passed", check.text
    assert "that its own past does not" not in check.text
    assert "see that 'plan' is truly known when a forecast is made" in check.advice
