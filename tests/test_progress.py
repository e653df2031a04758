"""Progress leaves a few lines in a log, each with its pace, and none on a terminal; whoever watches is told each step."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from lstm_ray import log, progress
from lstm_ray.progress import LINES_IN_A_LOG, LONGEST_SILENCE_SECONDS, Pace, bar, note, span


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
        pace = f" (100/s{left})" if done > 1 else ""
        assert line == f"  train {done}/{total}{pace} step {done - 1}"


def test_a_log_of_slow_work_is_never_silent_for_long(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with bar("train", 1000) as advance:
        for _ in range(12):
            clock.now += LONGEST_SILENCE_SECONDS / 2
            advance("")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert lines[0] == "  train 2/1000 (30 s each, 8.3 h left)"


def told(clock: Clock, total: int, waits: Iterable[float]) -> list[str]:
    """What a pace says at each step, after so many seconds each."""
    pace, said = Pace(total), []
    for done, wait in enumerate(waits, 1):
        clock.now += wait
        said.append(pace.words(done, clock.now))
    return said


def test_a_start_of_workers_is_no_part_of_the_pace(clock: Clock) -> None:
    assert told(clock, 2, [68, 1]) == ["", ""]
    said = told(clock, 100, [69, *[1] * 99])
    assert not any(said[:34])
    assert said[39] == "(1/s, 60 s left)"
    assert said[99] == "(1/s)"


def test_nothing_is_promised_of_the_first_step(clock: Clock) -> None:
    assert told(clock, 3, [600, 600, 600]) == ["", "(10 min each, 10 min left)", "(10 min each)"]


@pytest.mark.parametrize("kept", [[0.0] * 900, [0.002] * 900, [30.0, *[0.001] * 899]])
def test_steps_that_were_kept_from_before_are_no_part_of_the_pace(clock: Clock, kept: list[float]) -> None:
    """Read at once, or told with the first step after a start."""
    said = told(clock, 1000, [*kept, *[20.0] * 4])
    assert not any("/s" in one for one in said[-3:])
    assert said[-1] == f"(20 s each, {span(20 * 96)} left)"


def test_workers_that_end_together_promise_no_end_at_once(clock: Clock) -> None:
    """Eight at a time, of a minute each."""
    said = told(clock, 32, [60, *[0.5] * 7, 56.5, *[0.5] * 7, 56.5, *[0.5] * 7])
    assert not any(said[:8])
    assert said[15].endswith("s each, 2 min left)")


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "0 s"), (89, "89 s"), (600, "10 min"), (7200, "2.0 h")])
def test_a_span_is_told_as_a_person_would(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_a_note_is_one_line_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    note("waits " * 40)
    assert capsys.readouterr().err.splitlines() == ["  " + "waits " * 40]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int, bool]]:
    """What someone who watches is told, who asked twice."""
    monkeypatch.setattr(progress, "_watchers", [])
    found: list[tuple[str, int, int, bool]] = []
    watcher: progress.Watcher = lambda *told: found.append(told)  # noqa: E731
    progress.watch(watcher)
    progress.watch(watcher)
    return found


def test_whoever_watches_is_told_of_every_step_and_of_the_end(seen: list[tuple[str, int, int, bool]]) -> None:
    with bar("tune", 3) as advance:
        for _ in range(2):
            advance("")
    assert seen == [("tune", 1, 3, False), ("tune", 2, 3, False), ("tune", 2, 3, True)]


def test_whoever_watches_is_told_of_an_end_by_a_fault(seen: list[tuple[str, int, int, bool]]) -> None:
    with pytest.raises(ValueError, match="on purpose"), bar("tune", 3):
        raise ValueError("on purpose")
    assert seen == [("tune", 0, 3, True)]


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
