"""What decisions are worth, from costs that are known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lstm_ray.plan.decisions import pictures
from lstm_ray.plan.decisions.deciding import Decided, decide
from lstm_ray.plan.decisions.worth import beyond_training, facts, findings, table, worth
from lstm_ray.run_dir import to_json
from lstm_ray.sections.decision import DecisionConfig
from tests.plan.decisions.worlds import SEGMENTS, STEPS, case_of

TREE: dict[str, Any] = {
    "actions": [{"name": "heat", "low": -5, "high": 40}, {"name": "order", "low": 0, "high": 60}],
    "objective": [
        {"kind": "track", "reference": 22.0},
        {"kind": "newsvendor", "supply": "order", "over": 1.0, "under": 3.0},
    ],
    "candidates": 32,
    "rounds": 6,
}
DECISION = DecisionConfig.model_validate(TREE)
DECIDED = [decide(case_of(TREE, origin)) for origin in (100, 130)]
LABELS = ["s0, monday", "s0, tuesday"]
TIMES = [SEGMENTS.times(origin + np.arange(1, STEPS + 1)) for origin in (100, 130)]


def words(decided: list[Decided], decision: DecisionConfig = DECISION) -> str:
    told = findings(worth(decided, decision, 1), decided, decision, ["heat", "price"], ["load"])
    return "\n".join(f"{one.severity}: {one.text} {one.advice}" for one in told)


def with_costs(one: Decided, plan: Any, nothing: Any, season: Any) -> Decided:
    return replace(one, cost_PW=np.stack([np.broadcast_to(c, 64) for c in (plan, nothing, season)]).astype(float))


def test_what_is_saved_is_the_difference_of_means_over_origins() -> None:
    noise = np.random.default_rng(0).normal(size=64)
    decided = [with_costs(DECIDED[0], 10 + noise, 15 + noise, 12 + noise), with_costs(DECIDED[1], 20, 27, 19)]
    found = worth(decided, DECISION, 1)
    nothing, season = found.savings
    assert [nothing.mean, season.mean] == pytest.approx([6, 0.5])
    assert nothing.share == pytest.approx(6 / (21 + noise.mean() / 2))
    # The paths are paired, so of each origin the saving is certain; what is not is which origins there are.
    assert found.savings_O[0][0].low == pytest.approx(5)
    # Two origins that save 5 and 7 say little of others: t with one degree of freedom, standard error 1.
    assert [nothing.low, nothing.high] == pytest.approx([6 - 12.706, 6 + 12.706], abs=1e-3)


@pytest.mark.parametrize("origins", [2, 4, 8])
def test_an_interval_over_few_origins_holds_what_all_would_save(origins: int) -> None:
    random, hits = np.random.default_rng(4), 0
    for seed in range(80):
        saved = random.normal(1, 1, origins)
        decided = [with_costs(DECIDED[0], 0, one + random.normal(0, 1, 64), 0) for one in saved]
        saving = worth(decided, DECISION, seed).savings[0]
        hits += saving.low <= 1 <= saving.high
    assert hits >= 70


def test_an_interval_covers_what_unpaired_paths_leave_open() -> None:
    random = np.random.default_rng(3)
    hits = 0
    for seed in range(60):
        decided = [with_costs(DECIDED[0], random.normal(0, 1, 64), random.normal(1, 1, 64), 0)]
        saving = worth(decided, DECISION, seed).savings[0]
        hits += saving.low <= 1 <= saving.high
    assert hits >= 50


def test_a_plan_that_was_dropped_saves_nothing_and_is_told() -> None:
    decided = [replace(with_costs(DECIDED[0], 16, 15, 12), kept=False)]
    assert worth(decided, DECISION, 1).savings[0].mean == 0
    assert "At 1 of 1 origins the plan that was found costs no less than doing nothing" in words(decided)
    assert "costs no less" not in words(DECIDED)


def test_risk_is_that_of_the_decision() -> None:
    cautious = DecisionConfig.model_validate(TREE | {"cvar": 0.25})
    decided = [with_costs(DECIDED[0], np.arange(64), 100, 100)]
    assert worth(decided, cautious, 1).savings[0].mean == pytest.approx(100 - np.arange(48, 64).mean())
    assert "mean of the worst 25% of the paths" in words(decided, cautious)


def test_a_reader_is_told_that_effects_are_learned_and_whether_there_are_any() -> None:
    told = words(DECIDED)
    assert (
        "warning: What the policy foresees under another 'heat' is learned from what went together in the data" in told
    )
    assert "'heat' moves 'load' by +" in told
    assert "'order' moves" not in told
    deaf = [replace(one, response_A3=np.array([[0.001, 0.001, 0.01], [np.nan] * 3])) for one in DECIDED]
    assert "no target by more than 1.0% of the paths' deviation: the policy hardly answers to it" in words(deaf)
    assert "Random plans differ" not in told
    assert "Random plans differ in cost by 1e-05" in words([replace(one, spread=1e-5) for one in DECIDED])


def test_data_that_had_to_be_moved_are_told() -> None:
    assert "break a constraint" not in words(DECIDED)
    assert "25% of the values planned in the data break a constraint" in words([replace(DECIDED[0], moved=0.25)])


def test_plans_outside_what_training_saw_are_warned_of() -> None:
    low, high = np.sort(DECIDED[0].plan_SA[:, 0])[[2, -1]]
    [found] = beyond_training(DECIDED[:1], DECISION, {"heat": (float(low), float(high)), "price": (0.0, 0.0)})
    assert found.severity == "warning"
    assert found.text.startswith(
        f"{2 / STEPS:.0%} of the values planned for 'heat' lie outside {low:.4g} to {high:.4g}"
    )
    assert beyond_training(DECIDED, DECISION, {"heat": (-5.0, 40.0)}) == []


def test_tables_figures_and_facts_hold_plain_finite_values() -> None:
    found = worth(DECIDED, DECISION, 1)
    rows = table(found, LABELS, DECIDED, DECISION)
    assert [len(row) for row in rows["rows"]] == [len(rows["columns"])] * 3
    told = json.loads(to_json(facts(found, DECIDED, DECISION, ["load"])))
    assert len(told["origins"][0]["actions"]["order"]["plan"]) == STEPS
    assert told["origins"][1]["cost"]["plan"] == pytest.approx(found.cost_OP[1, 0])
    drawn = pictures.figures(found, DECIDED, LABELS, TIMES, DECISION, ["load"])
    assert [one.id for one in drawn] == [
        *("decision-action-0", "decision-action-1", "decision-outcome", "decision-search", "decision-worth")
    ]
    to_json([one.model_dump() for one in drawn])
    assert all(trace["line"]["shape"] == "hv" for trace in drawn[0].traces)
    # A value holds until its step ends, the last one's too.
    assert (
        {len(trace["x"]) for trace in drawn[0].traces} == {len(trace["y"]) for trace in drawn[0].traces} == {STEPS + 1}
    )
    assert all(one.caption.endswith(".") for one in drawn)
    alone = worth(DECIDED[:1], DECISION, 1)
    assert len(table(alone, LABELS[:1], DECIDED[:1], DECISION)["rows"]) == 1
    assert len(pictures.figures(alone, DECIDED[:1], LABELS[:1], TIMES[:1], DECISION, ["load"])) == 4
