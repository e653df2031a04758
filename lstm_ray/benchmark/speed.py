"""How fast the trainer is beside loops of bare torch, in one process, taken in turns. Opens no file."""

from __future__ import annotations

import torch

from lstm_ray.benchmark import bare, made_up
from lstm_ray.config import Config
from lstm_ray.data.schema import Schema
from lstm_ray.model.network import build
from lstm_ray.model.training import EpochRecord
from lstm_ray.on_ray.train import train_here

TRAINER, SAME, BODY, VALUES = (
    "trainer",
    "every origin, same network",
    "every origin, LSTM and head",
    "the same, values alone",
)


def compare(
    window: dict[str, int],
    origins: int,
    batch: int,
    num_windows: int,
    repeats: int,
    window_batches: dict[str, int],
) -> dict[str, list[float]]:
    """Windows trained per second, by loop and repeat; the loops take turns and their first turn is not counted.

    The trainer is measured over its own epochs: batches cut, inputs normalised, loss, clipping, optimiser and schedule.
    What follows an epoch, its validation, is not counted, for a bare loop has none.

    Args:
        window: history, horizon, patch.
        origins: origins of a sequence.
        batch: sequences per step.
        num_windows: windows of an epoch, and so of a turn.
        window_batches: bare loops that read windows one at a time: batch size (as text) to steps of a turn.
    """
    config = made_up.config(window, origins=origins, batch=batch, max_epochs=repeats + 1)
    segments, parts = made_up.series(num_windows, window)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    values = torch.from_numpy(segments.target_RC[: parts["train"][1], 0].copy()).to(device)
    every = (values, window, made_up.HIDDEN, batch, origins)
    rivals = {
        SAME: bare.same_network(*every),
        BODY: bare.every_origin(*every, num_inputs=num_inputs(config, segments.schema)),
        VALUES: bare.every_origin(*every, num_inputs=window["patch"]),
    }
    for size, steps in window_batches.items():
        rivals[size] = bare.window_at_a_time(values, window, made_up.HIDDEN, int(size), steps)
    found: dict[str, list[float]] = {name: [] for name in (TRAINER, *rivals)}

    def take_turns(records: list[EpochRecord]) -> None:
        found[TRAINER].append(records[-1].windows_per_second)
        for name, loop in rivals.items():
            found[name].append(loop.windows_per_second())

    train_here(config, segments, parts, None, take_turns)
    return {name: values[1:] for name, values in found.items()}


def num_inputs(config: Config, schema: Schema) -> int:
    """What the trainer's LSTM reads of a patch: its values, which of them were measured, the patch's level and so on."""
    weights = build(config, schema).state_dict()
    return next(weight.shape[1] for name, weight in weights.items() if name.endswith("weight_ih_l0"))
