"""Every case of the suite ``chaos``, one by one: what breaks in mid-work, and whether the work ends right."""

from __future__ import annotations

import os
import signal
import time
from importlib import import_module
from pathlib import Path

import pytest

from lstm_ray.benchmark.chaos import checks, suite
from lstm_ray.benchmark.chaos.outcome import Fault, LeftOut, Missed, Outcome, judged
from lstm_ray.benchmark.chaos.work import command
from lstm_ray.benchmark.chaos.world import waves
from lstm_ray.benchmark.options import Options
from lstm_ray.errors import InputError

pytestmark = pytest.mark.timeout(1200)


USUAL = ("train-worker", "data-task", "driver", "serve-replica")
"""Cases of every run of the tests; the others take a quarter of an hour: pytest -m chaos tests/cluster/test_chaos.py."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in USUAL else pytest.mark.chaos) for name in suite.CASES]
)
def test_work_ends_right_though_something_breaks_in_its_midst(nodes, shared, name):
    try:
        outcome = suite.outcome_of(name, nodes, shared)
    except LeftOut as reason:
        pytest.skip(str(reason))
    assert outcome.holds, outcome.result
    assert outcome.seconds_to_recover > 0
    assert outcome.case != name, "a case tells in words what was broken"


def test_every_case_is_there_and_says_what_it_breaks():
    for name, place in suite.CASES.items():
        module, function = place.split(":")
        case = getattr(import_module(f"{suite.__package__}.{module}"), function)
        assert case.__doc__, f"{name} has no words"
    assert set(suite.QUICK) <= set(suite.CASES)


def test_a_sign_that_does_not_come_is_told_as_a_case_that_does_not_hold(nodes, tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "CASES", {"never": "suite:never"})
    monkeypatch.setattr(suite, "never", missing, raising=False)
    outcome = suite.outcome_of("never", nodes, tmp_path)
    assert not outcome.holds
    assert "the end of days was not seen" in outcome.result
    results = suite.told({"never": outcome}, [])
    assert results.figures[0].plain()["holds"] is False


def missing(nodes, folder: Path) -> Outcome:
    """Nothing, and waits for it."""
    with command(["config", "schema"], os.environ, folder / "log") as work:
        work.until(lambda: False, "the end of days", 0.1)
    raise AssertionError("it was not seen")


def test_work_that_ends_too_early_is_missed_with_its_last_words(tmp_path):
    with (
        command(["no-such-stage"], os.environ, tmp_path / "log") as work,
        pytest.raises(Missed, match=r"(?s)exit code 2 before a sign was seen.*no-such-stage"),
    ):
        work.until(lambda: False, "a sign")


def test_what_is_left_of_work_ends_with_its_block(tmp_path):
    with command(["config", "schema"], os.environ, tmp_path / "log") as work:
        os.kill(work.process.pid, signal.SIGSTOP)
    assert work.process.returncode == -signal.SIGKILL


def test_an_error_must_be_one_and_have_no_traceback(tmp_path):
    with command(["train", str(tmp_path / "none.yaml")], os.environ, tmp_path / "log") as work:
        assert work.ended() == 2
        assert work.not_one_error("none.yaml") == []
        assert work.not_one_error("disk")[0].startswith("the error does not say 'disk'")
        (tmp_path / "log").write_text('  File "/home/x/lstm_ray/cli.py", line 1\nerror: a\nerror: b\n')
        assert len(work.not_one_error(codes=(1,))) == 3


def test_rows_that_are_lost_doubled_or_changed_are_found(tmp_path):
    table = waves(2)
    for name, rows in {"right": table, "lost": table[1:], "doubled": table.vstack(table[:1]), "odd": table}.items():
        (tmp_path / name).mkdir()
        rows.with_columns(load=rows["load"] + (name == "odd")).write_parquet(tmp_path / name / "part.parquet")
    found = {
        name: checks.same_rows(tmp_path / name / "part.parquet", tmp_path / "right/*.parquet", ["name", "time"])
        for name in os.listdir(tmp_path)
    }
    assert found["right"] == []
    assert found["lost"] == ["799 rows in place of 800"]
    assert found["doubled"] == ["1 rows are doubled", "801 rows in place of 800"]
    assert "rows differ" in found["odd"][0]


def test_metrics_within_the_tolerance_are_alike():
    assert checks.unlike({"mae": 1.0005}, {"mae": 1.0}, "it") == []
    assert checks.unlike({"mae": 1.01}, {"mae": 1.0}, "it") == ["it: mae is 1.01 and not 1"]
    assert checks.unlike({}, {"mae": 1.0}, "it") != []


def test_an_outcome_holds_where_nothing_is_wrong():
    fault = Fault(time.monotonic() - 2)
    assert fault.seconds() >= 2
    assert judged("a case", "well", 2.0) == Outcome("a case", "well", True, 2.0)
    assert judged("a case", "well", 2.0, ["this", "that"]) == Outcome("a case", "this; that", False, 2.0)


def test_only_cases_that_there_are_can_be_asked_for():
    with pytest.raises(InputError, match="did you mean 'driver'"):
        suite.chaos(Options(only=["drivers"]))
