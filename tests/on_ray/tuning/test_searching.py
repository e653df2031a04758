"""Searches of a small space: what trials leave, who is stopped, who is killed, and what goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray
import torch

from lstm_ray.config import with_values
from lstm_ray.data.store import load_segments
from lstm_ray.errors import InputError
from lstm_ray.model.policy import Policy
from lstm_ray.model.trial import Facts, run_trial
from lstm_ray.on_ray import cluster
from lstm_ray.on_ray.tuning import legs, population, searching
from lstm_ray.on_ray.tuning.legs import Leg
from lstm_ray.on_ray.tuning.searching import search
from lstm_ray.space import draw, trial_config
from tests.on_ray.worlds import prepared, small_config, write_waves

SEARCH = {
    "tune__trials": 3,
    "tune__max_epochs": 2,
    "tune__grace_epochs": 2,
    "tune__space": {"train.learning_rate": {"loguniform": [0.001, 0.01]}},
    "train__max_epochs": 1,
}
PBT = {
    "tune__trials": 4,
    "tune__max_epochs": 3,
    "tune__grace_epochs": 1,
    "tune__scheduler": "pbt",
    "tune__space": {
        "train.learning_rate": {"loguniform": [0.001, 0.01]},
        "train.augment.jitter": {"uniform": [0.0, 0.1]},
    },
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A config, the file of its data, and a run with a barely trained policy."""
    folder = tmp_path_factory.mktemp("trained")
    config = small_config(write_waves(folder), **SEARCH)
    return config, prepared(config, folder / "run", "train")


@pytest.fixture(scope="module")
def world(trained):
    _, run = trained
    segments, bounds = load_segments(run)
    base = Policy.load(run.local / "train/policy")
    return segments.scaled(base.scaler), bounds, base


def other(trained, **values):
    """The config with other settings of the search."""
    return with_values(trained[0], {name.replace("__", "."): value for name, value in values.items()})


def alone(config, settings, world):
    """The trial's losses, trained in this process."""
    scaled, bounds, base = world
    torch.set_num_threads(1)
    training = run_trial(trial_config(config, settings), scaled, bounds, base.network.state_dict(), scaler=base.scaler)
    return losses(training)


def losses(one):
    return [record.validation_loss for record in one.records]


@pytest.fixture(scope="module")
def searched(local_ray, trained, world, tmp_path_factory):
    """What came of the random search, undisturbed."""
    return search(trained[0], *world, tmp_path_factory.mktemp("searched"))


def test_a_trial_in_a_ray_process_equals_one_in_this_process(searched, trained, world):
    assert [one.settings for one in searched] == draw(trained[0])
    for one in searched:
        assert losses(one) == pytest.approx(alone(trained[0], one.settings, world), rel=1e-3)
        assert (one.failure, one.lineage, one.share) == ("", [], 1.0)
        assert one.seconds > 0
        assert one.start_loss > 0


def test_a_search_that_goes_on_tries_what_was_written_down_and_trains_no_whole_trial_again(
    local_ray, trained, world, tmp_path
):
    """As a killed driver leaves it: trial 1 whole, trial 2 after its first epoch, trial 3 not begun."""
    config = trained[0]
    scaled, bounds, base = world
    rates = {1: 0.0021, 2: 0.0043}
    for number, rate in rates.items():
        leg = Leg(number, {"train.learning_rate": rate})
        leg.begin(tmp_path)
        run_trial(
            trial_config(config, leg.settings),
            scaled,
            bounds,
            base.network.state_dict(),
            leg.place(tmp_path),
            scaler=base.scaler,
            until=3 - number,
        )
    legs.mark_whole(legs.place(tmp_path, 1))
    (tmp_path / searching.RAY_TUNE).mkdir()
    (tmp_path / searching.RAY_TUNE / "tuner.pkl").write_bytes(b"half a file")
    kept = [file for number in rates for file in legs.place(tmp_path, number).rglob("epoch-*/*")]
    before = {file: file.stat().st_mtime_ns for file in kept}
    assert len(kept) == 6
    found = search(config, scaled, bounds, base, tmp_path)
    assert [one.settings["train.learning_rate"] for one in found[:2]] == list(rates.values())
    assert found[2].settings == draw(config)[2]
    assert {file: file.stat().st_mtime_ns for file in kept} == before, "what was trained is not trained again"
    for one in found:
        assert losses(one) == pytest.approx(alone(config, one.settings, world), rel=1e-3)


def test_a_trial_that_failed_is_told_and_not_trained_again(local_ray, trained, world, tmp_path):
    config = other(trained, tune__space={"train.learning_rate": {"choice": [1e6]}}, tune__trials=2)
    good, bad = search(config, *world, tmp_path)
    assert good.failure == ""
    assert "diverged" in bad.failure
    facts = Facts.read(bad.folder)
    began = time.perf_counter()
    again = search(config, *world, tmp_path)
    assert [one.failure for one in again] == ["", bad.failure]
    assert Facts.read(bad.folder) == facts, f"replayed in {time.perf_counter() - began:.1f} s"


class Dying:
    """Kills the process of trial 2 after its first epoch, so many times."""

    def __init__(self, folder: Path, times: int) -> None:
        self.folder, self.times = folder, times

    def __call__(self, config, scaled, bounds, weights, folder, on_epoch, **options):
        def tell(record, start_loss):
            going = on_epoch(record, start_loss)
            marks = list(self.folder.glob("died-*"))
            if folder.name == "002" and len(marks) < self.times:
                (self.folder / f"died-{len(marks)}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return going

        return run_trial(config, scaled, bounds, weights, folder, tell, **options)


@pytest.mark.parametrize("times", [1, 2])
def test_a_trial_whose_process_is_killed_is_tried_once_more_and_others_go_on(
    local_ray, trained, world, tmp_path, monkeypatch, searched, times
):
    dying = Dying(tmp_path, times)
    whole = searching.run_leg

    def run_leg(asked, *, given, segments):
        # In the trial's process, which has modules of its own.
        from lstm_ray.on_ray.tuning import running

        running.run_trial = dying
        whole(asked, given=given, segments=segments)

    monkeypatch.setattr(searching, "run_leg", run_leg)
    found = search(trained[0], *world, tmp_path)
    assert len(list(tmp_path.glob("died-*"))) == times
    assert [one.number for one in found] == [1, 2, 3]
    for one, undisturbed in zip(found, searched, strict=True):
        if times == 2 and one.number == 2:
            assert one.failure == searching.DIED
        else:
            assert one.failure == ""
            assert losses(one) == pytest.approx(losses(undisturbed), rel=1e-3)


def test_a_trial_without_memory_is_told_and_not_tried_again(local_ray, trained, world, tmp_path, monkeypatch):
    whole = searching.run_leg

    def run_leg(asked, *, given, segments):
        from lstm_ray.on_ray.tuning import running

        def no_room(*args, **options):
            with open(tmp_path / "tries", "a") as file:
                file.write("x")
            raise MemoryError("80 GB")

        running.run_trial = no_room
        whole(asked, given=given, segments=segments)

    monkeypatch.setattr(searching, "run_leg", run_leg)
    (one,) = search(other(trained, tune__trials=1), *world, tmp_path)
    assert one.failure == "no memory was left (80 GB)"
    assert (tmp_path / "tries").read_text() == "x"


@pytest.mark.parametrize(("scheduler", "epochs"), [("asha", [4, 1, 1, 1]), ("median", [4, 4, 4, 1]), ("none", [4] * 4)])
def test_schedulers_stop_poor_trials_and_only_those(local_ray, trained, world, tmp_path, scheduler, epochs):
    # Ever worse, one after another.
    space = {"train.learning_rate": {"choice": [1e-4, 1e-5, 1e-6]}}
    config = other(
        trained,
        tune__scheduler=scheduler,
        tune__space=space,
        tune__search="grid",
        tune__trials=4,
        tune__max_epochs=4,
        tune__grace_epochs=1,
        tune__concurrency=1,
    )
    for number, rate in enumerate([0.005, 1e-4, 1e-5, 1e-6], 1):
        Leg(number, {"train.learning_rate": rate}).begin(tmp_path)
    assert [len(one.records) for one in search(config, *world, tmp_path)] == epochs


def test_optuna_proposes_what_was_not_tried_and_is_told_of_every_loss(local_ray, trained, world, tmp_path):
    config = other(trained, tune__search="optuna", tune__trials=6, tune__max_epochs=1, tune__grace_epochs=1)
    found = search(config, *world, tmp_path)
    rates = [one.settings["train.learning_rate"] for one in found]
    assert rates[0] == 0.005, "the first has the base settings"
    assert len(set(rates)) == 6
    assert all(0.001 <= rate <= 0.01 for rate in rates)
    assert all(len(one.records) == 1 for one in found)


def test_a_population_takes_over_good_trials_weights_and_all(local_ray, trained, world, tmp_path):
    config = other(trained, **PBT)
    found = search(config, *world, tmp_path)
    generations = population.read_generations(tmp_path)
    assert [len(generation) for generation in generations] == [4, 4, 4]
    assert all(len(one.records) == 3 for one in found)
    heirs = [one for one in found if one.lineage]
    assert 1 <= len(heirs) <= 2
    for one in found:
        if not one.lineage:
            assert losses(one) == pytest.approx(alone(config, one.settings, world), rel=1e-3)
    last = max(heirs, key=lambda one: int(one.lineage[-1].split("epoch ")[1].split(",")[0]))
    donor, epoch = (int(last.lineage[-1].split(word)[1].split()[0].strip(",")) for word in ("trial ", "epoch "))
    of_donor = {leg.number: leg for leg in generations[epoch]}[last.number]
    assert (of_donor.donor, of_donor.generation) == (donor, epoch)
    others = found[donor - 1]
    assert last.settings != others.settings
    if not others.lineage:
        assert losses(last)[:epoch] == losses(others)[:epoch], "its past is its donor's"
    assert losses(last)[epoch:] != losses(others)[epoch:], "its future its own"


@pytest.mark.parametrize("values", [SEARCH | {"tune__search": "optuna", "tune__trials": 5}, PBT], ids=str)
def test_a_search_whose_driver_is_killed_ends_with_every_trial_once(trained, tmp_path, values):
    config, run = trained
    file = Path(config.data.source if isinstance(config.data.source, str) else config.data.source[0])
    command = [sys.executable, str(Path(__file__).with_name("searched.py")), str(file), str(run.local), str(tmp_path)]
    command.append(json.dumps(values))
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("trials/**/whole")):
            assert process.poll() is None, "it was to be killed in mid-run"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    written = {leg: leg.read_text() for leg in tmp_path.glob("trials/**/leg.json")}
    decided = {one: one.read_text() for one in tmp_path.glob("trials/generation-*.json")}
    kept = {
        one: one.stat().st_mtime_ns
        for whole in tmp_path.glob("trials/**/whole")
        for one in whole.parent.glob("epoch-*/*")
    }
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert [one["number"] for one in found] == list(range(1, values["tune__trials"] + 1))
    assert not any(one["failure"] for one in found)
    assert len({json.dumps(one["settings"]) for one in found}) == len(found)
    assert all(len(one["records"]) == values["tune__max_epochs"] for one in found)
    for leg, text in (written | decided).items():
        assert leg.read_text() == text, "what was written down is tried as it stands"
    assert all(one.stat().st_mtime_ns == before for one, before in kept.items() if one.exists())


def test_a_search_goes_on_where_others_hold_every_cpu(local_ray, trained, world, tmp_path):
    @ray.remote(num_cpus=cluster.num_cpus())
    class Holder:
        def ready(self) -> bool:
            return True

    holder = Holder.remote()
    assert ray.get(holder.ready.remote())
    (one,) = search(other(trained, tune__trials=1), *world, tmp_path)
    assert len(one.records) == 2
    ray.kill(holder)


def test_more_workers_than_cpus_are_refused(local_ray, trained, world, tmp_path):
    words = r"resources\.tune: 999 processes with 1 CPU each were asked for, .* could hold \d+ of 999\..*tune\.workers"
    with pytest.raises(InputError, match=words):
        search(other(trained, tune__workers=999, resources__wait_seconds=0), *world, tmp_path)


def test_trials_by_groups_of_workers_learn_as_in_one_process_and_leave_no_place_behind(
    local_ray, trained, world, tmp_path
):
    """With concurrency for more groups than there are CPUs, one of which ASHA stops after its first epoch."""
    config = other(
        trained,
        tune__workers=2,
        tune__trials=2,
        tune__grace_epochs=1,
        tune__space={"train.learning_rate": {"choice": [1e-6]}},
    )
    before = {name for name, one in ray.util.placement_group_table().items() if one["state"] != "REMOVED"}
    found = search(config, *world, tmp_path)
    assert [len(one.records) for one in found] == [2, 1]
    for one in found:
        assert one.failure == ""
        assert losses(one) == pytest.approx(alone(config, one.settings, world)[: len(one.records)], rel=2e-3)
        assert list(one.folder.glob("epoch-*/training.json"))
        assert one.start_loss == pytest.approx(found[0].start_loss)
    after = {name for name, one in ray.util.placement_group_table().items() if one["state"] != "REMOVED"}
    assert after <= before
    deadline = time.monotonic() + 10
    while ray.available_resources().get("CPU", 0) < cluster.num_cpus():
        assert time.monotonic() < deadline, "a group still holds CPUs"
        time.sleep(0.1)


def test_progress_says_how_many_ended_and_failed_and_the_best_loss():
    said: list[str] = []
    shown = searching._Shown(said.append, 3, 2)
    shown.epoch(1, 1, 0.5)
    shown.epoch(2, 1, 0.25)
    shown.end(2, failed=True)
    shown.epoch(1, 2, 0.125)
    shown.end(1, failed=False)
    assert said[0] == "0 of 3 trials ended; best validation loss 0.5000, trial 1"
    assert said[-1] == "1 of 3 trials ended, 1 of them failed; best validation loss 0.1250, trial 1"
    assert len(said) == 4, "an epoch each"
