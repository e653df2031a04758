"""Each worker's share of an epoch: together everything, each the same number of steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ray.config import Config
from lstm_ray.data.feed import Source, all_batches, class_weights, share, source, steps_per_epoch, train_batches
from lstm_ray.data.parts import PARTS, Boundaries, Part
from lstm_ray.data.windows import IGNORED, Batch, Segments
from lstm_ray.errors import InputError
from tests import made

SEGMENTS = made.segments_of([240, 100])
DAYS = made.sequences_of([12] * 20)
STEPS = made.labelled_of([240, 100])
CONFIGS = [made.make_config(), made.classify_config(), made.label_config(train__origins=12)]
TASKS = [config.task for config in CONFIGS]
DAY_PARTS: Boundaries = {"train": (0, 240), "validation": (240, 360), "test": (360, 480)}


def items_of(config: Config) -> Source:
    if config.task == "label":
        return source(STEPS, made.PARTS, "train", config)
    if config.task == "classify":
        return source(DAYS, DAY_PARTS, "train", config)
    return source(SEGMENTS, made.PARTS, "train", config)


def taught(batch: Batch) -> list[bytes]:
    """The sequences of a batch that teach, by their content."""
    teaches = batch.origin_BN.any(1) & (batch.label_B != IGNORED)
    if batch.label_BT.shape[1]:
        teaches = ~np.isnan(batch.label_BT).all(1)
    return sorted(np.ascontiguousarray(past).tobytes() for past in batch.past_BTP[teaches])


@pytest.mark.parametrize("config", CONFIGS, ids=TASKS)
@given(chosen=st.lists(st.integers(0, 9), min_size=1, max_size=9, unique=True), world=st.integers(1, 5))
def test_shares_of_a_batch_are_the_batch(config: Config, chosen: list[int], world: int) -> None:
    items, batch = items_of(config), np.array(chosen)
    size = -(-len(batch) // world)
    shares = [share(items, batch, rank, world, size) for rank in range(world)]
    assert {len(part.label_B) for part in shares} == {size}
    assert sorted(item for part in shares for item in taught(part)) == taught(items.cut(batch))


@pytest.mark.parametrize("config", CONFIGS, ids=TASKS)
@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_worker_takes_every_step_and_all_items_come_once(config: Config, world: int) -> None:
    items = items_of(config)
    steps = steps_per_epoch(items, config)
    ranks = [list(train_batches(items, config, 2, rank, world)) for rank in range(world)]
    assert [len(batches) for batches in ranks] == [steps] * world
    seen = sorted(item for batches in ranks for batch in batches for item in taught(batch))
    assert seen == taught(items.cut(np.arange(items.num_items)))
    assert len(seen) == items.num_items


@pytest.mark.parametrize("world", [1, 2, 3])
def test_validation_reads_every_item_once_over_all_workers(world: int) -> None:
    config = made.make_config()
    items = source(SEGMENTS, made.PARTS, "validation", config)
    seen = [
        item for rank in range(world) for batch in all_batches(items, config, rank, world) for item in taught(batch)
    ]
    assert sorted(seen) == taught(items.cut(np.arange(items.num_items)))


def test_a_source_counts_windows_and_sequences() -> None:
    items = items_of(made.make_config())
    assert items.num_windows > items.num_items
    assert items.cut(np.arange(items.num_items)).origin_BN.sum() == items.num_windows
    days = items_of(made.classify_config())
    assert days.num_windows == days.num_items == 10


def imbalanced(labels: list[int], classes: tuple[str, ...] = ("calm", "storm", "flood")) -> Segments:
    """One sequence of 12 steps a day, with these labels."""
    schema = made.schema_of(target=(), past=("load",), classes=classes)
    days = made.segments_of([12] * len(labels), [24 * day for day in range(len(labels))], schema)
    return replace(days, label=np.array(labels, dtype=np.int64))


WEEK: Boundaries = {"train": (0, 24 * 6), "validation": (24 * 6, 24 * 7), "test": (24 * 7, 24 * 9)}


def test_balanced_classes_weigh_the_same_in_all_and_a_sequence_one_on_average() -> None:
    segments = imbalanced([0, 0, 0, 1, 1, 2, 0, 0, 0])
    weights = class_weights(segments, WEEK, made.classify_config(train__class_weights="balanced"))
    assert weights is not None
    assert weights.dtype == np.float32
    assert (weights * [3, 2, 1]).tolist() == pytest.approx([2, 2, 2]), "counted in the training part alone"


def test_classes_weigh_what_the_config_says() -> None:
    segments = imbalanced([0, 1, 2])
    named = class_weights(segments, WEEK, made.classify_config(train__class_weights={"storm": 4}))
    assert named is not None
    assert named.tolist() == [1, 4, 1]
    assert class_weights(segments, WEEK, made.classify_config()) is None
    assert class_weights(SEGMENTS, made.PARTS, made.make_config()) is None
    with pytest.raises(InputError, match=r"train.class_weights: 'strom' is no class of the data; did you mean 'storm'"):
        class_weights(segments, WEEK, made.classify_config(train__class_weights={"strom": 4}))


@pytest.mark.parametrize(
    ("labels", "asked", "words"),
    [
        ([0, 0, 1, 1, 0, 1, 2, 0, 0], "train", "the validation part holds 1 sequences of classes .* lacks, 'flood'"),
        ([0, 0, 1, 1, 0, 1, 0, 2, 2], "train", "the test part holds 2 sequences .* 'flood'.* give split.train more"),
        ([0, 0, 0, 0, 0, 0, 1, 0, 2], "validation", "the validation part .* lacks, 'storm'"),
        ([0, 0, 0, 0, 0, 0, 0, 1, 2], "test", "the test part .* lacks, 'storm', 'flood'"),
    ],
)
def test_a_class_that_training_never_sees_is_refused_by_name(labels: list[int], asked: Part, words: str) -> None:
    with pytest.raises(InputError, match=words):
        source(imbalanced(labels), WEEK, asked, made.classify_config())


def test_a_class_that_only_training_has_is_no_fault() -> None:
    found = [source(imbalanced([0, 1, 2, 0, 1, 2, 0, 1, 0]), WEEK, part, made.classify_config()) for part in PARTS]
    assert [one.num_items for one in found] == [6, 1, 2]


@pytest.mark.parametrize(
    ("segments", "words"),
    [
        (made.segments_of([17]), r"no window of 12 \+ 6 steps \(the longest segment has 17\)"),
        (made.segments_of([]), r"the longest segment has 0"),
    ],
)
def test_a_part_without_windows_is_refused(segments: Segments, words: str) -> None:
    with pytest.raises(InputError, match=words):
        source(segments, made.PARTS, "train", made.make_config())
