"""Closed forms from sums of many workers are those of one process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import ray

from lstm_ray.model import closed_forms, kernels, ridge
from lstm_ray.model.closed_forms import Whole, window_sums_of
from lstm_ray.on_ray import ridges
from lstm_ray.on_ray.stream import Blocks, put
from tests import made
from tests.model.test_closed_forms import PARTS as DAY_PARTS
from tests.model.test_closed_forms import day_config, days
from tests.model.test_training import Together

SEGMENTS = made.segments_of((240, 200, 170), first_step=(0, 20, 40))
SCALED = SEGMENTS.scaled(made.scaler_of(SEGMENTS))
CONFIG = made.make_config(model__linear="average", model__normalisation="auto")


def workers(config, given, parts, world: int) -> list:
    """What every worker finds, all of them at once."""
    together = Together(world)

    def work(rank: int) -> list:
        return ridges.closed_forms(config, given, parts, rank, world, together.add_up)

    with ThreadPoolExecutor(world) as pool:
        return list(pool.map(work, range(world)))


def assert_same(found: list, expected: list) -> None:
    assert [one.keys() for one in found] == [one.keys() for one in expected]
    for ours, theirs in zip(found, expected, strict=True):
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name], value, atol=1e-5)


@pytest.mark.parametrize("windows", [ridge.MAX_WINDOWS, 50], ids=["all", "thinned"])
@pytest.mark.parametrize("way", ["memory", "blocks", "one block"])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_any_number_of_workers_finds_the_map_of_one_process(local_ray, monkeypatch, world, way, windows):
    """Also where there are more workers than blocks, so that some have nothing to add."""
    monkeypatch.setattr(ridge, "MAX_WINDOWS", windows)
    given = SCALED if way == "memory" else put(SCALED, 100 if way == "blocks" else 10_000_000)
    assert way == "memory" or len(given.refs) == (3 if way == "blocks" else 1)
    expected = closed_forms.closed_forms(CONFIG, SCALED, made.PARTS)
    assert [list(one) for one in expected] == [["highway.ridge_AH", "highway.plain_AH"], []]
    for found in workers(CONFIG, given, made.PARTS, world):
        assert_same(found, expected)


@pytest.mark.parametrize("way", ["memory", "blocks", "one block"])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_any_number_of_workers_finds_the_ridge_of_sequences_of_one_process(local_ray, monkeypatch, world, way):
    monkeypatch.setattr(kernels, "FEATURES", 2 * 84 * 2)
    monkeypatch.setattr(closed_forms, "SAMPLE", 7)
    config, segments = day_config(train__class_weights="balanced"), days()
    given = segments if way == "memory" else put(segments, 1500 if way == "blocks" else 10_000_000)
    assert way == "memory" or (len(given.refs) > 8) == (way == "blocks")
    expected = closed_forms.closed_forms(config, segments, DAY_PARTS)
    assert [len(one) for one in expected] == [0, 0, 3]
    for found in workers(config, given, DAY_PARTS, world):
        assert_same(found, expected)
        for name in ("weight_VJFL", "threshold_VJW"):
            np.testing.assert_array_equal(found[-1][name], expected[-1][name])


def test_a_worker_reads_its_share_of_the_windows_and_no_more(local_ray, monkeypatch):
    blocks = put(SCALED, 100)
    whole = window_sums_of(CONFIG, Whole(SCALED), made.PARTS, "train")
    shares = [window_sums_of(CONFIG, ridges.reader(SCALED, rank, 2), made.PARTS, "train").weight for rank in range(2)]
    assert sum(shares) == pytest.approx(whole.weight)
    assert shares[0] == pytest.approx(shares[1], rel=0.1)
    read = []

    def watched(ref):
        read.append(ref)
        return got(ref)

    got = ray.get
    monkeypatch.setattr(ridges.ray, "get", watched)
    first, second = (window_sums_of(CONFIG, ridges.reader(blocks, rank, 2), made.PARTS, "train") for rank in range(2))
    assert sorted(read, key=str) == sorted(blocks.refs, key=str), "every block is read once, by one of them"
    np.testing.assert_allclose((first + second).flat(), whole.flat(), rtol=1e-4, atol=1e-2)


def test_all_workers_read_the_few_sequences_that_thresholds_come_from_and_their_share_of_the_others(
    local_ray, monkeypatch
):
    monkeypatch.setattr(kernels, "FEATURES", 84)
    monkeypatch.setattr(closed_forms, "SAMPLE", 2)
    segments = days()
    blocks = put(segments, 1)
    number = {ref: index for index, ref in enumerate(blocks.refs)}
    assert len(number) == len(segments.series), "a block for each"
    read: list[list[int]] = []
    got = ray.get

    def watched(ref):
        read[-1].append(number[ref])
        return got(ref)

    monkeypatch.setattr(ridges.ray, "get", watched)
    for rank in range(2):
        read.append([])
        ridges.closed_forms(day_config(), blocks, DAY_PARTS, rank, 2, lambda sums: sums)
    for rank, own in enumerate(read):
        assert sorted(own) == sorted([0, 10, *range(rank, 28, 2)]), "training and validation, never the test part"


def test_without_a_map_no_block_is_read():
    blocks = Blocks(SCALED, [], np.zeros(0, np.int64))
    for config in (made.make_config(model__linear="none"), made.classify_config(), made.label_config()):
        assert ridges.closed_forms(config, blocks, made.PARTS, 0, 1, lambda sums: sums) == [{}]
