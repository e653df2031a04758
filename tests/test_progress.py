"""Progress leaves a few lines in a log, each with its pace, and none on a terminal; whoever watches is told each step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lstm_ray import log, progress
from lstm_ray.progress import LINES_IN_A_LOG, LONGEST_SILENCE_SECONDS, PACED, Pace, bar, note, span


class Clock:
    """A clock that goes only where it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    monkeypatch.setenv("COLUMNS", "200")
    return found


@pytest.mark.parametrize("total", [0, 1, 4, 9, 30, 1000])
def test_a_log_gets_a_few_lines_that_say_where_the_work_stands(
    total: int, capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with bar("train", total) as advance:
        for step in range(total):
            clock.now += 0.01
            advance(f"step {step}")
    lines = capsys.readouterr().err.splitlines()
    assert min(1, total) <= len(lines) <= LINES_IN_A_LOG
    for line in lines:
        done = int(line.split()[1].partition("/")[0])
        left = f", {span(0.01 * (total - done))} left" if done < total else ""
        assert line == f"  train {done}/{total} (100/s{left}) step {done - 1}"


def test_a_log_of_slow_work_is_never_silent_for_long(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with bar("train", 1000) as advance:
        for _ in range(12):
            clock.now += LONGEST_SILENCE_SECONDS / 2
            advance("")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert lines[0] == "  train 2/1000 (30 s each, 8.3 h left)"


def test_a_pace_forgets_what_was_kept_from_before(clock: Clock) -> None:
    pace = Pace(1000)
    for done in range(900):
        pace.words(done, clock.now)
    for done in range(900, 900 + PACED):
        clock.now += 2.0
        told = pace.words(done, clock.now)
    assert told == f"(2 s each, {span(2 * (1000 - 900 - PACED + 1))} left)"


def test_steps_that_take_no_time_have_no_pace(clock: Clock) -> None:
    assert Pace(5).words(1, clock.now) == "(at once)"


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "0 s"), (89, "89 s"), (600, "10 min"), (7200, "2.0 h")])
def test_a_span_is_told_as_a_person_would(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_a_note_is_one_line_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    note("waits " * 40)
    assert capsys.readouterr().err.splitlines() == ["  " + "waits " * 40]


def test_whoever_watches_is_told_of_every_step(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_watchers", [])
    seen: list[tuple[str, int, int]] = []
    watcher: progress.Watcher = lambda *told: seen.append(told)  # noqa: E731
    progress.watch(watcher)
    progress.watch(watcher)
    with bar("tune", 3) as advance:
        for _ in range(3):
            advance("")
    assert seen == [("tune", 1, 3), ("tune", 2, 3), ("tune", 3, 3)]


def test_a_stage_keeps_the_lines_and_programs_get_them_in_place_of_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(log.STYLE, "json")
    with log.of_run("r1"), log.of_stage("train", tmp_path), bar("epochs", 2) as advance:
        advance("first")
        note("a word more")
    said = capsys.readouterr().err
    assert said == (tmp_path / log.FILE).read_text()
    first, second = map(json.loads, said.splitlines())
    assert (first["run"], first["stage"], first["step"], first["done"], first["total"]) == (
        "r1",
        "train",
        "epochs",
        1,
        2,
    )
    assert (first["message"], second["message"]) == ("epochs 1/2 first", "a word more")
