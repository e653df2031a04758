"""One trial of a search: its short training from given weights, and what it leaves in its folder. Knows one process, no
Ray."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import Tensor, nn

from lstm_ray.config import Config
from lstm_ray.data.feed import all_batches, class_weights, source
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.schema import Scaler, Schema
from lstm_ray.data.windows import Batch, Segments
from lstm_ray.errors import InputError
from lstm_ray.model import checkpoint
from lstm_ray.model.choosing import Sum
from lstm_ray.model.closed_forms import Solved, closed_forms
from lstm_ray.model.network import Network, build, single
from lstm_ray.model.objective import Objective
from lstm_ray.model.optimisers import is_out_of_memory
from lstm_ray.model.training import EpochRecord, Training, set_solved, start, validate
from lstm_ray.model.views import kinds
from lstm_ray.model.warm_start import warm_start
from lstm_ray.space import value_of

FACTS = "facts.json"
CLOSED_FORM = (
    *("window.history", "window.horizon", "window.patch"),
    *("model.linear", "model.normalisation", "model.normalisation_steps", "model.difference"),
)
"""Fields that a closed form hangs on, beside the data."""


@dataclass
class Facts:
    """What a trial's folder says beside its checkpoints."""

    share: float = 0.0
    """Of its parameters, taken from the trained policy; 0 is from scratch."""
    start_loss: float | None = None
    """Validation loss before the first step; None from scratch."""
    num_parameters: int | None = None
    seconds: float = 0.0
    """Spent on it, over all attempts."""
    failure: str = ""
    """Why it ended before its time, where it did."""

    @classmethod
    def read(cls, folder: Path) -> Facts | None:
        """None where the trial has not begun."""
        try:
            return cls(**json.loads((folder / FACTS).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """Whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{FACTS}-{uuid4().hex[:8]}"
        temporary.write_text(json.dumps(asdict(self)))
        os.replace(temporary, folder / FACTS)


def run_trial(
    config: Config,
    scaled: Segments,
    bounds: Boundaries,
    weights: Mapping[str, Tensor],
    folder: Path | None = None,
    on_epoch: Callable[[EpochRecord, float | None], bool] = lambda record, start_loss: True,
    *,
    scaler: Scaler,
    until: int | None = None,
    goes_on_from: Path | None = None,
    base: Config | None = None,
    forms: Path | None = None,
) -> Training:
    """Train one trial; the best weights end up in the training's network.

    Args:
        config: of ``space.trial_config``.
        weights: of the trained policy; the trial starts from those that fit.
        folder: its checkpoints are continued and added to. Epochs found there are passed to ``on_epoch`` first, as if
            they had just been trained.
        on_epoch: also told the validation loss before the first step, None from scratch; ends the trial where it
            returns False.
        until: epochs after which it ends, whatever the config says.
        goes_on_from: folder whose newest checkpoint it continues where its own holds none yet, with its own settings.
        scaler: of the data, for networks that speak the target's own units.
        base: config that the weights were trained by, on the same data; its closed forms are then taken from them where
            they are the trial's too. None: solved anew.
        forms: folder where solved closed forms are left for other trials.

    Raises:
        InputError: the training diverged.
    """
    items, held_out = source(scaled, bounds, "train", config), source(scaled, bounds, "validation", config)

    def solve() -> list[Solved]:
        return kept_closed_forms(config, scaled, bounds, forms)

    def measure(training: Training) -> float:
        return loss_of(training, all_batches(held_out, config), config)

    training, facts = begin_trial(
        config, scaled, bounds, weights, folder, solve, measure, goes_on_from=goes_on_from, scaler=scaler, base=base
    )
    with_facts = keeping_facts(facts, folder, lambda record: on_epoch(record, facts.start_loss))
    going = True
    for record in training.records:
        going = on_epoch(record, facts.start_loss) and going
    if going and (until is None or training.finished_epochs < until):
        try:
            checkpoint.fit_kept(
                training,
                config,
                items,
                held_out,
                folder,
                lambda record: with_facts(record) and (until is None or record.epoch + 1 < until),
            )
        except InputError as error:
            facts.failure = str(error)
            if folder is not None:
                facts.write(folder)
            raise
    training.network.load_state_dict(training.best_weights)
    return training


def begin_trial(
    config: Config,
    scaled: Segments,
    bounds: Boundaries,
    weights: Mapping[str, Tensor],
    folder: Path | None,
    solve: Callable[[], list[Solved]],
    measure: Callable[[Training], float],
    *,
    scaler: Scaler,
    goes_on_from: Path | None = None,
    base: Config | None = None,
    device: torch.device | None = None,
) -> tuple[Training, Facts]:
    """A trial before its next step, at its newest checkpoint or, where there is none, from the weights that fit.

    Args:
        solve: the closed forms, called where the weights do not bring them along.
        measure: the validation loss, called where the trial is new.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    class_weight_K = class_weights(scaled, bounds, config)
    torch.manual_seed(config.seed)
    network = _built(config, scaled.schema)
    facts = Facts.read(folder) if folder is not None else None
    places = [place for place in (folder if facts else None, goes_on_from) if place is not None]
    if any(place.glob("epoch-*") for place in places):
        training = start(network.to(device), config, scaler=scaler, class_weight_K=class_weight_K)
        if any(checkpoint.load_newest(training, place) for place in places):
            for group in training.optimiser.param_groups:
                # A checkpoint brings the decay of whoever wrote it; the rate is set at every step.
                group["weight_decay"] = config.train.weight_decay
            return training, facts or Facts()
        if goes_on_from is not None:
            raise InputError(f"no checkpoint in '{goes_on_from}' is whole; tune again with --force")
        torch.manual_seed(config.seed)
        network = build(config, scaled.schema)
    share = warm_start(network, weights)
    training = start(network.to(device), config, scaler=scaler, class_weight_K=class_weight_K)
    if not (share and brings_closed_forms(network, config, base)):
        set_solved(training, solve())
    facts = Facts(share, measure(training) if share else None, sum(one.numel() for one in network.parameters()))
    if folder is not None:
        facts.write(folder)
    return training, facts


def _built(config: Config, schema: Schema) -> Network:
    """``network.build``. Raises InputError where no memory holds it."""
    try:
        return build(config, schema)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        model = config.model
        raise InputError(
            f"the network does not fit into memory; lower model.hidden (now {model.hidden}), model.layers (now "
            f"{model.layers}) or model.members"
        ) from None


def keeping_facts(
    facts: Facts, folder: Path | None, on_epoch: Callable[[EpochRecord], bool]
) -> Callable[[EpochRecord], bool]:
    """Adds the time that passed to the facts in the folder, and then tells of an epoch."""
    before, began = facts.seconds, time.perf_counter()

    def tell(record: EpochRecord) -> bool:
        facts.seconds = before + time.perf_counter() - began
        if folder is not None:
            facts.write(folder)
        return on_epoch(record)

    return tell


def kept_closed_forms(config: Config, scaled: Segments, bounds: Boundaries, folder: Path | None) -> list[Solved]:
    """``closed_forms``, from the folder where a trial that needed the same has left them."""
    if folder is None:
        return closed_forms(config, scaled, bounds)
    key = [config.model.members, *(value_of(config, path) for path in CLOSED_FORM)]
    file = folder / f"{sha256(json.dumps(key).encode()).hexdigest()[:16]}.safetensors"
    try:
        found = load_file(file)
        return [
            {name.split("/")[1]: value for name, value in found.items() if name.startswith(f"{e}/")}
            for e in range(len(kinds(config)))
        ]
    except (OSError, SafetensorError):
        solved = closed_forms(config, scaled, bounds)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{uuid4().hex}"
    temporary.write_bytes(save({f"{e}/{name}": value for e, one in enumerate(solved) for name, value in one.items()}))
    os.replace(temporary, file)
    return solved


def brings_closed_forms(network: nn.Module, config: Config, base: Config | None) -> bool:
    """Whether a network that was warm-started from weights of ``base`` holds the closed forms of its own config."""
    if base is None or any(value_of(config, path) != value_of(base, path) for path in CLOSED_FORM):
        return False
    buffers = [dict(one.named_buffers()) for one in single(network)]
    maps = [
        own[name] for own in buffers for name in ("highway.ridge_AH", "highway.plain_AH", "ridge_AK") if name in own
    ]
    return all(bool(one.any()) for one in maps)


def loss_of(training: Training, batches: Iterable[Batch], config: Config, add_up: Sum = lambda sums: sums) -> float:
    """Validation loss of a training's network as it is."""
    objective = Objective(config, training.network, training.network, training.class_weight_K)
    sums = validate(objective, batches, add_up)
    return float(sums[0] / sums[1])
