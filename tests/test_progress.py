"""Progress leaves a few lines in a log and none on a terminal."""

from __future__ import annotations

import pytest

from lstm_ray.progress import LINES_IN_A_LOG, bar, note


@pytest.mark.parametrize("total", [0, 1, 4, 9, 30, 1000])
def test_a_log_gets_a_few_lines_that_say_where_the_work_stands(
    total: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with bar("train", total) as advance:
        for step in range(total):
            advance(f"step {step}")
    lines = capsys.readouterr().err.splitlines()
    assert min(1, total) <= len(lines) <= LINES_IN_A_LOG
    for line in lines:
        done = int(line.split()[1].partition("/")[0])
        assert line == f"  train {done}/{total} step {done - 1}"


def test_a_note_is_one_line_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    note("waits " * 40)
    assert capsys.readouterr().err.splitlines() == ["  " + "waits " * 40]
