"""Rollouts as sentences, tables and pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lstm_ray.plan.what_if.effects import Summary, Threshold, crossings, effects, summary_of
from lstm_ray.plan.what_if.pictures import rollout_figures
from lstm_ray.plan.what_if.statements import effect_findings, effect_tables, facts_of, percent
from lstm_ray.run_dir import to_json
from tests import made

SEGMENTS = made.segments_of([240, 240])
ORIGINS = np.array([50, 60, 70, 300])
STORM: dict[str, Any] = {"name": "storm", "column": "wind", "operation": "shift", "value": 5}
MORE = [
    {"column": "wind", "operation": "replay", "steps": 3},
    {"column": "wind", "operation": "noise", "value": 1, "between": ["2024-03-07", "2024-03-08"]},
]
CONFIG = made.make_config(plan__scenarios=[STORM, {"name": "calm", "column": "wind", "operation": "set", "value": 0}])
THRESHOLDS = [Threshold(0, 30.0, True, "load above 30"), Threshold(0, 1e9, True, "load above 1e9")]
BASE = 20 + np.random.default_rng(0).normal(size=(4, 3, 5, 1))
FUTURES = {
    "base": BASE,
    "storm": BASE + np.array([1.0, 1.0, 1.0, 10.0])[:, None, None, None] * np.arange(5)[:, None],
    "calm": BASE + np.array([-0.1, 0.1, -0.1, 0.1])[:, None, None, None],
}


def summaries(**futures: Any) -> dict[str, Summary]:
    return {name: summary_of(future, THRESHOLDS) for name, future in futures.items()}


def told(segments: Any = SEGMENTS) -> tuple[Any, Any]:
    found = summaries(**FUTURES)
    return effects(found, segments, ORIGINS), crossings(found, THRESHOLDS, segments.steps(ORIGINS))


def test_a_finding_says_what_a_scenario_does_and_what_it_makes_likelier() -> None:
    storm, calm = effect_findings(*told(), CONFIG.plan.scenarios)
    assert storm.text.startswith("If storm (wind shift 5), 'load' moves by +6.5 on average, +32.")
    assert "(80 % of origins +2 to " in storm.text
    assert "most in 's1', by +20" in storm.text
    assert "probability of 'load above 30' 25.0% instead of 0.0%" in storm.text
    assert "1e9" not in storm.text, "nothing changes about it"
    assert "so its direction is not clear" in calm.text


def test_a_finding_names_all_that_changes() -> None:
    scenarios = made.make_config(plan__scenarios=[STORM | {"steps": 1, "also": MORE}]).plan.scenarios
    [finding] = effect_findings(*told(), scenarios)
    assert (
        "(wind shift 5 over 1 step, wind replay over 3 steps, wind noise 1 between 2024-03-07 and 2024-03-08)"
        in finding.text
    )


def test_a_scenario_that_the_policy_does_not_react_to_is_told_as_such() -> None:
    found = summaries(base=BASE, storm=BASE)
    [finding] = effect_findings(effects(found, SEGMENTS, ORIGINS), {}, CONFIG.plan.scenarios[:1])
    assert finding.severity == "advice"
    assert "nothing changes in any simulated future" in finding.text


def test_tables_have_a_row_for_each_scenario_and_none_without() -> None:
    whole, series, threshold = effect_tables(*told())
    assert whole["title"] == "What-if: load"
    assert [row[:3] for row in whole["rows"]] == [
        ["storm", pytest.approx(6.5), None],
        ["calm", pytest.approx(0, abs=1e-5), None],
    ]
    assert "too few moments for an interval: raise plan.origins" in whole["caption"]
    assert [row[:2] for row in series["rows"][:2]] == [["storm", "s1"], ["storm", "s0"]]
    assert [row[:4] for row in threshold["rows"][:1]] == [["storm", "load above 30", 0, pytest.approx(0.25)]]
    for table in (whole, series, threshold):
        assert all(len(row) == len(table["columns"]) for row in table["rows"])
    assert effect_tables({}, {}) == []
    both = {name: {"load": by["load"], "heat": by["load"]} for name, by in told()[0].items()}
    whole = effect_tables(both, {})[0]
    assert whole["columns"][:2] == ["scenario", "target"]
    assert [row[:2] for row in whole["rows"][:2]] == [["storm", "load"], ["storm", "heat"]]


def test_the_facts_are_json() -> None:
    facts = json.loads(to_json(facts_of(*told())))
    assert facts["effects"]["storm"]["load"]["mean"] == pytest.approx(6.5)
    assert facts["effects"]["storm"]["load"]["most_affected"] == "s1"
    assert facts["crossings"]["storm"]["load above 30"]["difference"] == pytest.approx(0.25)


@pytest.mark.parametrize("is_time", [True, False])
def test_figures_are_json_and_draw_what_was_not_measured_as_a_gap(is_time: bool) -> None:
    segments = made.segments_of([240, 240], schema=made.schema_of(is_time=is_time))
    segments = replace(segments, observed_RC=np.ones_like(segments.observed_RC))
    actual, observed = np.ones((4, 5, 1)), np.ones((4, 5, 1))
    observed[3, 1] = 0
    found = summaries(**FUTURES)
    figures = rollout_figures(found, *told(segments), actual, observed, segments, ORIGINS)
    assert [figure.id for figure in figures] == ["fan-1", "fan-2", "effects", "tornado", "crossings"]
    json.loads(to_json(figures))
    # The most affected series is the second, which has one origin.
    assert figures[0].title == "load of s1: storm"
    lines = {trace["name"]: trace for trace in figures[0].traces if "name" in trace}
    before = segments.target_RC[296:301, 0]
    assert lines["what happened"]["y"] == [*(float(f"{v:.6g}") for v in before), 1.0, None, 1.0, 1.0, 1.0]
    assert lines["storm"]["y"][0] == lines["base"]["y"][0] == pytest.approx(before[-1], rel=1e-5)
    assert lines["storm"]["y"][1:] == pytest.approx(FUTURES["storm"][3, :, :, 0].mean(0), rel=1e-4)
    assert "+6.5" in figures[2].caption
    assert figures[3].traces[0]["y"] == ["storm", "calm"]
    assert "1 of 2 lies clear of 0" in figures[3].caption
    assert [trace["name"] for trace in figures[4].traces] == ["load above 30"]
    assert figures[4].traces[0]["y"] == [0, 0.25, 0]


def test_without_scenarios_there_is_a_fan_of_the_base_and_without_crossings_no_bars() -> None:
    found, none = summaries(base=BASE), np.ones((4, 5, 1))
    [fan] = rollout_figures(found, {}, {}, none, none, SEGMENTS, ORIGINS)
    assert fan.id == "fan"
    assert "that of" not in fan.caption
    moved, _ = told()
    kept = rollout_figures(summaries(**FUTURES), moved, {"storm": {}, "calm": {}}, none, none, SEGMENTS, ORIGINS)
    assert "crossings" not in [figure.id for figure in kept]


def test_bands_have_the_colour_of_the_lines_they_are_of() -> None:
    segments, origins = made.segments_of([1000]), np.arange(100, 900, 10)
    base = np.random.default_rng(0).normal(size=(80, 4, 5, 1))
    found = summaries(base=base, storm=base + 1, calm=base - 2)
    moved = effects(found, segments, origins)
    none = np.ones((80, 5, 1))
    fan, _, lead, tornado = rollout_figures(found, moved, {}, none, none, segments, origins)
    for figure, names in ((fan, {"base", "calm"}), (lead, {"calm", "storm"})):
        bands = {trace["legendgroup"] for trace in figure.traces if trace.get("line") == {"width": 0}}
        lines = {trace["name"] for trace in figure.traces if trace.get("legendgroup") == trace.get("name")}
        assert bands == lines == names
    assert "95 % intervals of the mean" in tornado.caption
    assert tornado.traces[0]["error_x"]["arrayminus"] == pytest.approx([0, 0], abs=1e-5)


@pytest.mark.parametrize(
    ("share", "words"), [(-0.0001, "less than 0.1%"), (-0.0123, "-1.2%"), (2.5, "+250.0%"), (1e30, "+1e+32%")]
)
def test_a_change_in_percent_is_told_as_it_is_read(share: float, words: str) -> None:
    assert percent(share) == words
