"""What is told of a story, from what was seen and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_ray.operate.story import ALARM, BACK, FORCED, PROMOTED, SHIFT, Look, Phase, Story, outcome
from lstm_ray.operate.telling import written
from lstm_ray.run_dir import RunDir
from tests.operate.tapes import tape


def story(**changes: Any) -> Story:
    """Shift at step 30, seen at 34, a challenger from 40 on, a bad one from 55 to 60. Errors: 1, then 5, then 2, then 9."""
    told = Story(
        tape(),
        "made up",
        "°F",
        30,
        "the sensors go wrong",
        roles={"a": "champion", "b": "challenger", "c": "bad policy"},
    )
    told.phases = [Phase("calm", 6, 30, 100, 0, 1.0), Phase("the rest", 30, 66, 200, 0, 2.0)]
    told.moments = {SHIFT: 30, ALARM: 34, PROMOTED: 40, FORCED: 55, BACK: 60}
    for step in range(6, 66):
        by = "a" if step <= 40 else "c" if 55 < step <= 60 else "b"
        error = 1.0 if step < 30 else 5.0 if step <= 40 else 9.0 if by == "c" else 2.0
        told.errors.answered(by, step, np.array([[[0.0]]]))
        told.errors.measured(step, np.array([[error]]))
        told.served[step] = by
        alarms = {"drift": "'temp' lies elsewhere"} if step >= 34 else {}
        told.looks.append(Look(step, 0.5 if step < 34 else 1.5, "temp", None, 1.0, 1.25, alarms))
    told.decisions = [
        {"sequence": 1, "event": "served", "evidence": {"policy": "a"}},
        {"sequence": 2, "event": "promoted", "evidence": {"policy": "b", "from": "a", "slices": [1, 2]}},
    ]
    told.facts = {"refused_bad_challenger": True}
    for name, value in changes.items():
        setattr(told, name, value)
    return told


def test_errors_are_of_the_stretches_before_during_and_after() -> None:
    found = outcome(story())
    assert (found["error_before"], found["error_during"], found["error_after"]) == (1.0, 5.0, 2.0)
    assert found["detection_delay_steps"] == 4
    assert found["rollback_delay_steps"] == 5
    assert (found["promoted"], found["rolled_back"], found["refused_bad_challenger"]) == (True, True, True)
    assert (found["requests"], found["failed_requests"], found["false_alarms"]) == (300, 0, 0)
    assert found["ledger"] == {"served": 1, "promoted": 1}


def test_what_did_not_happen_is_told_as_such() -> None:
    found = outcome(story(moments={SHIFT: 30}, facts={}))
    assert (found["detection_delay_steps"], found["error_after"]) == (None, None)
    assert (found["promoted"], found["rolled_back"], found["refused_bad_challenger"]) == (False, False, False)


def test_alarms_before_the_shift_are_false_ones() -> None:
    told = story()
    told.looks[3] = Look(9, 1.2, "temp", None, 1.0, 1.25, {"drift": "by chance"})
    assert outcome(told)["false_alarms"] == 1


def test_failed_requests_of_every_stretch_add_up_and_are_named_on_the_page(tmp_path: Path) -> None:
    told = story(failed={"503": 3})
    told.phases[0].num_failed, told.phases[1].num_failed = 1, 2
    assert outcome(told)["failed_requests"] == 3
    page = Path(written(told, RunDir(tmp_path), 5.0, "again", "name: made up\n")).read_text()
    assert "3 requests failed: 3 of &#39;503&#39;" in page


@pytest.mark.parametrize("moments", [{SHIFT: 30, ALARM: 34, PROMOTED: 40, FORCED: 55, BACK: 60}, {SHIFT: 30}])
def test_the_page_and_the_report_are_written_whatever_came_of_it(tmp_path: Path, moments: dict[str, int]) -> None:
    written(story(moments=moments), RunDir(tmp_path), 5.0, "again", "name: made up\n")
    report = json.loads((tmp_path / "operate" / "report.json").read_text())
    assert report["error_before"] == 1.0
    assert report["tables"][2]["rows"][1] == [2, "promoted", "policy: the challenger; from: the champion"]
    noticed = report["tables"][0]["rows"]
    assert noticed[0] == ["drift", 4, "'temp' lies elsewhere"]
    page = (tmp_path / "operate" / "report.html").read_text()
    for words in ("Forecasts held against what came", "The largest distance from training", "Which policy answered"):
        assert words in page


def test_moments_stand_in_the_figures_at_their_hours(tmp_path: Path) -> None:
    written(story(), RunDir(tmp_path), 5.0, "again", "")
    figures = {one["id"]: one for one in json.loads((tmp_path / "operate" / "figures.json").read_text())}
    layout = figures["error"]["layout"]
    assert [line["x0"] for line in layout["shapes"]][:2] == ["2013-08-24T06:00:00Z", "2013-08-24T10:00:00Z"]
    assert ", ".join(text["text"] for text in layout["annotations"]) == ", ".join(
        [SHIFT, ALARM, PROMOTED, FORCED, BACK]
    )


def test_what_probation_measured_of_both_on_the_same_values_is_told() -> None:
    told = {"policy": "b", "values": 90, "errors": [2.0], "errors_before": [6.0]}
    ended = {"sequence": 3, "event": "ended", "evidence": {"role": "probation", "why": "passed", "probation": told}}
    assert outcome(story())["on_probation"] is None
    found = outcome(story(decisions=[ended]))["on_probation"]
    assert found == {"values": 90, "challenger": 2.0, "champion_before": 6.0}
