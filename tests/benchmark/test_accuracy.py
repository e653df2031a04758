"""The accuracy suite on small made-up tables under the names of its configs."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lstm_ray.benchmark import accuracy, recipe, sets
from lstm_ray.benchmark.options import Options
from lstm_ray.benchmark.recipe import Trained
from lstm_ray.benchmark.sets import SETS, package_files
from lstm_ray.errors import InputError
from tests import made

RUN = Trained(
    seed=7,
    value=0.35,
    others={"mae": 0.4},
    baselines={"last_value": 0.9, "seasonal_naive": 0.512, "ridge": 0.37},
    num_windows=2785,
    num_parameters=168776,
    training_seconds=10.0,
    epochs=9,
    best_epoch=4,
    best_seconds=4.0,
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a small table and config under the name etth1_96."""
    monkeypatch.chdir(tmp_path)
    made.write_table(tmp_path / "ETTh1.csv")
    tree = made.config_tree("elsewhere.csv") | {"name": "etth1_96"}
    tree["train"]["max_epochs"] = 1
    tree["evaluate"] = {"missing": [0.5], "noise": [1.0], "robustness_windows": 8, "statistical_windows": 0}
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "etth1_96.yaml").write_text(yaml.safe_dump(tree))
    return tmp_path


def test_a_config_is_trained_and_tested_with_every_seed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "SEEDS", (7, 8))
    options = Options(source={"etth1_96": [str(here / "ETTh1.csv")]}, only=["etth1_96"])
    results = accuracy.accuracy(options)
    found = {figure.name: figure for figure in results.figures}
    label = "etth1_96 on ETTh1.csv"
    assert found[f"{label}: mse"].target is None
    assert found[f"{label}: mse, highest less lowest seed"].value > 0
    assert found[f"{label}: mse of ridge"].value > 0
    assert found[f"{label}: mse of seasonal naive"].value > 0
    assert found[f"{label}: training"].unit == "seconds"
    assert results.seeds == [7, 8]
    [sheet] = results.sheets
    assert sheet.rows[0][0] == label
    assert len(sheet.rows[0]) == len(sheet.columns)


def test_another_number_of_test_windows_is_another_protocol(here: Path) -> None:
    with pytest.raises(InputError, match="the published protocol has 2,785"):
        accuracy.accuracy(Options(data=here, only=["etth1_96"], quick=True))


def test_quick_trains_one_seed_for_few_epochs_and_says_so(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def run_config(*given: object) -> list[Trained]:
        asked["seeds"], asked["windows"], asked["quick"] = given[3:]
        return [RUN]

    monkeypatch.setattr(accuracy, "run_config", run_config)
    monkeypatch.setattr(sets, "PACKAGE", "no_such_package")
    results = accuracy.accuracy(Options(data=here, quick=True))
    assert asked == {"seeds": [7], "windows": 2785, "quick": True}
    assert any("gunpoint was left out" in note for note in results.notes)
    assert any("2 epochs" in note for note in results.notes)


def test_one_seed_in_a_process_of_its_own_gives_plain_values(here: Path) -> None:
    found = recipe.one("etth1_96", str(here / "configs" / "etth1_96.yaml"), [str(here / "ETTh1.csv")], 7)
    assert found["seed"] == 7
    assert found["epochs"] == found["best_epoch"] == 1
    assert found["training_seconds"] > found["best_seconds"] > 0


def test_the_mean_is_held_against_the_target_and_the_spread_is_shown() -> None:
    runs = [replace(RUN, seed=seed, value=value) for seed, value in ((7, 0.345), (8, 0.35), (9, 0.352))]
    figures = accuracy.figures_of("etth1_96", SETS["etth1_96"], runs)
    assert figures[0].value == pytest.approx(0.349)
    assert figures[0].holds is True
    assert figures[1].value == pytest.approx(0.007)
    row = accuracy.row_of("etth1_96", SETS["etth1_96"], figures[0], runs)
    assert row == [
        *("etth1_96", "mse", "0.3490", "0.3450 to 0.3520", "≤ 0.351", "yes"),
        *("0.5120", "0.3700", "10.0", "168,776", "2,785"),
    ]


def test_accuracy_is_a_floor_and_has_its_own_baselines() -> None:
    run = replace(RUN, value=0.98, others={}, baselines={"majority": 0.5, "logistic_regression": 0.9})
    entry = SETS["gunpoint"]
    figure = accuracy.figures_of("gunpoint", entry, [run])[0]
    assert figure.holds is False
    row = accuracy.row_of("gunpoint", entry, figure, [run])
    assert row[4:8] == ["≥ 0.99", "NO", "0.5000", "0.9000"]


def test_sets_of_the_package_are_found_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "made_package"
    folder = package / "datasets" / "data" / "GunPoint"
    folder.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "GunPoint_TRAIN.ts").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sets, "PACKAGE", "made_package")
    with pytest.raises(InputError, match=r"GunPoint_TEST\.ts"):
        package_files(SETS["gunpoint"])
    (folder / "GunPoint_TEST.ts").write_text("")
    assert package_files(SETS["gunpoint"]) == [str(folder / f"GunPoint_{part}.ts") for part in ("TRAIN", "TEST")]
    assert "made_package" not in sys.modules
    assert package_files(SETS["etth1_96"]) is None
