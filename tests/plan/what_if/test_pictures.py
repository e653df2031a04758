"""Rollouts as numbers and sentences."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lstm_ray.plan.decide import decide
from lstm_ray.plan.pictures import (
    band_coverage,
    before_and_after,
    class_effects,
    effect_findings,
    effect_tables,
    effects,
    rollout_figures,
)
from lstm_ray.run_dir import to_json
from tests import made

SEGMENTS = made.segments_of([240, 240])
ORIGINS = np.array([50, 60, 70, 300])
STORM = {"name": "storm", "column": "wind", "operation": "shift", "value": 5}
CONFIG = made.make_config(plan__scenarios=[STORM])
BASE = np.random.default_rng(0).normal(size=(4, 3, 5, 1))
# Paired with the base path by path: 1 a step for the first series, 10 for the second.
FUTURES = {"base": BASE, "storm": BASE + np.array([1.0, 1.0, 1.0, 10.0])[:, None, None, None] * np.arange(5)[:, None]}


def test_effects_are_differences_from_the_base() -> None:
    found = effects(FUTURES, SEGMENTS, ORIGINS, CONFIG)["storm"]["load"]
    assert found["mean"] == pytest.approx(2 * (1 + 1 + 1 + 10) / 4)
    assert found["first_step"] == pytest.approx(0, abs=1e-12)
    assert found["last_step"] == pytest.approx(4 * 13 / 4)
    assert found["by_step"] == pytest.approx([step * 13 / 4 for step in range(5)], abs=1e-5)
    assert found["low"] == pytest.approx(2)
    assert 2 < found["high"] < 20
    assert found["most_affected"] == "s1"


def test_a_finding_says_how_the_first_target_moves() -> None:
    found = effects(FUTURES, SEGMENTS, ORIGINS, CONFIG)
    [finding] = effect_findings(found, CONFIG)
    assert finding.text.startswith("If storm (wind shift 5), 'load' moves by +6.5 on average (+2 to ")
    assert "no steady direction" not in finding.text
    found["storm"]["load"]["low"] = -1.0
    assert "in no steady direction" in effect_findings(found, CONFIG)[0].text


def test_tables_have_a_row_for_each_scenario_and_none_without() -> None:
    [table] = effect_tables(effects(FUTURES, SEGMENTS, ORIGINS, CONFIG), ["load"])
    assert [row[:2] for row in table["rows"]] == [["storm", "load"]]
    assert len(table["rows"][0]) == len(table["columns"])
    assert effect_tables({}, ["load"]) == []


def test_coverage_is_the_share_of_measured_values_in_the_band() -> None:
    # Of 19 paths from 0 to 1, the second and the last but one hold eight tenths of what may come between them.
    paths = np.broadcast_to(np.linspace(0, 1, 19)[None, :, None, None], (2, 19, 4, 1))
    actual = np.array([0.05, 0.06, 0.5, 0.94, 0.95, 0.5, 0.5, 9.0]).reshape(2, 4, 1)
    observed = np.array([1, 1, 1, 1, 1, 1, 1, 0]).reshape(2, 4, 1)
    assert band_coverage(paths, actual, observed) == pytest.approx(5 / 7)
    assert band_coverage(paths, actual, 0 * observed) == 0


@pytest.mark.parametrize("is_time", [True, False])
def test_figures_are_json_and_draw_what_was_not_measured_as_a_gap(is_time: bool) -> None:
    segments = made.segments_of([240, 240], schema=made.schema_of(is_time=is_time))
    actual, observed = np.ones((4, 5, 1)), np.ones((4, 5, 1))
    observed[2, 1] = 0
    found = effects(FUTURES, segments, ORIGINS, CONFIG)
    figures = rollout_figures(FUTURES, actual, observed, segments, ORIGINS, found)
    assert [figure.id for figure in figures] == ["fan", "effects", "tornado"]
    json.loads(to_json(figures))
    truth = next(trace for trace in figures[0].traces if trace.get("name") == "what happened")
    assert truth["y"] == [1.0, None, 1.0, 1.0, 1.0]
    assert "+6.5" in figures[1].caption
    assert [f.id for f in rollout_figures({"base": BASE}, actual, observed, segments, ORIGINS, {})] == ["fan"]


def test_class_effects_tell_probabilities_and_changed_decisions() -> None:
    base = np.array([[0.9, 0.1], [0.6, 0.4]])
    found = {"base": base, "fog": np.array([[0.7, 0.3], [0.2, 0.8]])}
    table, [bars], [finding] = class_effects(found, ["late", "on time"])
    assert table["rows"][1] == ["fog", pytest.approx(0.45), pytest.approx(0.55), 0.5]
    assert table["rows"][0][-1] == 0
    assert finding.text == "If fog, 'late' becomes -30.0% likelier and 50.0% of decisions change."
    assert "75.0%" in bars.caption


def test_the_verdict_is_drawn_beside_its_words() -> None:
    verdict = decide("values", {"mae": 1.0}, {"mae": 0.9}, {"mae": 0.8}, 3)
    figure = before_and_after(verdict)
    assert figure.traces[0]["y"] == [1.0, 0.9, 0.8]
    assert figure.caption.startswith("Synthetic experience kept")
