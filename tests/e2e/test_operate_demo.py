"""A policy at work, as its job plays it: the shift noticed, learned, promoted; and two policies that must not stay."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from .conftest import BIN, ROOT

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def played(tmp_path_factory, command) -> tuple[dict[str, Any], Any]:
    run = tmp_path_factory.mktemp("operate")
    done = command(str(BIN / "python"), "jobs/operate_demo.py", "--run-dir", str(run), timeout=880)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1]), run


def test_no_request_failed_while_policies_came_and_went(played):
    found, run = played
    assert found["failed_requests"] == 0
    assert found["requests"] > 2 * found["steps"]
    phases = json.loads((run / "operate/report.json").read_text())["tables"][1]["rows"]
    assert all(phase[3] > 0 for phase in phases), "it was asked in every stretch, while others trained too"


def test_the_shift_was_noticed_within_hours_and_nothing_before_it(played):
    found, _ = played
    assert found["false_alarms"] == 0
    assert 0 <= found["detection_delay_steps"] <= 24


def test_the_challenger_brings_the_live_error_down(played):
    found, _ = played
    assert found["promoted"] is True
    assert found["error_during"] > 2 * found["error_before"]
    assert found["error_after"] < 0.75 * found["error_during"]
    both = found["on_probation"]
    assert both["challenger"] < 0.8 * both["champion_before"], "on the same values"


def test_the_readme_tells_what_the_demo_measures(played):
    """Errors to within what another processor's arithmetic changes."""
    found, _ = played
    readme = (ROOT / "README.md").read_text()
    told = re.search(r"live error before, during and after [^|]*\| ([\d.]+), ([\d.]+) and \*\*([\d.]+) °F\*\*", readme)
    assert told
    measured = [found[f"error_{when}"] for when in ("before", "during", "after")]
    assert measured == pytest.approx([float(value) for value in told.groups()], rel=0.15)
    told = re.search(r"steps until an alarm [^|]*\| \*\*(\d+)\*\*", readme)
    assert told
    assert abs(found["detection_delay_steps"] - int(told[1])) <= 3
    assert re.search(r"failed requests[^|]*\| \*\*0\*\*", readme)


def test_a_policy_that_learned_nothing_is_refused_and_forced_in_it_is_rolled_back(played):
    found, run = played
    assert found["refused_bad_challenger"] is True
    assert found["rolled_back"] is True
    entries = [json.loads(line) for line in (run / "registry/ledger.jsonl").read_text().splitlines()]
    bad = next(entry for entry in entries if entry["event"] == "refused")["evidence"]["policy"]
    back = entries[-1] if entries[-1]["event"] == "rolled_back" else None
    assert back is not None, [entry["event"] for entry in entries]
    assert back["evidence"]["from"] == bad


def test_the_page_tells_the_story(played):
    _, run = played
    page = (run / "operate/report.html").read_text()
    for words in ("Failed requests", "What noticed the shift, and when", "Which policy answered", "rolled back"):
        assert words in page
