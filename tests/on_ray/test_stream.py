from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import ray
import ray.data
from ray import cloudpickle

from lstm_ray.config import Config
from lstm_ray.data import room
from lstm_ray.data.feed import all_batches, of_items, planned, train_batches
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import Batch, Segments
from lstm_ray.on_ray.stream import Stream, put
from tests import made

LENGTHS = (240, 200, 170, 240, 215)
DAYS: Boundaries = {"train": (0, 24 * 19), "validation": (24 * 19, 24 * 25), "test": (24 * 25, 24 * 30)}


def forecast_world() -> tuple[Config, Segments, Boundaries]:
    """Segments of five lengths; the last batch of 7 has one item, fewer than workers."""
    segments = made.segments_of(LENGTHS, first_step=(0, 20, 40, 0, 10))
    return made.make_config(train__batch=7), segments.scaled(made.scaler_of(segments)), made.PARTS


def classify_world() -> tuple[Config, Segments, Boundaries]:
    """Sequences of several lengths; no target, so arrays of no elements travel too."""
    segments = made.sequences_of([9 + 3 * (index % 4) for index in range(30)])
    return made.classify_config(train__batch=6), segments.scaled(made.scaler_of(segments)), DAYS


def label_world() -> tuple[Config, Segments, Boundaries]:
    """Labels of steps, with patches that reach over the beginning of a segment."""
    segments = made.labelled_of(LENGTHS, (0, 20, 40, 0, 10))
    config = made.label_config(train__batch=6, train__origins=4, window__patch=4)
    return config, segments.scaled(made.scaler_of(segments)), made.PARTS


def lagged_world() -> tuple[Config, Segments, Boundaries]:
    """Forecasts that read lags beyond the sequence, and rows that count differently."""
    _, scaled, bounds = forecast_world()
    weight_R = np.random.default_rng(1).random(len(scaled.past_RP)).astype(np.float32)
    return made.make_config(train__batch=7, window__lags=[6, 30]), replace(scaled, weight_R=weight_R), bounds


def weighted_days() -> tuple[Config, Segments, Boundaries]:
    """Sequences to classify that count differently."""
    config, scaled, bounds = classify_world()
    weight_R = np.random.default_rng(1).random(len(scaled.past_RP)).astype(np.float32)
    return config, replace(scaled, weight_R=weight_R), bounds


def assert_equal(streamed: list[Batch], plain: list[Batch]) -> None:
    assert len(streamed) == len(plain) > 0
    for ours, theirs in zip(streamed, plain, strict=True):
        for name, values in vars(theirs).items():
            np.testing.assert_array_equal(vars(ours)[name], values, err_msg=name)
            assert vars(ours)[name].dtype == values.dtype
            assert vars(ours)[name].flags.writeable, "torch warns of arrays that it may not write to"


@pytest.mark.parametrize("block_bytes", [100, 10_000_000])
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("case", [forecast_world, classify_world, label_world, lagged_world, weighted_days])
def test_streamed_batches_equal_those_cut_here(local_ray, case, world, block_bytes):
    """Also where every segment is a block of its own, so that a batch reads several."""
    config, scaled, bounds = case()
    parts = [planned(scaled, bounds, part, config) for part in ("train", "validation")]
    items, held_out = (of_items(part, scaled) for part in parts)
    if case is forecast_world:
        assert items.num_items % config.train.batch == 1, "the last batch is to have less than one item a worker"
    blocks = put(scaled, block_bytes)
    assert len(blocks.refs) == (len(scaled.series) if block_bytes == 100 else 1)
    taught = 0.0
    for rank in range(world):
        streamed = list(Stream(blocks, parts[0], config).train_batches(1, rank, world))
        assert_equal(streamed, list(train_batches(items, config, 1, rank, world)))
        taught += sum(_num_taught(batch, config) for batch in streamed)
        checked = list(Stream(blocks, parts[1], config).all_batches(rank, world))
        assert_equal(checked, list(all_batches(held_out, config, rank, world)))
    assert taught == items.num_windows


def _num_taught(batch: Batch, config: Config) -> float:
    if config.task == "label":
        return float((batch.label_BT >= 0).sum())
    return float(batch.origin_BN.sum() if config.task == "forecast" else (batch.label_B >= 0).sum())


def test_what_a_worker_plans_with_holds_no_values(local_ray):
    _, scaled, _ = lagged_world()
    index = put(scaled).index
    names = ("target_RC", "observed_RC", "past_RP", "known_RK", "weight_R")
    assert sum(getattr(index, name).nbytes for name in names) == 0
    assert list(index.bounds) == list(scaled.bounds)


def test_items_are_planned_alike_where_no_value_is_at_hand(local_ray):
    for case in (forecast_world, classify_world, label_world):
        config, scaled, bounds = case()
        ours, theirs = (planned(segments, bounds, "train", config) for segments in (put(scaled).index, scaled))
        np.testing.assert_array_equal(ours.number_MW, theirs.number_MW)
        assert ours.num_windows == theirs.num_windows > 0


def test_tasks_are_sent_rows_and_never_plan_an_epoch_again(local_ray, monkeypatch):
    """A task of a large plan would otherwise spend its time on planning: it is sent a few numbers a sequence."""
    config, scaled, bounds = forecast_world()
    sent: list[int] = []
    from_arrow = ray.data.from_arrow

    def watched(tables):
        sent.extend(table.nbytes for table in tables)
        return from_arrow(tables)

    monkeypatch.setattr("lstm_ray.on_ray.stream.ray.data.from_arrow", watched)
    items = planned(scaled, bounds, "train", config)
    streamer = Stream(put(scaled), items, config)
    monkeypatch.setattr("lstm_ray.data.feed.plan_sequences", None)
    batches = list(streamer.train_batches(0))
    assert batches
    assert sum(sent) < 64 * items.num_items + 64 * len(batches)


@pytest.mark.parametrize(
    "config", [made.make_config(), made.classify_config(), made.label_config()], ids=lambda c: c.task
)
def test_what_cuts_items_holds_no_rows_of_them(config):
    """It travels to every task."""

    def sent(length: int) -> int:
        world = {"forecast": made.segments_of, "classify": made.sequences_of, "label": made.labelled_of}[config.task]
        segments = world([12] * (length // 12) if config.task == "classify" else (length,))
        return len(cloudpickle.dumps(planned(segments, {**made.PARTS, "train": (0, length)}, "train", config).cut))

    assert abs(sent(12_000) - sent(240)) < 100


def test_segments_that_are_mapped_from_disk_are_read_from_the_object_store_without_a_copy(
    local_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAPPED_FROM_BYTES", 8)
    config, scaled, bounds = forecast_world()
    assert room.mapping(scaled.target_RC) is not None
    blocks = put(scaled, block_bytes=4_000)
    assert not ray.get(blocks.refs[0]).target_RC.flags.writeable, "a copy of its own could be written to"
    items = planned(scaled, bounds, "train", config)
    streamed = Stream(blocks, items, config).train_batches(0)
    assert_equal(list(streamed), list(train_batches(of_items(items, scaled), config, 0)))
