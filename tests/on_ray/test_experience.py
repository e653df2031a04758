"""Synthetic experience on actors: both arms take the same steps, a killed driver goes on, the verdict is what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import ray

from lstm_ray.config import with_values
from lstm_ray.data.store import load_segments
from lstm_ray.evaluate.choosing.validation import validation_metrics
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray import experience as module
from lstm_ray.on_ray.experience import TABLE, WEIGHT, experience, imagined, retrain
from lstm_ray.on_ray.pool import actor_pool
from lstm_ray.on_ray.rollouts import world_of
from lstm_ray.plan.experience.making import real_of, variants_of
from lstm_ray.plan.experience.verdict import Verdict
from lstm_ray.plan.futures.residuals import errors_of

from .worlds import prepared, small_config, write_waves

EVERY = ["rollouts", "jitter", "time_warp", "mixup", "recombine"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    config = small_config(
        write_waves(folder),
        plan__synthetic={"kinds": EVERY, "epochs": 1, "seeds": 2},
        model__members=2,
        train__patience=1,
    )
    return config, prepared(config, folder / "run", "train")


@pytest.fixture(scope="module")
def here(trained):
    config, run = trained
    segments, bounds = load_segments(run)
    base = Policy.load(run.local / "train/policy")
    return base, world_of(base, segments, bounds, config), bounds


def made_of(here):
    base, world, bounds = here
    real = real_of(world.segments, world.segments.scaled(base.scaler), base.scaler, bounds, world.config)
    return variants_of(real, "recombine", 20)


def test_an_actor_retrains_as_this_process_does_and_both_arms_share_all_but_their_sequences(local_ray, trained, here):
    base, world, bounds = here
    _, run = trained
    made = ray.put(made_of(here))
    tasks = [(bounds, 7, None, True), (bounds, 7, made, True), (bounds, 8, None, True)]
    alone = [retrain(base, world, *task) for task in tasks]
    with actor_pool(run.local / "train/policy", world, 1) as pool:
        answers = dict(pool.each(retrain, tasks))
    for number, one in enumerate(alone):
        for name, value in one.items():
            if name != "metrics":
                np.testing.assert_allclose(answers[number][name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    control, mixed, other = alone
    np.testing.assert_array_equal(control["step"], mixed["step"])
    for one in (mixed, other):
        assert any((control[name] != one[name]).any() for name in control if name.startswith(WEIGHT))
    weighed = (control["error"] * control["count"]).sum() / control["count"].sum()
    assert weighed == pytest.approx(control["metrics"]["mae"], rel=1e-5)


def test_retraining_takes_its_plan_from_the_run_and_all_its_steps(here, local_ray, monkeypatch):
    base, world, bounds = here
    seen = []
    fit = module.fit

    def watched(training, config, batches, held_out, steps):
        fit(training, config, batches, held_out, steps)
        seen.append((config.train.max_epochs, len(training.records), config.train.learning_rate, steps))

    monkeypatch.setattr(module, "fit", watched)
    longer = with_values(world.config, {"plan.synthetic": {"epochs": 3}})
    for made in (None, ray.put(made_of(here))):
        retrain(base, world_of(base, world.segments, bounds, longer), bounds, 7, made, False)
    # The policy's own patience is 1 and its plan has one epoch.
    assert seen[0] == seen[1]
    assert seen[0][:2] == (3, 3)
    assert seen[0][2] == pytest.approx(0.3 * base.config.train.learning_rate)


def test_what_validation_holds_changes_no_imagined_future(here, local_ray):
    base, world, bounds = here
    later = world.segments.steps(np.arange(len(world.segments.target_RC))) >= bounds["train"][1]
    changed = vars(world.segments) | {
        "target_RC": np.where(later[:, None], np.float32(900), world.segments.target_RC),
        "past_RP": np.where(later[:, None], np.float32(900), world.segments.past_RP),
    }
    other = type(world.segments)(**changed)
    origins = world.segments.bounds[:1] + np.array([100, 200, 330])
    futures = []
    for segments in (world.segments, other):
        residuals = ray.put(errors_of(base, segments, bounds, part="train"))
        futures.append(imagined(base, world_of(base, segments, bounds, world.config), origins, residuals)["future"])
    np.testing.assert_array_equal(*futures)


def test_a_killed_driver_goes_on_after_what_is_done(local_ray, trained, here, tmp_path, monkeypatch):
    base, world, bounds = here
    config, run = trained
    with actor_pool(run.local / "train/policy", world, 2) as pool:
        whole = experience(pool, base, world, bounds, config, _made(tmp_path / "whole"))
        broken = _made(tmp_path / "broken")
        written = module.pieces._written
        count = []

        def dies(*given):
            found = written(*given)
            count.append(1)
            if len(count) == 3:
                raise KeyboardInterrupt
            return found

        monkeypatch.setattr(module.pieces, "_written", dies)
        with pytest.raises(KeyboardInterrupt):
            experience(pool, base, world, bounds, config, broken)
        again = experience(pool, base, world, bounds, config, broken)
    assert again.verdict == whole.verdict
    # One task of rollouts and four retrainings, each done once.
    assert len(count) == len(list((tmp_path / "whole/pieces").glob("*.npz")))
    assert (broken / TABLE).read_bytes() == (tmp_path / "whole" / TABLE).read_bytes()


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def test_the_stage_labels_every_sequence_and_keeps_the_policy_only_where_it_proved_itself(
    local_ray, trained, here, tmp_path, monkeypatch
):
    base, world, bounds = here
    config, run = trained
    with actor_pool(run.local / "train/policy", world, 2) as pool:
        found = experience(pool, base, world, bounds, config, tmp_path)
        dropped = bool(found.verdict.against)
        monkeypatch.setattr(Verdict, "against", property(lambda self: []))
        kept = experience(pool, base, world, bounds, config, tmp_path)
    table = pl.read_parquet(tmp_path / TABLE)
    assert table["kind"].unique().sort().to_list() == sorted(EVERY)
    assert table["step"].max() < bounds["train"][1]
    assert found.verdict.num_synthetic == {k: table.filter(kind=k)["sequence"].n_unique() for k in EVERY}
    assert dropped == (found.policy is None)
    assert not dropped or found.validation == base.facts["validation"]
    assert kept.policy is not None
    assert kept.validation == pytest.approx(validation_metrics(kept.policy, world.segments, bounds))
    assert kept.validation["mae"] == kept.verdict.mixeds[0]
    assert [t["title"] for t in found.tables] == ["Fidelity of synthetic sequences", "Before and after"]
    json.dumps([f.model_dump() for f in found.figures] + found.tables, allow_nan=False)
