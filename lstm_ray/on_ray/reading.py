"""Where a training's batches come from: the process's memory, or Ray Data tasks. Knows nothing of networks."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import ray
import torch

from lstm_ray.config import Config
from lstm_ray.data.feed import Items, all_batches, of_items, planned, steps_per_epoch, train_batches
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import Batch, Segments
from lstm_ray.on_ray import resources, stream
from lstm_ray.run_dir import Finding

Way = Literal["memory", "stream"]
MEMORY_SHARE = 0.5
"""Share of the free memory (with workers: of a node's object store, if that is less) that segments may take."""
AHEAD = 2
"""Batches cut and pinned ahead of a GPU."""


@dataclass(frozen=True)
class Reading:
    """Which way was chosen, and why."""

    way: Way
    finding: Finding


def choose(config: Config, scaled: Segments) -> Reading:
    """``train.read``, with 'auto' resolved by what the segments take and what is free.

    Where ``train.workers`` is not 0, the cluster must be connected: its smallest node counts, of those that could work.

    Raises InputError where none comes that could hold a worker.
    """
    asked, in_process = config.train.read, not config.train.workers
    if not in_process:
        # A cluster that starts nodes on demand may have none yet.
        fewest, _ = config.train.fewest_and_most_workers
        resources.wait_for(resources.process(config.resources, "train", resources.GRAIN), fewest, config.resources)
    size, free = num_bytes(scaled), free_bytes() if in_process else _smallest_node_bytes()
    fits = size <= MEMORY_SHARE * free
    # What trains in this process is in its memory already: a copy for Ray Data would only add to it.
    best: Way = "memory" if fits or in_process else "stream"
    way = best if asked == "auto" else asked
    where = "this process's free memory" if in_process else "the smallest node's memory for Ray objects"
    share = f"{_words(size)} of segments take {size / free:.2%} of {where}, {_words(free)}"
    text = f"Batches are {_HOW[way]} (train.read: {asked}): {share}; up to {MEMORY_SHARE:.0%} counts as fitting."
    if way == "memory" and not fits:
        advice = "train.workers: 1 or more with train.read: stream, or more memory"
        return Reading(way, Finding(severity="warning", text=text, advice=advice))
    if way == "stream" and fits:
        return Reading(way, Finding(severity="advice", text=text, advice="train.read: memory cuts batches faster"))
    return Reading(way, Finding(severity="info", text=text))


_HOW = {"memory": "cut in the training process", "stream": "cut by Ray Data tasks and streamed to the training process"}


def num_bytes(segments: Segments) -> int:
    """Size of all arrays of the segments."""
    return sum(value.nbytes for value in vars(segments).values() if isinstance(value, np.ndarray))


def free_bytes() -> int:
    """Memory that this process can still take without swapping."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _smallest_node_bytes() -> int:
    """Object store and heap are given to a node when it starts; the lesser of the two, over all nodes that can work."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    return int(min(min(node.get(kind, 0) for kind in ("object_store_memory", "memory")) for node in nodes))


def _words(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.4g} {unit}"
        size /= 1000
    return f"{size:,.4g} GB"


def on_device(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches; for a GPU, cut in another thread into pinned memory while the one before is computed."""
    return ahead(batches, pin=True) if device.type == "cuda" else batches


def ahead(batches: Iterator[Batch], *, pin: bool = False, number: int = AHEAD) -> Iterator[Batch]:
    """The same batches in the same order, read by a thread that stays at most ``number`` ahead and ends with the reader.

    What reading raises is raised here.
    """
    waiting: queue.Queue[Batch | BaseException | None] = queue.Queue(number)
    left = threading.Event()

    def put(item: Batch | BaseException | None) -> bool:
        while not left.is_set():
            with suppress(queue.Full):
                waiting.put(item, timeout=0.1)
                return True
        return False

    def read() -> None:
        try:
            for batch in batches:
                if not put(pinned(batch) if pin else batch):
                    return
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=read, name="batches", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        left.set()
        thread.join()


def pinned(batch: Batch) -> Batch:
    """The batch in page-locked memory, from which a GPU copies without a detour."""
    return replace(batch, **{name: torch.from_numpy(value).pin_memory().numpy() for name, value in vars(batch).items()})


class Batches:
    """One worker's batches of the training and the validation part, cut here or streamed.

    Args:
        segments: scaled; their blocks in the object store where batches are streamed.
        items: of the training part, where they are planned already.
    """

    def __init__(
        self,
        segments: Segments | stream.Blocks,
        bounds: Boundaries,
        config: Config,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
        items: Items | None = None,
    ) -> None:
        index = segments.index if isinstance(segments, stream.Blocks) else segments
        parts = [items or planned(index, bounds, "train", config), planned(index, bounds, "validation", config)]
        self.steps_per_epoch = steps_per_epoch(parts[0], config)
        if isinstance(segments, stream.Blocks):
            streams = [stream.Stream(segments, part, config) for part in parts]
            self.train = lambda epoch: on_device(streams[0].train_batches(epoch, rank, world), device)
            self.held_out = lambda: on_device(streams[1].all_batches(rank, world), device)
        else:
            teaching, held_out = (of_items(part, segments) for part in parts)
            self.train = lambda epoch: on_device(train_batches(teaching, config, epoch, rank, world), device)
            self.held_out = lambda: on_device(all_batches(held_out, config, rank, world), device)
