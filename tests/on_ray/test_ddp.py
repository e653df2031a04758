"""The wrapper that averages gradients over workers, around every kind of network: each weight gets its gradient.

One worker in this process is enough for most: torch refuses a weight that no gradient reaches.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lstm_ray.config import Config
from lstm_ray.data.feed import all_batches, source, steps_per_epoch, train_batches
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import Segments
from lstm_ray.model import kernels
from lstm_ray.model.closed_forms import closed_forms
from lstm_ray.model.ensemble import Ensemble
from lstm_ray.model.network import build
from lstm_ray.model.training import EpochRecord, Training, fit, start
from lstm_ray.on_ray.workers import DDP
from tests import made
from tests.model.test_training import AUTO, RESTING, SMOOTH, noisy_days, untimed

DAY_PARTS: Boundaries = {"train": (0, 24 * 16), "validation": (24 * 16, 24 * 24), "test": (24 * 24, 24 * 32)}
FORECAST: list[dict[str, Any]] = [
    {},
    {"train__accumulate": 3},
    {"train__truncate_steps": 16},
    {"train__accumulate": 2, "train__truncate_steps": 8},
    {"model__normalisation": "auto", "model__linear": "average", "model__members": 2, "train__truncate_steps": 16},
    # Members end one after another, and the wrapper is made anew for those that learn on.
    AUTO | RESTING,
    RESTING | {"model__members": 3, "train__max_epochs": 8, "train__learning_rate": 0.05},
    RESTING | SMOOTH | {"train__truncate_steps": 16, "train__accumulate": 2, "train__weight_averaging": 0.9},
    {"model__linear": "trained", "model__quantiles": [0.1, 0.5, 0.9]},
    {"model__distribution": "student_t", "train__augment": {"mixup": 0.2}},
    {"model__layers": 2, "model__residual": True, "model__attention": True, "model__layer_norm": True},
    {"model__channels": "joint", "train__weight_averaging": 0.9, "train__precision": "bfloat16"},
]
CLASSIFY: list[dict[str, Any]] = [
    {"model__members": 2, "model__bidirectional": True},
    {"model__pooling": "attention", "train__accumulate": 2},
    {"model__pooling": "max"},
    {"model__pooling": "last"},
    RESTING | {"model__linear": "average", "train__max_epochs": 7},
]
LABEL: list[dict[str, Any]] = [{}, {"model__bidirectional": True, "train__accumulate": 2}]
WORLDS = [
    *(("forecast", values) for values in FORECAST),
    *(("classify", values) for values in CLASSIFY),
    *(("label", values) for values in LABEL),
]
TWO_PROCESSES = [
    ("forecast", AUTO | RESTING | SMOOTH),
    ("forecast", RESTING | SMOOTH | {"train__truncate_steps": 16, "train__weight_averaging": 0.9}),
    ("classify", RESTING | {"model__linear": "average", "train__max_epochs": 7}),
]


@pytest.fixture(scope="module", autouse=True)
def group() -> Iterator[None]:
    """A group of this process alone."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.fixture(autouse=True)
def few_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "FEATURES", 100)


def world(task: str, values: dict[str, Any]) -> tuple[Config, Segments, Boundaries]:
    values = {"train__max_epochs": 2, "train__batch": 7} | values
    if task == "classify":
        segments = noisy_days() if "train__patience" in values else made.sequences_of([12, 9] * 16)
        return made.classify_config(**values), segments, DAY_PARTS
    if task == "label":
        return made.label_config(**values), made.labelled_of([240, 200]), made.PARTS
    if "train__patience" in values:
        return made.make_config(**values), made.segments_of([240, 200]), made.PARTS
    schema = made.schema_of(known=["price"]).model_copy(update={"categories": {"region": ["north", "south"]}})
    segments = made.segments_of([240, 200], schema=schema)
    segments.category_SK.resize((2, 1), refcheck=False)
    return made.make_config(**values), segments, made.PARTS


def in_wrapper(network: nn.Module) -> nn.Module:
    return DistributedDataParallel(network, **DDP)  # type: ignore[arg-type]


def trained(
    given: tuple[Config, Segments, Boundaries], spread: bool, rank: int = 0, num_workers: int = 1
) -> tuple[Training, list[list[int]]]:
    """One worker's training, and which members still learned at each epoch."""
    config, segments, parts = given
    scaled = segments.scaled(made.scaler_of(segments))
    items, held_out = (source(scaled, parts, part, config) for part in ("train", "validation"))
    torch.manual_seed(config.seed)
    network = build(config, segments.schema)
    solved = closed_forms(config, scaled, parts)
    training, learners = start(network, config, scaler=made.scaler_of(segments), solved=solved), []

    def add_up(sums: torch.Tensor) -> torch.Tensor:
        total = sums.clone()
        if num_workers > 1:
            torch.distributed.all_reduce(total)
        return total

    def look(record: EpochRecord) -> bool:
        learners.append(list(network.learners) if isinstance(network, Ensemble) else [0])
        return True

    fit(
        training,
        config,
        lambda epoch: train_batches(items, config, epoch, rank, num_workers),
        lambda: all_batches(held_out, config, rank, num_workers),
        steps_per_epoch(items, config),
        wrap=in_wrapper if spread else lambda network: network,
        add_up=add_up,
        on_epoch=look,
        rank=rank,
    )
    return training, learners


def assert_one_rests_before_the_other(learners: list[list[int]]) -> None:
    assert 0 < len(learners[-1]) < len(learners[0])


@pytest.mark.parametrize(("task", "values"), WORLDS, ids=str)
def test_every_network_trains_in_the_wrapper_as_without_it(task: str, values: dict[str, Any]) -> None:
    given = world(task, values)
    (spread, learners), (alone, _) = (trained(given, spread=wrapped) for wrapped in (True, False))
    if "train__patience" in values:
        assert_one_rests_before_the_other(learners)
    for ours, theirs in zip(untimed(spread.records), untimed(alone.records), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    for name, weight in alone.network.state_dict().items():
        torch.testing.assert_close(spread.network.state_dict()[name], weight, rtol=1e-4, atol=1e-5)


def work(rank: int, folder: str) -> None:
    """One of two processes: every world in turn."""
    torch.set_num_threads(1)
    kernels.FEATURES = 100
    store = torch.distributed.FileStore(str(Path(folder) / "meeting"), 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    for number, (task, values) in enumerate(TWO_PROCESSES):
        training, learners = trained(world(task, values), spread=True, rank=rank, num_workers=2)
        found = {"weights": training.network.state_dict(), "records": untimed(training.records), "learners": learners}
        torch.save(found, Path(folder) / f"{number}-{rank}")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    torch.multiprocessing.spawn(work, (str(folder),), nprocs=2)
    return folder


@pytest.mark.parametrize("number", range(len(TWO_PROCESSES)))
def test_two_processes_of_which_members_come_to_rest_take_the_steps_of_one(two_processes: Path, number: int) -> None:
    task, values = TWO_PROCESSES[number]
    alone, learners = trained(world(task, values), spread=False)
    first, second = (torch.load(two_processes / f"{number}-{rank}", weights_only=True) for rank in range(2))
    assert first["learners"] == second["learners"] == learners
    assert_one_rests_before_the_other(learners)
    assert first["records"] == second["records"]
    for ours, theirs in zip(first["records"], untimed(alone.records), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    for name, weight in alone.network.state_dict().items():
        assert torch.equal(first["weights"][name], second["weights"][name])
        torch.testing.assert_close(first["weights"][name], weight, rtol=1e-3, atol=1e-3)
