"""Training as a stage: the same curve however it is spread and read, and after whatever was lost on the way."""

from __future__ import annotations

import functools
import itertools
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboardX.proto.event_pb2 import Event

from lstm_ray.config import Config
from lstm_ray.data.windows import Batch, plan_sequences
from lstm_ray.errors import InputError
from lstm_ray.lifecycle import run_stages
from lstm_ray.model.closed_forms import closed_forms
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray import reading, resources, ridges, workers
from lstm_ray.run_dir import RunDir
from tests import made

from .worlds import label_config, prepared, small_config, write_waves

EPOCHS = 5
LAST_EPOCH_KILLED = 3


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_waves(tmp_path_factory.mktemp("waves"))


@pytest.fixture(scope="module")
def calm(local_ray, file, tmp_path_factory) -> RunDir:
    """Two workers whom nothing disturbs. There is dropout, so that a lost random state would show."""
    return prepared(shaken_config(file), tmp_path_factory.mktemp("calm"), "train")


def shaken_config(file: Path) -> Config:
    return small_config(file, train__workers=2, train__max_epochs=EPOCHS, model__dropout=0.3)


def curve(run: RunDir) -> list[tuple[float, float, float]]:
    return [(r["train_loss"], r["validation_loss"], r["gradient_norm"]) for r in records(run)]


def records(run: RunDir) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.local / "train/metrics.jsonl").read_text().splitlines()]


def closed_forms_of(run: RunDir) -> dict[str, torch.Tensor]:
    weights = Policy.load(run.local / "train/policy").network.state_dict()
    return {name: value for name, value in weights.items() if name.endswith("ridge_AH")}


def findings(run: RunDir) -> str:
    return " ".join(f["text"] for f in json.loads((run.local / "train/report.json").read_text())["findings"])


@pytest.mark.parametrize("kind", ["class", "value"])
def test_labels_of_steps_are_learned_alike_by_any_number_of_workers(local_ray, file, tmp_path, kind):
    """A batch of 4 leaves steps with fewer sequences than workers to some; batches are also streamed."""
    curves = {}
    for number, way in ((0, "memory"), (0, "stream"), (2, "memory")):
        config = label_config(file, kind, train__workers=number, train__batch=5, train__read=way)
        run = prepared(config, tmp_path / f"{number}-{way}", "train")
        curves[number, way] = curve(run)
    first = curves[0, "memory"]
    assert curves[0, "stream"] == first
    assert first[-1][1] < first[0][1], "it learns"
    for ours, theirs in zip(curves[2, "memory"], first, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_any_number_of_workers_and_way_of_reading_gives_the_same_loss_curve(local_ray, file, tmp_path):
    """Equal global batch, no dropout. A batch of 6 leaves a last step with fewer sequences than workers."""
    curves = {}
    for number in (0, 1, 2):
        for way in ("memory", "stream"):
            config = small_config(file, train__workers=number, train__batch=6, train__read=way)
            run = prepared(config, tmp_path / f"{number}-{way}", "train")
            curves[number, way] = curve(run)
            assert f"train.read: {way}" in findings(run)
    first = curves[0, "memory"]
    assert len(first) == 3
    assert curves[0, "stream"] == first
    for found in curves.values():
        for ours, theirs in zip(found, first, strict=True):
            # Sums are rounded in another order, which some processors make more of than others.
            assert ours == pytest.approx(theirs, rel=1e-3)
    assert first[-1][0] < 0.9 * first[0][0], "the loss must fall for the comparison to mean anything"
    maps = [closed_forms_of(RunDir(tmp_path / f"{number}-{way}")) for number, way in curves]
    for found in maps:
        assert found.keys() == maps[0].keys() != set()
        for name, theirs in maps[0].items():
            assert theirs.any()
            torch.testing.assert_close(found[name], theirs, rtol=0, atol=1e-4)


def test_a_training_continued_from_its_checkpoints_equals_one_that_never_stopped(file, tmp_path, monkeypatch):
    config = small_config(file, model__dropout=0.3)
    solved = []
    monkeypatch.setattr("lstm_ray.on_ray.train.closed_forms", lambda *given: solved.append(1) or closed_forms(*given))
    whole = prepared(config, tmp_path / "whole", "train")
    broken = prepared(config, tmp_path / "broken")
    train_and_lose_power(config, broken, monkeypatch)
    assert not broken.exists("train/report.json")
    (newest,) = sorted((broken.local / ".work").glob("train-*/checkpoints/epoch-00003"))
    (newest / "training.safetensors").write_bytes(b"half a file")
    run_stages(config, broken, ["train"])
    assert_same(broken, whole)
    assert len(solved) == 2, "the checkpoint holds the closed forms, which are not solved again"


def test_a_worker_killed_in_mid_epoch_is_replaced_and_training_ends_the_same(
    local_ray, file, calm, tmp_path, monkeypatch
):
    run, marker, solved = prepared(shaken_config(file), tmp_path / "run"), tmp_path / "killed", tmp_path / "solved"
    monkeypatch.setattr(workers, "_worker", functools.partial(mortal_worker, str(marker), str(solved)))
    run_stages(shaken_config(file), run, ["train"])
    assert sorted(solved.read_text()) == ["0", "1"], "who goes on from a checkpoint has its closed forms"
    assert marker.read_text() == f"epoch {LAST_EPOCH_KILLED}, 1 steps done", "the worker was to die in mid-epoch"
    assert_same(run, calm)


def mortal_worker(marker: str, solved: str, given: dict[str, Any]) -> None:
    """What a worker runs that kills itself once, after the first step of an epoch, and tells that it sums closed forms."""

    class Mortal(reading.Batches):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            whole, rank = self.train, arguments[4]
            self.train = lambda epoch: dying(whole(epoch), epoch, rank)

    def dying(batches: Iterator[Batch], epoch: int, rank: int) -> Iterator[Batch]:
        for index, batch in enumerate(batches):
            if (epoch, index, rank) == (LAST_EPOCH_KILLED, 1, 1) and not os.path.exists(marker):
                Path(marker).write_text(f"epoch {epoch}, {index} steps done")
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    def told(config: Config, segments: Any, bounds: Any, rank: int, *more: Any) -> list:
        with Path(solved).open("a") as file:
            file.write(str(rank))
        return whole_closed_forms(config, segments, bounds, rank, *more)

    whole_closed_forms = ridges.closed_forms
    ridges.closed_forms = told
    workers.Batches = Mortal  # type: ignore[misc]
    workers._worker(given)


def test_a_damaged_checkpoint_costs_one_epoch_and_no_more(local_ray, file, calm, tmp_path, monkeypatch):
    run = prepared(shaken_config(file), tmp_path)
    train_and_lose_power(shaken_config(file), run, monkeypatch)
    (folder,) = (run.local / ".work").glob("train-*/checkpoints")
    before, newest = sorted(folder.glob("epoch-*/"))
    whole = (newest / "training.safetensors").read_bytes()
    (newest / "training.safetensors").write_bytes(whole[: len(whole) // 2])
    kept = json.loads((before / "training.json").read_text())["records"]
    run_stages(shaken_config(file), run, ["train"])
    assert_same(run, calm)
    seconds = [record["seconds"] for record in records(run)]
    assert seconds[: EPOCHS - 1] == [record["seconds"] for record in kept], (
        "epochs that were whole are not trained again"
    )
    left = sorted(path.name for path in (run.local / "train/checkpoints").iterdir())
    assert left == ["epoch-00004", "epoch-00005", "workers.json"], "each attempt's checkpoints stand in one row"


def test_workers_whose_training_diverges_say_so_once(local_ray, file, tmp_path, monkeypatch):
    """What fails by the user's input is not tried again, as what fails by a lost worker is."""
    config, begun = small_config(file, train__workers=2, train__learning_rate=1e9), tmp_path / "begun"
    run = prepared(config, tmp_path / "run")
    monkeypatch.setattr(workers, "_worker", functools.partial(counting_worker, str(begun), workers._worker))
    with pytest.raises(InputError, match=r"^training diverged at epoch \d, step \d: .*learning_rate"):
        run_stages(config, run, ["train"])
    assert begun.read_text() == ".."


def counting_worker(begun: str, worker: Callable[[dict[str, Any]], None], given: dict[str, Any]) -> None:
    with Path(begun).open("a") as file:
        file.write(".")
    worker(given)


def test_workers_from_min_to_max_are_as_many_as_there_are(local_ray, file, tmp_path):
    config = small_config(file, train__workers=(1, 4), train__batch=6)
    calm = prepared(small_config(file, train__batch=6), tmp_path / "calm", "train")
    run = prepared(config, tmp_path / "elastic", "train")
    assert json.loads((run.local / "train/checkpoints/workers.json").read_text()) == [2, 2, 2]
    assert_every_window_is_read_once_an_epoch(run)
    for ours, theirs in zip(curve(run), curve(calm), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
    assert "1 to 4 Ray workers" in json.loads((run.local / "train/report.json").read_text())["summary"]


@pytest.mark.parametrize(
    ("asked", "way", "threads", "cpus", "wanted", "cpus_each"),
    [
        (1, "memory", 1, 2, 1, 1.0),
        (2, "memory", 1, 2, 2, 1.0),
        (2, "stream", 1, 2, 2, 0.5),
        (3, "memory", 1, 2, 3, 0.625),
        (2, "memory", 4, 16, 2, 4.0),
        (32, "memory", 1, 2, 32, 1 / 16),
        ((1, 2), "memory", 1, 2, (1, 2), 1.0),
        ((1, 2), "stream", 1, 2, (1, 1), 1.0),
        ((3, 4), "stream", 1, 2, (3, 3), 0.3125),
        ((2, 40), "stream", 2, 16, (2, 7), 2.0),
        ((2, 40), "memory", 2, 16, (2, 40), 2.0),
    ],
)
def test_workers_fit_on_the_cluster_and_leave_ray_data_a_cpu(monkeypatch, asked, way, threads, cpus, wanted, cpus_each):
    monkeypatch.setattr(resources, "nodes", lambda: [resources.Node("a", "127.0.0.2", {"CPU": cpus}, {})])
    scaling, task_cpus = workers.scaling(made.make_config(train__workers=asked, train__threads=threads), way)
    assert scaling.num_workers == wanted
    assert scaling.resources_per_worker == {"CPU": cpus_each}
    assert not scaling.use_gpu
    if way == "stream":
        assert scaling.max_workers * cpus_each <= cpus - 1
        assert task_cpus == 1.0, "a task of Ray Data finds a whole CPU"


def test_workers_take_gpus_where_the_cluster_has_enough(monkeypatch):
    monkeypatch.setattr(resources, "nodes", lambda: [resources.Node("a", "127.0.0.2", {"CPU": 8, "GPU": 2}, {})])
    assert [workers.scaling(made.make_config(train__workers=n), "memory")[0].use_gpu for n in (1, 2, 3)] == [
        True,
        True,
        False,
    ]


RESIZE = Path(__file__).with_name("resize.py")


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_a_node_that_joins_is_used_and_one_that_leaves_costs_no_window(file, tmp_path):
    """A cluster of its own, in a process of its own: one CPU, a second one joins in mid-training, and loses its power."""
    done = subprocess.run(
        [sys.executable, str(RESIZE), str(file), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    calm, resized = RunDir(tmp_path / "calm"), RunDir(tmp_path / "resized")
    sizes = json.loads((resized.local / "train/checkpoints/workers.json").read_text())
    assert [size for size, _ in itertools.groupby(sizes)] == [1, 2, 1]
    assert len(sizes) == len(records(resized)) == 60
    assert_every_window_is_read_once_an_epoch(resized)
    changed = sizes.index(2)
    for epoch, (ours, theirs) in enumerate(zip(curve(resized), curve(calm), strict=True)):
        # Sums are rounded in another order from the change on, and after many epochs that shows.
        assert ours[:2] == pytest.approx(theirs[:2], rel=2e-3 if epoch < changed + 3 else 0.2)
    assert "The number of workers changed 2 times: 1 from epoch 1, 2 from epoch" in findings(resized)


@pytest.mark.parametrize("way", ["memory", "stream"])
def test_a_training_plans_each_part_once(local_ray, file, tmp_path, monkeypatch, way):
    """Planning goes through every segment and phase, which takes long where there are many."""
    parts = []

    def told(segments: Any, bounds: Any, part: str, *more: Any) -> Any:
        parts.append(part)
        return plan_sequences(segments, bounds, part, *more)  # type: ignore[arg-type]

    monkeypatch.setattr("lstm_ray.data.feed.plan_sequences", told)
    prepared(small_config(file, train__max_epochs=1, train__read=way), tmp_path, "train")
    assert sorted(parts) == ["train", "validation"]


def test_metrics_and_tensorboard_tell_gradients_rate_and_speed_of_every_epoch(file, tmp_path):
    run = prepared(small_config(file), tmp_path, "train")
    lines = records(run)
    assert len(lines) == 3
    (events,) = (run.local / "train/tensorboard").glob("events*")
    drawn = {(e.step, v.tag): v.simple_value for e in _events(events) for v in e.summary.value}
    for line in lines:
        for name in ("gradient_norm", "learning_rate", "windows_per_second", "train_loss", "validation_loss"):
            assert drawn[line["epoch"], name] == pytest.approx(line[name], rel=1e-5)
            assert line[name] > 0
        members = {f"member_loss/{e}": loss for e, loss in enumerate(line.pop("member_losses"))}
        assert {name for step, name in drawn if step == line["epoch"]} == set(line) | set(members)
        for name, loss in members.items():
            assert drawn[line["epoch"], name] == pytest.approx(loss, rel=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_the_loss_curve_is_that_of_a_cpu(file, tmp_path, monkeypatch):
    on_gpu = prepared(small_config(file, train__precision="float32"), tmp_path / "gpu", "train")
    in_brief = prepared(small_config(file, train__precision="bfloat16"), tmp_path / "brief", "train")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    on_cpu = prepared(small_config(file), tmp_path / "cpu", "train")
    for run, tolerance in ((on_gpu, 1e-3), (in_brief, 0.05)):
        for ours, theirs in zip(curve(run), curve(on_cpu), strict=True):
            assert ours[:2] == pytest.approx(theirs[:2], rel=tolerance)


def train_and_lose_power(config: Config, run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train every epoch, and end before the stage is whole."""

    def dies(*arguments: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr("lstm_ray.on_ray.train.validation_metrics", dies)
        with pytest.raises(RuntimeError, match="power cut"):
            run_stages(config, run, ["train"])


def assert_every_window_is_read_once_an_epoch(run: RunDir) -> None:
    windows = json.loads((run.local / "train/report.json").read_text())["num_windows"]
    assert [round(r["windows_per_second"] * r["seconds"], 1) for r in records(run)] == [windows] * len(records(run))


def assert_same(run: RunDir, other: RunDir) -> None:
    """To the last digit."""
    assert_every_window_is_read_once_an_epoch(run)
    assert curve(run) == curve(other)
    ours, theirs = (Policy.load(one.local / "train/policy").network.state_dict() for one in (run, other))
    assert all((ours[name] == theirs[name]).all() for name in theirs)


def _events(file: Path) -> Iterator[Event]:
    """TFRecord: length, checksum, content, checksum."""
    content, at = file.read_bytes(), 0
    while at < len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        yield Event.FromString(content[at + 12 : at + 12 + length])
        at += 16 + length
