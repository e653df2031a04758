"""A training on disk: safetensors and JSON with hashes, written whole or not at all, no pickle. Knows no Ray."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors.torch import load_file
from safetensors.torch import save as packed

from lstm_ray.config import Config
from lstm_ray.data.feed import Source, all_batches, steps_per_epoch, train_batches
from lstm_ray.model.training import EpochRecord, Training, fit

TENSORS, COUNTERS = "training.safetensors", "training.json"
KEPT = 2
"""Checkpoints kept: the newest, and the one before should the newest be damaged."""


def save(training: Training, folder: Path) -> None:
    """Write a checkpoint's two files into a folder. The JSON comes last and holds the hashes of both."""
    folder.mkdir(parents=True, exist_ok=True)
    state = training.optimiser.state_dict()
    tensors = {f"network.{name}": value for name, value in training.network.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in training.best_weights.items()}
    tensors["random"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random_cuda"] = torch.cuda.get_rng_state()
    for index, values in state["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in values.items() if value is not None}
    if training.average is not None:
        tensors |= {f"average.{name}": value for name, value in training.average.state().items()}
    # Of a full disk Python says OSError, and save_file something of its own.
    (folder / TENSORS).write_bytes(packed({name: value.contiguous() for name, value in tensors.items()}))
    counters = {
        "averaged_steps": training.average.steps if training.average is not None else 0,
        "records": [asdict(record) for record in training.records],
        "groups": [{k: v for k, v in group.items() if k != "params"} for group in state["param_groups"]],
    }
    hashes = {"tensors": _hash((folder / TENSORS).read_bytes()), "counters": _hash_of(counters)}
    temporary = folder / f"{COUNTERS}.tmp"
    temporary.write_text(json.dumps({"sha256": hashes, **counters}))
    os.replace(temporary, folder / COUNTERS)


def load(training: Training, folder: Path) -> bool:
    """Restore a checkpoint into a fresh training; False where the checkpoint is not whole."""
    if (found := _read(folder)) is None:
        return False
    counters, tensors = found
    training.network.load_state_dict(_below(tensors, "network."))
    training.best_weights = _below(tensors, "best.")
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in _below(tensors, "optimiser.").items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    groups = training.optimiser.state_dict()["param_groups"]
    merged = [{**group, **saved} for group, saved in zip(groups, counters["groups"], strict=True)]
    training.optimiser.load_state_dict({"state": state, "param_groups": merged})
    torch.set_rng_state(tensors["random"].cpu())
    if "random_cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random_cuda"].cpu())
    if training.average is not None:
        training.average.restore(_below(tensors, "average."), counters["averaged_steps"])
    training.records = [EpochRecord(**record) for record in counters["records"]]
    return True


def newest(folder: Path) -> tuple[list[EpochRecord], dict[str, torch.Tensor]] | None:
    """The records and the best weights of the newest whole checkpoint of a folder; None where there is none."""
    for candidate in sorted(folder.glob("epoch-*"), reverse=True):
        if (found := _read(candidate)) is not None:
            counters, tensors = found
            return [EpochRecord(**record) for record in counters["records"]], _below(tensors, "best.")
    return None


def save_next(training: Training, folder: Path) -> None:
    """Add a checkpoint beside the earlier ones and drop the oldest."""
    name = f"epoch-{training.finished_epochs:05d}"
    temporary = folder / f".{name}-{uuid4().hex[:8]}"
    save(training, temporary)
    shutil.rmtree(folder / name, ignore_errors=True)
    temporary.rename(folder / name)
    for old in [*sorted(folder.glob("epoch-*"))[:-KEPT], *folder.glob(".epoch-*")]:
        shutil.rmtree(old)


def load_newest(training: Training, folder: Path) -> int:
    """Restore the newest whole checkpoint of a folder; returns the finished epochs, 0 where there is none."""
    for candidate in sorted(folder.glob("epoch-*"), reverse=True):
        if load(training, candidate):
            return training.finished_epochs
    return 0


def kept(
    training: Training, folder: Path | None, on_epoch: Callable[[EpochRecord], bool]
) -> Callable[[EpochRecord], bool]:
    """What ``fit`` does after an epoch: a checkpoint in ``folder``, where there is one, and then what is to be told."""

    def keep(record: EpochRecord) -> bool:
        if folder is not None:
            save_next(training, folder)
        return on_epoch(record)

    return keep


def fit_kept(
    training: Training,
    config: Config,
    items: Source,
    held_out: Source,
    folder: Path | None,
    on_epoch: Callable[[EpochRecord], bool],
) -> None:
    """``fit`` in one process over whole sources, with a checkpoint in ``folder`` (where there is one) after every epoch."""
    fit(
        training,
        config,
        lambda epoch: train_batches(items, config, epoch),
        lambda: all_batches(held_out, config),
        steps_per_epoch(items, config),
        on_epoch=kept(training, folder, on_epoch),
    )


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
    """A checkpoint's counters and tensors; None where it is not whole."""
    try:
        counters: dict[str, Any] = json.loads((folder / COUNTERS).read_text())
        hashes = counters.pop("sha256")
        if hashes != {"tensors": _hash((folder / TENSORS).read_bytes()), "counters": _hash_of(counters)}:
            return None
        return counters, load_file(folder / TENSORS)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _below(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _hash_of(counters: dict[str, Any]) -> str:
    return _hash(json.dumps(counters, sort_keys=True).encode())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
