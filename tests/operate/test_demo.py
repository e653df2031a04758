"""What the demo refuses before anything is trained, and the policy that learned nothing."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from lstm_ray.config_file import load
from lstm_ray.errors import InputError
from lstm_ray.operate.bad import shuffled
from lstm_ray.operate.demo import Timeline, demo
from lstm_ray.run_dir import RunDir

CONFIG = Path(__file__).parents[2] / "configs" / "operate_demo.yaml"


def quiet(words: str) -> None:
    raise AssertionError(f"nothing may be trained: {words}")


@pytest.mark.parametrize("folder", ["operate", "registry"])
def test_a_folder_that_holds_a_story_is_refused_for_its_registry_would_go_on(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    with pytest.raises(InputError, match="holds a story already; name a new folder with --run-dir"):
        demo(load(CONFIG), RunDir(tmp_path), Timeline(), quiet)


@pytest.mark.parametrize(
    ("until", "words"),
    [("null", "split.until is none"), ("2013-12-01", "from there on the data has 720 hours; the story may take 1531")],
)
def test_a_replay_without_a_beginning_or_an_end_is_refused(tmp_path: Path, until: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        demo(load(CONFIG, [f"split.until={until}"]), RunDir(tmp_path), Timeline(), quiet)


def test_shuffled_targets_are_the_same_values_of_the_same_series_at_other_times() -> None:
    table = pl.DataFrame({"series": ["a"] * 50 + ["b"] * 50, "load": range(100), "input": range(100)})
    mixed = shuffled(table, ["series"], ["load"], seed=7)
    assert mixed["load"].to_list() != table["load"].to_list()
    assert sorted(mixed.filter(pl.col("series") == "a")["load"]) == list(range(50))
    assert mixed["input"].to_list() == table["input"].to_list()
    assert mixed.equals(shuffled(table, ["series"], ["load"], seed=7)), "the seed decides"
