"""What scenarios do to classes and to values of steps."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from lstm_ray.plan.what_if.answers import MOST_CLASSES, class_effects, value_effects
from lstm_ray.run_dir import to_json
from lstm_ray.sections.scenario import ScenarioConfig


def scenario(name: str, **values: Any) -> ScenarioConfig:
    return ScenarioConfig(name=name, column="load", operation="shift", value=1, **values)


def test_class_effects_tell_probabilities_and_changed_decisions() -> None:
    base = np.array([[0.9, 0.1], [0.6, 0.4]])
    found = {"base": base, "fog": np.array([[0.7, 0.3], [0.2, 0.8]])}
    table, [bars], [finding] = class_effects(
        found, ["late", "on time"], "sequence", np.array([0, 9]), 1, [scenario("fog")]
    )
    assert table["rows"][0] == ["base", 0.75, 0.25, None, None, None, 0]
    assert table["rows"][1] == ["fog", pytest.approx(0.45), pytest.approx(0.55), "late", pytest.approx(-0.3), None, 0.5]
    expected = "If fog (load shift 1), 'late' becomes less likely, by 0.300 on average, and 50.0% of decisions change."
    assert finding.text == expected
    assert "75.0%" in bars.caption
    assert bars.traces[0]["y"] == [0.75, 0.45]


def test_a_change_has_an_interval_where_there_is_time_enough() -> None:
    random = np.random.default_rng(0)
    base = np.tile([0.5, 0.5], (400, 1))
    moved = random.normal(0.1, 0.05, 400)
    fog = base + np.stack([moved, -moved], axis=1)
    table, _, [finding] = class_effects(
        {"base": base, "fog": fog}, ["a", "b"], "step", np.arange(400), 5, [scenario("fog")]
    )
    low, high = (float(end) for end in table["rows"][1][5].split(" to "))
    assert low < moved.mean() < high
    assert high - low == pytest.approx(4 * 0.05 / 20, rel=0.5)
    assert "95 % interval of the change +0." in finding.text


def test_of_many_classes_those_that_move_most_are_told() -> None:
    random = np.random.default_rng(0)
    base = np.full((5, 30), 1 / 30)
    fog = base.copy()
    fog[:, [3, 17]] += [0.1, -0.1]
    names = [f"c{k}" for k in range(30)]
    table, [bars], _ = class_effects(
        {"base": base, "fog": fog}, names, "sequence", random.integers(0, 9, 5), 1, [scenario("fog")]
    )
    assert len(bars.traces) == MOST_CLASSES
    assert {"probability of c3", "probability of c17"} < set(table["columns"])
    assert all(len(row) == len(table["columns"]) for row in table["rows"])


def test_the_effect_on_values_is_told_in_their_units() -> None:
    base = np.array([[1.0], [3.0]])
    hot = base + np.array([[1.0], [-3.0]])
    table, figures, findings = value_effects(
        {"base": base, "hot": hot, "cold": base}, "wear", np.array([3, 4]), 1, [scenario("hot"), scenario("cold")]
    )
    assert table["rows"][:2] == [["base", 2.0, None, None, None], ["hot", 1.0, -1.0, None, 2.0]]
    assert findings[0].text == "If hot (load shift 1), 'wear' moves by -1 on average, 2 in size."
    assert findings[1].severity == "advice"
    assert "no answer changes" in findings[1].text
    assert figures[0].id == "scenarios"
    json.loads(to_json([table, figures]))
