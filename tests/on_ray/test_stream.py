from __future__ import annotations

import numpy as np
import pytest
import ray
import ray.data

from lstm_ray.config import Config
from lstm_ray.data.feed import all_batches, source, train_batches
from lstm_ray.data.split import Boundaries
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


def assert_equal(streamed: list[Batch], plain: list[Batch]) -> None:
    assert len(streamed) == len(plain) > 0
    for ours, theirs in zip(streamed, plain, strict=True):
        for name, values in vars(theirs).items():
            np.testing.assert_array_equal(vars(ours)[name], values, err_msg=name)
            assert vars(ours)[name].dtype == values.dtype
            assert vars(ours)[name].flags.writeable, "torch warns of arrays that it may not write to"


@pytest.mark.parametrize("block_bytes", [100, 10_000_000])
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("case", [forecast_world, classify_world])
def test_streamed_batches_equal_those_cut_here(local_ray, case, world, block_bytes):
    """Also where every segment is a block of its own, so that a batch reads several."""
    config, scaled, bounds = case()
    items, held_out = (source(scaled, bounds, part, config) for part in ("train", "validation"))
    if case is forecast_world:
        assert items.num_items % config.train.batch == 1, "the last batch is to have less than one item a worker"
    blocks = put(scaled, block_bytes)
    assert len(blocks.refs) == (len(scaled.series) if block_bytes == 100 else 1)
    taught = 0.0
    for rank in range(world):
        streamed = list(Stream(blocks, bounds, "train", config).train_batches(1, rank, world))
        assert_equal(streamed, list(train_batches(items, config, 1, rank, world)))
        taught += sum(_num_taught(batch, config) for batch in streamed)
        checked = list(Stream(blocks, bounds, "validation", config).all_batches(rank, world))
        assert_equal(checked, list(all_batches(held_out, config, rank, world)))
    assert taught == items.num_windows


def _num_taught(batch: Batch, config: Config) -> float:
    return float(batch.origin_BN.sum() if config.task == "forecast" else (batch.label_B >= 0).sum())


def test_what_a_worker_plans_with_holds_no_values(local_ray):
    _, scaled, _ = forecast_world()
    index = put(scaled).index
    assert sum(getattr(index, name).nbytes for name in ("target_RC", "observed_RC", "past_RP", "known_RK")) == 0
    assert list(index.bounds) == list(scaled.bounds)


def test_tasks_are_sent_rows_and_never_plan_an_epoch_again(local_ray, monkeypatch):
    """A task of a large plan would otherwise spend its time on planning: it is sent a few numbers a sequence."""
    config, scaled, bounds = forecast_world()
    sent: list[int] = []
    from_arrow = ray.data.from_arrow

    def watched(tables):
        sent.extend(table.nbytes for table in tables)
        return from_arrow(tables)

    monkeypatch.setattr("lstm_ray.on_ray.stream.ray.data.from_arrow", watched)
    streamer = Stream(put(scaled), bounds, "train", config)
    monkeypatch.setattr("lstm_ray.on_ray.stream.plan_sequences", None)
    batches = list(streamer.train_batches(0))
    assert batches
    items = source(scaled, bounds, "train", config).num_items
    assert sum(sent) < 64 * items + 64 * len(batches)
