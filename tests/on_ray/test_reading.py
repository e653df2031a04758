from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from lstm_ray.data.feed import source, train_batches
from lstm_ray.data.windows import Batch
from lstm_ray.errors import InputError
from lstm_ray.on_ray import reading, resources
from lstm_ray.on_ray.reading import ahead, choose, num_bytes, on_device, pinned
from lstm_ray.on_ray.resources import Node
from tests import made

SEGMENTS = made.segments_of((240, 200))


def batches(number: int) -> Iterator[Batch]:
    config = made.make_config()
    items = source(SEGMENTS, made.PARTS, "train", config)
    for epoch in range(number):
        yield from train_batches(items, config, epoch)


@pytest.mark.parametrize(
    ("workers", "read", "free", "way", "severity"),
    [
        (0, "auto", 10.0, "memory", "info"),
        (0, "auto", 1.5, "memory", "warning"),
        (0, "stream", 10.0, "stream", "advice"),
        (2, "auto", 10.0, "memory", "info"),
        (2, "auto", 1.5, "stream", "info"),
        (2, "memory", 1.5, "memory", "warning"),
        (2, "stream", 10.0, "stream", "advice"),
        ((1, 2), "auto", 2.0, "memory", "info"),
    ],
)
def test_the_way_of_reading_follows_size_and_free_memory_and_says_so(monkeypatch, workers, read, free, way, severity):
    """``free`` is in sizes of the segments; half of it may be taken."""
    size = num_bytes(SEGMENTS)
    monkeypatch.setattr(reading, "free_bytes" if not workers else "_smallest_node_bytes", lambda: int(free * size))
    monkeypatch.setattr(resources, "nodes", lambda: [Node("n", "10.0.0.1", {"CPU": 4.0}, {})])
    found = choose(made.make_config(train__workers=workers, train__read=read), SEGMENTS)
    assert found.way == way
    assert found.finding.severity == severity
    text = found.finding.text
    assert f"train.read: {read}" in text
    assert f"{1 / free:.2%}" in text
    assert f"{size / 1000:.4g} kB" in text
    assert "50%" in text


def test_a_cluster_of_a_head_without_cpus_is_waited_for_before_anything_is_counted(monkeypatch):
    """As after `ray up`, before the first worker has come."""
    monkeypatch.setattr(resources, "nodes", lambda: [Node("n", "10.0.0.1", {"CPU": 0.0}, {})])
    config = made.make_config(train__workers=2, resources__wait_seconds=0)
    with pytest.raises(InputError, match=r"could hold 0 of 2.*10\.0\.0\.1 0 CPUs"):
        choose(config, SEGMENTS)


def test_the_size_is_that_of_every_array():
    assert num_bytes(SEGMENTS) > SEGMENTS.bounds[-1] * 4 * (1 + 1 + 1 + SEGMENTS.known_RK.shape[1])
    assert num_bytes(SEGMENTS) < 2 * SEGMENTS.bounds[-1] * 4 * (3 + SEGMENTS.known_RK.shape[1])


def test_the_smallest_node_counts_and_a_head_without_cpus_does_not(monkeypatch):
    def node(cpus: float, memory: float, store: float, alive: bool = True) -> dict:
        return {"Alive": alive, "Resources": {"CPU": cpus, "memory": memory, "object_store_memory": store}}

    nodes = [node(0, 1, 1), node(4, 900, 300), node(8, 500, 700), node(8, 2, 2, alive=False)]
    monkeypatch.setattr("lstm_ray.on_ray.reading.ray.nodes", lambda: nodes)
    assert reading._smallest_node_bytes() == 300


def test_reading_ahead_keeps_every_batch_in_order():
    ours, theirs = list(ahead(batches(3))), list(batches(3))
    assert len(ours) == len(theirs) > 3
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.target_BTC, b.target_BTC)


def test_reading_ahead_stays_at_most_two_batches_ahead():
    cut = []

    def counted() -> Iterator[Batch]:
        for batch in batches(5):
            cut.append(batch)
            yield batch

    reader = ahead(counted(), number=2)
    next(reader)
    time.sleep(0.5)
    # One is in use, two wait, and the thread holds the next.
    assert len(cut) == 4
    reader.close()


def test_what_reading_ahead_raises_is_raised_where_the_batch_was_wanted():
    def broken() -> Iterator[Batch]:
        yield next(batches(1))
        raise OSError("disk gone")

    reader = ahead(broken())
    next(reader)
    with pytest.raises(OSError, match="disk gone"):
        next(reader)


def test_a_reader_that_leaves_early_leaves_no_thread_behind():
    before = threading.active_count()
    reader = ahead(batches(50))
    next(reader)
    assert threading.active_count() == before + 1
    reader.close()
    assert threading.active_count() == before


def test_on_a_cpu_batches_are_passed_on_as_they_are():
    given = batches(1)
    assert on_device(given, torch.device("cpu")) is given


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU: pinned memory exists for it alone")
def test_for_a_gpu_batches_lie_in_pinned_memory():
    batch = next(batches(1))
    for name, value in vars(pinned(batch)).items():
        assert torch.from_numpy(value).is_pinned() or value.size == 0
        np.testing.assert_array_equal(value, vars(batch)[name])
    first = next(on_device(batches(1), torch.device("cuda")))
    assert torch.from_numpy(first.target_BTC).is_pinned()
