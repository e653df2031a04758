"""A recipe over folds and seeds: no fold knows what comes after it, actors find what one process finds, kills cost little."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lstm_ray.config import parse, with_values
from lstm_ray.data.store import load_scaler, load_segments, read_segments
from lstm_ray.errors import InputError
from lstm_ray.evaluate.backtest.folds import folds_of as bounds_of
from lstm_ray.evaluate.backtest.telling import TOPIC
from lstm_ray.lifecycle import run_stages
from lstm_ray.on_ray import backtest as module
from lstm_ray.on_ray import pieces
from lstm_ray.on_ray.backtest import Fold, as_known, folds_of, recipe_of
from lstm_ray.on_ray.evaluate import require_possible_backtest
from lstm_ray.run_dir import RunDir

from .test_evaluate import FEW, alike
from .worlds import label_config, prepared, small_config, write_waves

TWO = {"evaluate.backtest": {"folds": 2, "seeds": 2}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    config = with_values(small_config(write_waves(folder), train__max_epochs=2), FEW)
    return config, prepared(config, folder / "run", "train")


def copy_of(run: RunDir, folder: Path) -> RunDir:
    shutil.copytree(run.local, folder)
    return RunDir(folder)


def evaluated(config, run, folder):
    """What the stage leaves of the backtest in a copy of the run, and its whole report."""
    copied = copy_of(run, folder)
    run_stages(config, copied, ["evaluate"])
    return copied.read_json("evaluate/metrics.json")["backtest"], copied.report("evaluate"), copied


@pytest.fixture(scope="module")
def alone(trained, tmp_path_factory):
    config, run = trained
    return evaluated(with_values(config, TWO), run, tmp_path_factory.mktemp("alone") / "run")


def test_each_stretch_and_seed_has_a_policy_of_its_own_beside_baselines(alone):
    found, report, left = alone
    rows = found["policies"]
    assert [(row["stretch"], row["seed"]) for row in rows] == [(1, 7), (1, 8), (2, 7), (2, 8)]
    assert len({row["score"] for row in rows}) == 4
    parts = left.read_json("split/boundaries.json")["parts"]
    length = parts["test"][1] - parts["test"][0]
    assert [row["training_steps"] for row in rows] == [parts["train"][1] - moved for moved in (length, length, 0, 0)]
    final = left.read_json("evaluate/metrics.json")
    # The last stretch is the test part, and its baselines those of the stage.
    assert found["metrics"][-1]["baselines"]["ridge"]["mae"] == pytest.approx(final["baselines"]["ridge"]["mae"])
    # A seed trains by the same recipe what it trained before, so the last stretch's first policy is the chosen one's twin.
    assert rows[2]["score"] == pytest.approx(final["metrics"]["mae"], rel=1e-5)
    assert final["metrics"] == report.metrics
    texts = [one.text for one in report.findings if one.topic == TOPIC]
    assert "Over 2 stretches of" in texts[0]
    assert any(table["topic"] == TOPIC for table in report.tables)
    assert [one.id for one in left.figures("evaluate") if one.topic == TOPIC] == ["backtest"]
    assert not (left.local / "evaluate" / pieces.FOLDER).exists()


def test_actors_find_what_one_process_finds(local_ray, trained, alone, tmp_path):
    config, run = trained
    found, _, _ = evaluated(with_values(config, TWO | {"evaluate.workers": 2}), run, tmp_path / "run")
    alike(found, alone[0], rel=1e-12)


def test_a_killed_driver_goes_on_after_the_trainings_that_are_done(trained, alone, tmp_path, monkeypatch):
    config, run = trained
    copied, written, trained_again = copy_of(run, tmp_path / "run"), pieces._written, []

    def dies(folder, key, piece):
        if len(trained_again) == 2:
            raise KeyboardInterrupt
        trained_again.append(key)
        return written(folder, key, piece)

    monkeypatch.setattr(pieces, "_written", dies)
    with pytest.raises(KeyboardInterrupt):
        run_stages(with_values(config, TWO), copied, ["evaluate"])
    assert not copied.exists("evaluate/metrics.json")
    monkeypatch.setattr(pieces, "_written", lambda *given: (trained_again.append(given[1]), written(*given))[1])
    run_stages(with_values(config, TWO), copied, ["evaluate"])
    assert len(trained_again) == 6, "four policies and two sets of baselines, each once"
    assert copied.read_json("evaluate/metrics.json")["backtest"] == alone[0]


def test_without_refit_the_oldest_policy_answers_every_stretch(trained, alone, tmp_path, monkeypatch):
    config, run = trained
    times, train_here = [], module.train_here
    monkeypatch.setattr(module, "train_here", lambda *given, **named: (times.append(1), train_here(*given, **named))[1])
    once = with_values(config, {"evaluate.backtest": {"folds": 2, "seeds": 1, "refit": False}})
    found, _, _ = evaluated(once, run, tmp_path / "run")
    assert len(times) == 1
    assert len({row["training_steps"] for row in found["policies"]}) == 1
    # The oldest stretch is the same question as with refit; the newest is not.
    both = {row["stretch"]: row["score"] for row in alone[0]["policies"] if row["seed"] == 7}
    assert found["policies"][0]["score"] == pytest.approx(both[1], rel=1e-6)
    assert found["policies"][1]["score"] != pytest.approx(both[2], rel=1e-6)


def test_the_newest_fold_has_the_runs_own_scaler_and_no_fold_knows_what_follows_its_training_part(trained, tmp_path):
    config, run = trained
    segments, parts = load_segments(run, filled=False)
    bounds = bounds_of(parts, 3)
    folds = folds_of(config, run, segments.schema, bounds)
    assert folds[-1].scaler == load_scaler(run)
    assert folds[0].scaler != folds[-1].scaler
    changed = copy_of(run, tmp_path / "changed")
    frame = read_segments(changed)
    later = pl.col("step") >= bounds[0]["train"][1]
    (file,) = (changed.local / "preprocess/segments").iterdir()
    frame.with_columns(
        pl.when(later).then(9_000.0).otherwise(pl.col(name)).alias(name) for name in ("load", "wind")
    ).write_parquet(file)
    again = folds_of(config, changed, segments.schema, bounds)
    assert again[0].scaler == folds[0].scaler
    assert again[-1].scaler != folds[-1].scaler


def test_a_training_of_an_old_fold_is_the_same_whatever_follows_it(trained):
    """The canary: what lies after a fold's validation may change at will."""
    config, run = trained
    segments, parts = load_segments(run, filled=False)
    (fold,) = folds_of(config, run, segments.schema, bounds_of(parts, 2)[:1])
    later = segments.steps(np.arange(len(segments.target_RC))) >= fold.bounds["validation"][1]
    spoilt = replace(
        segments,
        target_RC=np.where(later[:, None], np.float32(900), segments.target_RC),
        past_RP=np.where(later[:, None], np.float32(900), segments.past_RP),
    )
    earlier = {**fold.bounds, "test": fold.bounds["validation"]}
    found = [module.answered(None, module.Given(config, one), fold, 7, [earlier]) for one in (segments, spoilt)]
    assert found[0] == found[1]


def test_a_fold_reads_what_is_missing_and_categories_as_its_own_training_part_knows_them(trained):
    config, run = trained
    segments, parts = load_segments(run, filled=False)
    schema = segments.schema.model_copy(update={"categories": {"kind": ["cold", "mild", "warm"]}})
    codes = np.arange(len(segments.series), dtype=np.int64)[:, None] % 4
    holes = segments.past_RP.copy()
    holes[:5] = np.nan
    broken = replace(segments, schema=schema, category_SK=codes, past_RP=holes)
    (plain,) = folds_of(config, run, segments.schema, bounds_of(parts, 2)[:1])
    own = schema.model_copy(update={"categories": {"kind": ["mild", "warm"]}})
    seen = as_known(broken, Fold(0, plain.bounds, own, plain.scaler))
    # 0 was unseen and stays so; cold was never met by this fold.
    assert seen.category_SK[:, 0].tolist() == [[0, 0, 1, 2][code] for code in codes[:, 0]]
    np.testing.assert_allclose(seen.past_RP[:5, 0], plain.scaler.past.mean[0], rtol=1e-6)
    np.testing.assert_array_equal(seen.past_RP[5:], segments.past_RP[5:])
    assert seen.target_RC is segments.target_RC, "what misses nothing is shared"


def test_too_many_folds_are_refused_before_training(tmp_path):
    config = with_values(small_config(write_waves(tmp_path)), {"evaluate.backtest": {"folds": 40}})
    run = RunDir(tmp_path / "run")
    for stage in ("evaluate", "deploy"):
        with pytest.raises(
            InputError, match=r"evaluate\.backtest\.folds is 40, but the data hold \d+: .* set it to \d+"
        ):
            run_stages(config, run, [stage])
        assert not run.exists("train/report.json")
    require_possible_backtest(with_values(config, {"evaluate.backtest": None}), run)


def test_a_tuned_recipe_keeps_its_settings_and_has_the_runs_budget(trained):
    config, _ = trained
    config = with_values(config, {"tune.space": {"model.hidden": {"choice": [8, 16]}}})
    own = with_values(config, {"model.hidden": 16, "train.max_epochs": 99, "train.patience": 99, "train.workers": 2})
    recipe = recipe_of(config, own, "tune")
    assert (recipe.model.hidden, recipe.train.workers) == (16, 0)
    assert (recipe.train.max_epochs, recipe.train.patience) == (config.train.max_epochs, config.train.patience)
    searched = with_values(config, {"tune.space": {"train.max_epochs": {"choice": [2, 3]}}})
    assert recipe_of(searched, own, "tune").train.max_epochs == 99
    assert recipe_of(config, own, "train").train.max_epochs == 99


@pytest.mark.parametrize("kind", ["class", "value"])
def test_labels_have_a_backtest_too(tmp_path, kind):
    values = FEW | {"evaluate.backtest": {"folds": 2}, "train.max_epochs": 1}
    config = with_values(label_config(write_waves(tmp_path, steps=300), kind), values)
    found, report, _ = evaluated(config, prepared(config, tmp_path / "run", "train"), tmp_path / "copy")
    assert found["metric"] == ("macro_f1" if kind == "class" else "mae")
    assert [row["stretch"] for row in found["policies"]] == [1, 2]
    assert all(row["num_windows"] > 0 and np.isfinite(row["score"]) for row in found["policies"])
    assert any("with one seed each" in finding.text for finding in report.findings)


def test_sequences_to_classify_have_a_backtest_by_when_they_begin(tmp_path):
    random = np.random.default_rng(1)
    lines = ["name,time,load,kind"]
    for number in range(60):
        for step in range(12):
            stamp = np.datetime64("2024-01-01T00") + np.timedelta64(12 * number + step, "h")
            load = (step if number % 2 else -step) + random.normal()
            lines.append(f"s{number:02d},{stamp}:00:00,{load:.3f},{'up' if number % 2 else 'down'}")
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    tree = small_config(tmp_path / "unused.csv").model_dump()
    tree |= {"name": "kinds", "task": "classify"}
    data = {"source": str(tmp_path / "rows.csv"), "target": [], "past": ["load"], "label": "kind"}
    tree["data"] |= data
    tree["model"] |= {"quantiles": []}
    tree["plan"]["synthetic"] = None
    config = with_values(parse(tree), FEW | {"evaluate.backtest": {"folds": 3}, "train.max_epochs": 1})
    found, _, _ = evaluated(config, prepared(config, tmp_path / "run", "train"), tmp_path / "copy")
    assert found["metric"] == "macro_f1"
    assert [row["num_windows"] for row in found["policies"]] == [9, 9, 9]
