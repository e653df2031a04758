"""How much faster two Ray workers train than one. To be called in a process of its own, for it starts a cluster."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

from lstm_ray.benchmark import made_up
from lstm_ray.on_ray.train import train_with_ray

WARM_UP_EPOCHS = 2


def windows_per_second(
    trainings: list[tuple[int, int]], window: dict[str, int], origins: int, num_windows: int, epochs: int
) -> list[float]:
    """Steady-state speed of one training for each entry, one after another on one cluster, one thread a worker.

    Args:
        trainings: number of workers, and sequences per step over all of them together, of each.
        window: history, horizon, patch.
        num_windows: windows of an epoch.
        epochs: measured after WARM_UP_EPOCHS.
    """
    segments, parts = made_up.series(num_windows, window)
    found = []
    for number, batch in trainings:
        config = made_up.config(
            window, origins=origins, batch=batch, max_epochs=WARM_UP_EPOCHS + epochs, workers=number
        )
        with tempfile.TemporaryDirectory() as folder:
            training = train_with_ray(config, segments, parts, Path(folder))
        found.append(median(record.windows_per_second for record in training.records[WARM_UP_EPOCHS:]))
    return found
