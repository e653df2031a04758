"""Pages of one section are the run report's page, with their own words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lstm_ray.errors import InputError
from lstm_ray.report.page import render
from lstm_ray.report.single import side_by_side, write_comparison
from lstm_ray.run_dir import Report, RunDir
from tests.evaluate.comparing.finished import leave, noise


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    return [leave(tmp_path / "good", 0.8 * noise()), leave(tmp_path / "<b>bad</b>", noise())]


def test_a_comparison_is_one_page_and_json_beside_it(runs: list[str], tmp_path: Path) -> None:
    found = write_comparison(runs, tmp_path / "out" / "page.html", baselines=True)
    text = (tmp_path / "out" / "page.html").read_text()
    assert (tmp_path / "out" / "page.json").exists()
    assert found.summary.startswith("On 2,400 windows")
    for words in ("Comparison of runs", "Who ranks where", "Every pair", "Settings that differ", "lstm-ray compare"):
        assert words in text
    assert "<b>bad</b>" not in text
    assert "Lifecycle" not in text
    assert "src=" not in text.split("<script>")[0]


def test_the_best_of_each_column_are_starred(runs: list[str], tmp_path: Path) -> None:
    table = side_by_side(write_comparison(runs, tmp_path / "page.html", baselines=False).as_dict())
    good, bad = table.rows
    assert [cell.best for cell in good.cells] == [False, True, True, True, False, False, False]
    assert not any(cell.best for cell in bad.cells)
    assert good.cells[-3].text == "1,234"


def test_a_page_that_is_none_is_refused(runs: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no page"):
        write_comparison(runs, tmp_path / "page.pdf", baselines=True)


def test_the_run_s_page_names_what_its_policy_was_judged_on_later(make_run: Callable[..., RunDir]) -> None:
    run = make_run("environment", "split")
    assert "Unseen data" not in render(run)
    run.write_json("unseen/march/report.json", Report(stage="unseen", summary="On 7 windows of <b>new</b> data."))
    run.write_bytes("unseen/march/report.html", b"")
    text = render(run)
    assert '<a href="unseen/march/report.html">unseen/march/report.html</a>' in text
    assert "On 7 windows of &lt;b&gt;new&lt;/b&gt; data." in text
