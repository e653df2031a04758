"""Figures and their targets, and what is printed of them."""

from __future__ import annotations

import json

import pytest

from lstm_ray.benchmark.results import Figure, Results, Sheet, machine, show


@pytest.mark.parametrize(
    ("value", "target", "at_most", "holds"),
    [(41.0, 40.0, False, True), (39.9, 40.0, False, False), (0.351, 0.351, True, True), (0.36, 0.351, True, False)],
)
def test_a_figure_holds_on_the_right_side_of_its_target(
    value: float, target: float, at_most: bool, holds: bool
) -> None:
    assert Figure("made", value, "times", target, at_most).holds is holds


def test_a_figure_without_a_target_neither_holds_nor_fails() -> None:
    figure = Figure("made", 3.0, "seconds")
    assert figure.holds is None
    assert figure.wanted == ""


def test_the_last_line_is_json_with_the_agreed_keys(capsys: pytest.CaptureFixture[str]) -> None:
    figures = [Figure("speed [times]", 12.3456789, "times", 40.0), Figure("cost", 3.0, "seconds")]
    sheet = Sheet("Made up", ["loop", "speed"], [["trainer", "12"]])
    show("training", Results(figures, [sheet], ["left out"], [7]), quick=True)
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[-1])
    assert set(found) == {"suite", "date", "quick", "seeds", "machine", "versions", "notes", "figures"}
    assert (found["suite"], found["quick"], found["seeds"], found["notes"]) == ("training", True, [7], ["left out"])
    assert found["figures"] == [
        {"name": "speed [times]", "value": 12.3457, "unit": "times", "target": 40.0, "holds": False},
        {"name": "cost", "value": 3.0, "unit": "seconds", "target": None, "holds": None},
    ]
    assert set(found["machine"]) == {"cpu", "cores", "memory_bytes", "gpu"}
    assert {"python", "torch", "lstm_ray", "aeon"} <= set(found["versions"])
    shown = "\n".join(lines[:-1])
    for words in ("Made up", "trainer", "speed [times]", "≥ 40", "NO", "note: left out"):
        assert words in shown


def test_a_part_adds_its_figures_notes_and_seeds_once() -> None:
    whole = Results(seeds=[7])
    whole.add(Results([Figure("made", 1.0, "times")], [], ["said"], [7, 8]))
    assert (len(whole.figures), whole.notes, whole.seeds) == (1, ["said"], [7, 8])


def test_the_machine_says_its_processor_and_cores() -> None:
    found = machine()
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["memory_bytes"] > 2**28
