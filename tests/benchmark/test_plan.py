"""What the plan suite makes of its measurements. The measurements themselves are made up here."""

from __future__ import annotations

from pathlib import Path

import pytest

from lstm_ray.benchmark import plan
from lstm_ray.benchmark.options import Options
from tests.benchmark.answering import answers

ONCE = "bare torch, first block once"
FOUND = {ONCE: [100.0, 200.0, 100.0], "1 actor": [90.0, 160.0, 85.0], "2 actors": [162.0, 240.0, 170.0]}


def test_rollouts_are_compared_turn_by_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    answers(monkeypatch, FOUND)
    found = {figure.name: figure for figure in plan.rollouts(Options(), "x.yaml", "run").figures}
    assert found[f"one actor / {ONCE}"].value == 0.85  # of 0.9, 0.8 and 0.85
    assert found[f"one actor / {ONCE}"].holds is True
    assert found["two actors / one actor"].value == 1.8  # of 1.8, 1.5 and 2
    assert found["two actors / one actor"].target == 1.7
    assert found["one actor"].value == 90


def test_on_one_core_two_actors_are_left_out_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0})
    asked = answers(monkeypatch, {name: FOUND[name] for name in (ONCE, "1 actor")})
    found = plan.rollouts(Options(), "x.yaml", "run")
    assert asked[0]["actors"] == [1]
    assert found.notes == ["two actors were left out, for this machine has one core"]
    assert "two actors / one actor" not in [figure.name for figure in found.figures]


@pytest.mark.parametrize(("quick", "trials", "target"), [(False, 8, 60.0), (True, 2, None)])
def test_a_search_is_held_to_its_seconds_where_it_is_whole(
    monkeypatch: pytest.MonkeyPatch, quick: bool, trials: int, target: float | None
) -> None:
    asked = answers(monkeypatch, {"seconds": 61.0, "summary": "Trials."})
    [figure] = plan.search(Options(quick=quick), "x.yaml", "run").figures
    assert asked[0]["trials"] == trials
    assert (figure.target, figure.holds) == (target, None if quick else False)


def test_the_suite_trains_once_and_measures_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "quickstart.yaml").write_text("")
    asked = answers(monkeypatch, {}, FOUND, {"seconds": 9.0, "summary": "Trials."})
    found = plan.plan(Options())
    assert [call["function"].partition(":")[2] for call in asked] == ["train", "per_second", "search_seconds"]
    assert len({call["folder"] for call in asked}) == 1
    assert found.notes == ["Trials."]
