"""Trials of a search: the settings each tries, and its short training from given weights. Knows one process, no Ray."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lstm_ray.config import Config, with_values
from lstm_ray.data.feed import all_batches, class_weights, source
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.schema import Scaler
from lstm_ray.data.windows import Batch, Segments
from lstm_ray.errors import InputError
from lstm_ray.model import checkpoint
from lstm_ray.model.closed_forms import closed_forms
from lstm_ray.model.network import build, single
from lstm_ray.model.objective import Objective
from lstm_ray.model.training import EpochRecord, Training, start, validate
from lstm_ray.model.warm_start import warm_start
from lstm_ray.sections.tune import SpaceConfig

DRAWS = 100
"""Attempts at settings not drawn before; then the space is taken to hold no more."""
NOT_TUNABLE = {
    "model.quantiles": "changes what the loss measures, so trials could not be compared",
    "model.distribution": "changes what the loss measures, so trials could not be compared",
    **{
        f"train.{field}": "changes what the loss measures, so trials could not be compared"
        for field in ("loss", "huber_delta", "focal_gamma", "class_weights")
    },
    "train.workers": "changes the speed alone, and a trial trains in one process",
    "train.threads": "changes the speed alone, and a trial trains with one thread",
    "train.read": "changes the speed alone, and a trial keeps its data in memory",
}

CLOSED_FORM = {
    "window": ("history", "horizon", "patch"),
    "model": ("linear", "normalisation", "normalisation_steps", "difference"),
}
"""Sections' fields that a closed form hangs on, beside the data."""


def trial_config(config: Config, settings: Mapping[str, Any]) -> Config:
    """The config a trial trains with: its settings, a budget of ``tune.max_epochs``, and no patience of its own, for the
    search decides when it ends. Raises InputError where the settings contradict the rest."""
    budget = config.tune.max_epochs
    return with_values(config, {"train.max_epochs": budget, "train.patience": budget, **settings})


def draw(config: Config) -> list[dict[str, Any]]:
    """The settings of every trial by the config's seed: first those of the base, then random ones, all different.

    Fewer than ``tune.trials`` where the space holds no more.

    Raises:
        InputError: the space names a field that no trial can be compared by, or settings contradict the config.
    """
    space, budget = config.tune.space, config.tune.max_epochs
    for path in space:
        if reason := NOT_TUNABLE.get(path):
            raise InputError(f"tune.space: '{path}' {reason}; take it out of the space")
    base = trial_config(config, {})
    drawn = [{path: _value(base, path) for path in space}]
    random = np.random.default_rng(config.seed)
    for _ in range(DRAWS * config.tune.trials):
        if len(drawn) == config.tune.trials:
            break
        settings = {path: _draw_one(values, _value(base, path), random) for path, values in space.items()}
        if settings not in drawn:
            drawn.append(settings)
    for settings in drawn:
        try:
            epochs = trial_config(config, settings).train.max_epochs or budget
        except InputError as error:
            raise InputError(f"tune.space allows {settings}, which the config does not: {error}") from None
        if epochs > budget:
            raise InputError(
                f"tune.space: train.max_epochs {epochs} is beyond tune.max_epochs {budget}; raise the latter"
            )
    return drawn


def run_trial(
    config: Config,
    scaled: Segments,
    bounds: Boundaries,
    weights: Mapping[str, Tensor],
    folder: Path | None = None,
    on_epoch: Callable[[EpochRecord, float | None], bool] = lambda record, start_loss: True,
    whole: bool = False,
    scaler: Scaler | None = None,
    base: Config | None = None,
) -> Training:
    """Train one trial; the best weights end up in the training's network.

    Args:
        config: of ``trial_config``.
        weights: of the trained policy; the trial starts from those that fit.
        folder: its checkpoints are continued and added to. Epochs found there are passed to ``on_epoch`` first, as if
            they had just been trained.
        on_epoch: also told the validation loss before the first step, None from scratch; ends the trial where it
            returns False.
        whole: the epochs found in the folder are all there will be.
        scaler: of the data; None where the weights bring the target's own units along.
        base: config that the weights were trained by, on the same data; its closed forms are then taken from them where
            they are the trial's too. None: solved anew.

    Raises:
        InputError: the training diverged.
    """
    items, held_out = source(scaled, bounds, "train", config), source(scaled, bounds, "validation", config)
    torch.manual_seed(config.seed)
    network = build(config, scaled.schema)
    share = warm_start(network, weights)
    training = start(
        network.cuda() if torch.cuda.is_available() else network,
        config,
        scaler=scaler,
        class_weight_K=class_weights(scaled, bounds, config),
        solved=() if share and brings_closed_forms(network, config, base) else closed_forms(config, scaled, bounds),
    )
    start_loss = _loss(training, all_batches(held_out, config), config) if share else None
    if folder is not None:
        checkpoint.load_newest(training, folder)
    going = not whole
    for record in training.records:
        going = on_epoch(record, start_loss) and going

    if going:
        checkpoint.fit_kept(training, config, items, held_out, folder, lambda record: on_epoch(record, start_loss))
    training.network.load_state_dict(training.best_weights)
    return training


def brings_closed_forms(network: nn.Module, config: Config, base: Config | None) -> bool:
    """Whether a network that was warm-started from weights of ``base`` holds the closed forms of its own config."""
    paths = [f"{section}.{field}" for section, fields in CLOSED_FORM.items() for field in fields]
    if base is None or any(_value(config, path) != _value(base, path) for path in paths):
        return False
    buffers = [dict(one.named_buffers()) for one in single(network)]
    maps = [
        own[name] for own in buffers for name in ("highway.ridge_AH", "highway.plain_AH", "ridge_AK") if name in own
    ]
    return all(bool(one.any()) for one in maps)


def _loss(training: Training, batches: Iterable[Batch], config: Config) -> float:
    sums = validate(Objective(config, training.network, training.network, training.class_weight_K), batches)
    return float(sums[0] / sums[1])


def _draw_one(values: SpaceConfig, current: Any, random: np.random.Generator) -> Any:
    """One value of a field. Four digits are enough to write into a YAML; fields of whole numbers get whole numbers."""
    if values.choice is not None:
        return values.choice[int(random.integers(len(values.choice)))]
    if values.uniform is not None:
        value = float(random.uniform(*values.uniform))
    else:
        assert values.loguniform is not None, "SpaceConfig has one range"
        low, high = values.loguniform
        value = math.exp(random.uniform(math.log(low), math.log(high)))
    return round(value) if isinstance(current, int | None) else float(f"{value:.4g}")


def _value(config: Config, path: str) -> Any:
    section, field = path.split(".")
    return getattr(getattr(config, section), field)
