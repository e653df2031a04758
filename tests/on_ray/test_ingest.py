from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import ray

from lstm_ray.data.feed import source, train_batches
from lstm_ray.data.store import load_scaler, load_segments
from lstm_ray.on_ray.ingest import stream_batches

from .worlds import prepared, small_config, write_waves


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_waves(tmp_path_factory.mktemp("waves"))


def test_segments_written_by_ray_data_equal_those_of_this_process(local_ray, file, tmp_path):
    here = prepared(small_config(file), tmp_path / "here", "preprocess")
    there = prepared(small_config(file, preprocess__engine="ray"), tmp_path / "there", "preprocess")
    order = ["series", "segment", "step"]
    frames = [pl.read_parquet(run.local / "preprocess/segments/*.parquet").sort(order) for run in (here, there)]
    assert frames[0].equals(frames[1])
    assert frames[0].select("series", "segment").n_unique() == 4, "the gap of ten hours cuts series b in two"
    assert here.read_json("preprocess/scaler.json") == there.read_json("preprocess/scaler.json")
    assert here.read_json("preprocess/schema.json") == there.read_json("preprocess/schema.json")


@pytest.mark.parametrize("world", [1, 2])
def test_streamed_batches_hold_each_window_once_and_equal_a_plain_loop(local_ray, file, tmp_path, world):
    config = small_config(file, train__batch=6)
    run = prepared(config, tmp_path)
    segments, bounds = load_segments(run)
    scaled = segments.scaled(load_scaler(run))
    items = source(scaled, bounds, "train", config)
    assert items.num_items % config.train.batch == 1, "the last batch is to have less than one item for each worker"
    shared = ray.put(scaled)
    taught = 0.0
    for rank in range(world):
        streamed = list(stream_batches(shared, bounds, config, 0, rank, world))
        plain = list(train_batches(items, config, 0, rank, world))
        assert len(streamed) == len(plain) == -(-items.num_items // config.train.batch)
        for ours, theirs in zip(streamed, plain, strict=True):
            count = len(theirs.label_B)
            for name, values in vars(theirs).items():
                np.testing.assert_array_equal(vars(ours)[name][:count], values, err_msg=name)
            assert not ours.origin_BN[count:].any(), "padding must teach nothing"
            taught += float(ours.origin_BN.sum())
    assert taught == items.num_windows
