"""A training that was killed goes on as if it never was, from files that are whole."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_ray.config import Config
from lstm_ray.data.feed import class_weights, source
from lstm_ray.model import checkpoint, kernels
from lstm_ray.model.closed_forms import closed_forms
from lstm_ray.model.network import build
from lstm_ray.model.training import Training, start
from tests import made
from tests.model.test_members import begun, learning, run, world
from tests.model.test_training import AUTO

CONFIG = made.make_config(train__max_epochs=4, model__dropout=0.4, model__layers=2)
SEGMENTS = made.segments_of([240]).scaled(made.scaler_of(made.segments_of([240])))


def fresh(seed: int = CONFIG.seed, config: Config = CONFIG) -> Training:
    torch.manual_seed(seed)
    return start(build(config, SEGMENTS.schema), config)


def go_on(training: Training, folder: Path | None = None, until: int = 4, config: Config = CONFIG) -> Training:
    """Train, saving every epoch, and stop after ``until`` of them as a kill would."""
    items, held_out = (source(SEGMENTS, made.PARTS, part, config) for part in ("train", "validation"))
    checkpoint.fit_kept(training, config, items, held_out, folder, lambda record: record.epoch + 1 < until)
    return training


def records_of(training: Training) -> list[dict[str, float]]:
    clock = ("seconds", "windows_per_second")
    return [{k: v for k, v in asdict(r).items() if k not in clock} for r in training.records]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoints of a training that was killed after its third epoch."""
    folder = tmp_path_factory.mktemp("checkpoints")
    go_on(fresh(), folder, until=3)
    return folder


def test_a_resumed_training_takes_the_same_steps_to_the_bit(saved: Path) -> None:
    whole = go_on(fresh())
    resumed = fresh(seed=12345)
    assert checkpoint.load_newest(resumed, saved) == 3
    go_on(resumed)
    assert records_of(resumed) == records_of(whole)
    assert resumed.best_loss == whole.best_loss
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], weight), name


AUGMENT = {"jitter": 0.2, "scaling": 0.2, "time_warp": 0.2, "masking": 0.2, "mixup": 0.3}


@pytest.mark.parametrize(
    "values",
    [
        {"train__weight_averaging": 0.9},
        {"train__optimiser": "sgd"},
        {"train__optimiser": "adam", "train__schedule": "cosine"},
        # A patience of 4 halves the rate after every epoch that is no better.
        {"train__schedule": "plateau", "train__patience": 4, "train__min_improvement": 0.9},
        {"train__accumulate": 2, "train__truncate_steps": 16},
        {"train__augment": AUGMENT},
        {"train__precision": "bfloat16"},
        {"window__stride": 3, "model__distribution": "student_t"},
        {"model__normalisation": "auto", "model__linear": "average", "train__weight_averaging": 0.9},
    ],
    ids=str,
)
def test_every_way_of_training_resumes_to_the_bit(values: dict[str, Any], tmp_path: Path) -> None:
    config = made.make_config(train__max_epochs=4, model__dropout=0.4, **values)
    whole = go_on(fresh(config=config), config=config)
    go_on(fresh(config=config), tmp_path, until=2, config=config)
    resumed = fresh(seed=12345, config=config)
    assert checkpoint.load_newest(resumed, tmp_path) == 2
    go_on(resumed, config=config)
    assert records_of(resumed) == records_of(whole)
    assert len(whole.records) == 4
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], weight), name
    if whole.average is not None and resumed.average is not None:
        assert resumed.average.steps == whole.average.steps
        assert all(torch.equal(resumed.average.state()[name], mean) for name, mean in whole.average.state().items())


@pytest.mark.parametrize(
    ("task", "values"),
    [
        ("forecast", {"train__learning_rate": 0.03, "train__truncate_steps": 16, "model__dropout": 0.2}),
        ("forecast", AUTO | {"train__weight_averaging": 0.9}),
        ("forecast", {"train__optimiser": "sgd", "train__learning_rate": 0.1, "seed": 9}),
        ("classify", {"model__linear": "average", "train__weight_averaging": 0.8}),
    ],
    ids=str,
)
def test_a_training_resumes_to_the_bit_before_and_after_a_member_has_come_to_rest(
    task: str, values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "FEATURES", 100)
    given = config, segments, parts = world(task, values)
    torch.manual_seed(1)
    whole = run(begun(*given), given)
    epochs = len(whole.records)
    rests = {int(np.argmin(whole.member_losses(e))) + 2 for e in learning(whole.network)}
    assert min(rests) < epochs, "one of them rests before the end"
    for until in range(1, epochs):
        folder = tmp_path / str(until)
        items, held_out = (source(segments, parts, part, config) for part in ("train", "validation"))
        torch.manual_seed(1)
        checkpoint.fit_kept(begun(*given), config, items, held_out, folder, lambda r, until=until: r.epoch + 1 < until)
        torch.manual_seed(99)
        # Neither what the seed draws nor what is solved is needed again.
        network = build(config.model_copy(update={"seed": 1234}), segments.schema)
        resumed = start(network, config, class_weight_K=class_weights(segments, parts, config))
        assert checkpoint.load_newest(resumed, folder) == until
        run(resumed, given)
        assert records_of(resumed) == records_of(whole), until
        for name, weight in whole.network.state_dict().items():
            assert torch.equal(resumed.network.state_dict()[name], weight), (until, name)
        assert resumed.best_loss == whole.best_loss


def test_a_checkpoint_holds_the_best_weights_beside_the_newest(tmp_path: Path) -> None:
    training, loaded = fresh(), fresh(seed=1)
    training.best_weights = {name: value + 1 for name, value in training.best_weights.items()}
    checkpoint.save(training, tmp_path)
    assert checkpoint.load(loaded, tmp_path)
    assert loaded.records == []
    for name, value in training.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value)
        assert torch.equal(loaded.best_weights[name], value + 1)


def test_a_checkpoint_carries_ridges_and_what_validation_chose(tmp_path: Path) -> None:
    values = {"model__normalisation": "auto", "model__linear": "average", "train__weight_averaging": 0.9}
    config = made.make_config(train__max_epochs=4, **values)
    found = closed_forms(config, SEGMENTS, made.PARTS)
    # A ridge that is far off is of no use: validation leaves it out.
    found[0]["highway.ridge_AH"][0] += 5.0

    def begun() -> Training:
        torch.manual_seed(config.seed)
        return start(build(config, SEGMENTS.schema), config, solved=found)

    whole, killed = go_on(begun(), config=config), begun()
    go_on(killed, tmp_path, until=2, config=config)
    resumed = fresh(seed=12345, config=config)
    assert checkpoint.load_newest(resumed, tmp_path) == 2
    for name, weight in killed.best_weights.items():
        assert torch.equal(resumed.best_weights[name], weight), name
    equal, best = torch.full((2,), 0.5), resumed.best_weights
    assert resumed.network.state_dict()["members.0.highway.ridge_AH"].any()
    assert float(best["members.0.highway.share"]) == 0.0 or not torch.equal(best["weight_E"], equal)
    go_on(resumed, config=config)
    assert records_of(resumed) == records_of(whole)
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], weight), name


def test_a_checkpoint_is_two_files_and_the_newest_two_are_kept(saved: Path) -> None:
    assert [folder.name for folder in sorted(saved.iterdir())] == ["epoch-00002", "epoch-00003"]
    for folder in saved.iterdir():
        assert {file.name for file in folder.iterdir()} == {"training.safetensors", "training.json"}
        assert json.loads((folder / "training.json").read_text())["records"][0]["epoch"] == 0
        # A safetensors file opens with the length of its JSON header, a pickle or a zip with other bytes.
        content = (folder / "training.safetensors").read_bytes()
        assert content[8:9] == b"{"
        assert isinstance(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]), dict)


def copy_of(saved: Path, folder: Path) -> Path:
    for file in saved.rglob("training.*"):
        target = folder / file.relative_to(saved)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    return folder


@pytest.mark.parametrize("file", ["training.safetensors", "training.json"])
@pytest.mark.parametrize("damage", ["cut", "gone", "empty", "another", "zeros"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    saved: Path, tmp_path: Path, file: str, damage: str
) -> None:
    newest = copy_of(saved, tmp_path) / "epoch-00003" / file
    content = newest.read_bytes()
    other = (tmp_path / "epoch-00002" / file).read_bytes()
    newest.write_bytes(
        {"cut": content[:-7], "gone": b"", "empty": b"", "another": other, "zeros": bytes(len(content))}[damage]
    )
    if damage == "gone":
        newest.unlink()
    training = fresh()
    assert checkpoint.load_newest(training, tmp_path) == 2
    assert records_of(training) == records_of(go_on(fresh(), until=2))


@settings(max_examples=40)
@given(st.sampled_from(["training.safetensors", "training.json"]), st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_a_flipped_bit_is_never_trusted(
    saved: Path, tmp_path_factory: pytest.TempPathFactory, file: str, where: float, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    target = copy_of(saved / "epoch-00003", folder) / file
    content = bytearray(target.read_bytes())
    content[int(where * len(content))] ^= 1 << bit
    target.write_bytes(content)
    training = fresh()
    before = {name: value.clone() for name, value in training.network.state_dict().items()}
    if checkpoint.load(training, folder):
        # White space alone may differ.
        assert json.loads(content) == json.loads((saved / "epoch-00003" / file).read_bytes())
    else:
        assert all(torch.equal(value, before[name]) for name, value in training.network.state_dict().items())
        assert training.records == []


def test_without_a_whole_checkpoint_training_starts_anew(tmp_path: Path) -> None:
    assert checkpoint.load_newest(fresh(), tmp_path) == 0
    (tmp_path / "epoch-00001").mkdir()
    assert checkpoint.load_newest(fresh(), tmp_path) == 0


def test_what_a_kill_left_half_written_is_cleared(saved: Path, tmp_path: Path) -> None:
    copy_of(saved, tmp_path)
    (tmp_path / ".epoch-00004-abcdef").mkdir()
    training = fresh()
    checkpoint.load_newest(training, tmp_path)
    checkpoint.save_next(training, tmp_path)
    assert {folder.name for folder in tmp_path.iterdir()} == {"epoch-00002", "epoch-00003"}
