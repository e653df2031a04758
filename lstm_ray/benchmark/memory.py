"""The peak memory of a training, to be called in a process of its own. Opens no data file; imports no Ray."""

from __future__ import annotations

import torch

from lstm_ray.benchmark import fresh, made_up
from lstm_ray.data.feed import source
from lstm_ray.model.checkpoint import fit_kept
from lstm_ray.model.network import build
from lstm_ray.model.training import start


def peak(window: dict[str, int], origins: int, batch: int, num_rows: int, epochs: int) -> dict[str, int]:
    """Bytes this process held at most: before the training, with the series in memory, and all in all.

    Args:
        window: history, horizon, patch.
        num_rows: about the length of the series, whatever the history.
    """
    torch.set_num_threads(1)
    config = made_up.config(window, origins=origins, batch=batch, max_epochs=epochs)
    segments, parts = made_up.series(num_rows - window["history"] - window["horizon"], window)
    before = fresh.peak_bytes()
    train, held_out = (source(segments, parts, part, config) for part in ("train", "validation"))
    training = start(build(config, segments.schema), config)
    fit_kept(training, config, train, held_out, None, lambda record: True)
    return {"history": window["history"], "before_bytes": before, "peak_bytes": fresh.peak_bytes()}
