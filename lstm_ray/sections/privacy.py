"""What a training with differential privacy leaves out or refuses: whatever is read off the data but by noised gradients.

Knows the sections; trains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstm_ray.sections.model import ModelConfig
from lstm_ray.sections.plan import PlanConfig
from lstm_ray.sections.train import TrainConfig

UNIT = "series"
"""Whose presence is hidden, whole: in the weights it cannot be told whether it was trained on. A sequence to classify is a
series of its own."""
NOT_COVERED = (
    "statistics that values are scaled by, transforms, categories and the season",
    "the use of the validation part: early stopping, the epoch whose weights are kept, scores, calibrated intervals",
    "what a bundle carries beside the weights (drift reference, errors that futures are sampled from, names of series)",
    "the run directory, which holds the data itself",
    "choices made by looking at the data, of settings such as the learning rate and of seeds",
)
"""What the promise does not hold for."""
LEFT_OUT: dict[str, dict[str, Any]] = {
    "forecast": {"linear": "none", "normalisation": "mean_deviation"},
    "classify": {"linear": "none", "members": 1},
    "label": {"linear": "none", "members": 1},
}
"""What a private training's model is where the YAML leaves it open: one network, by gradients alone."""


def with_private_defaults(tree: Any) -> Any:
    """The plain values of a config; under train.private what is left open is what can be private."""
    train = tree.get("train") if isinstance(tree, Mapping) else None
    private = train.get("private") if isinstance(train, Mapping) else getattr(train, "private", None)
    if private is None:
        return tree
    tree = dict(tree)
    for section, values in (("model", LEFT_OUT.get(tree.get("task", "forecast"), {})), ("plan", {"synthetic": None})):
        if isinstance(given := tree.get(section) or {}, Mapping):
            tree[section] = {**values, **given}
    return tree


def require_private(task: str, train: TrainConfig, model: ModelConfig, plan: PlanConfig) -> None:
    """Raises ValueError where a private training is asked for what would not be."""
    if train.private is None:
        return
    forecasts = task == "forecast"
    refused = (
        ("train.workers", train.workers, train.workers != 0, "0", "steps are sampled and noised in one process"),
        ("train.read", train.read, train.read == "stream", "memory", "every step takes each series by chance"),
        (
            "model.linear",
            model.linear,
            model.linear != "none",
            "none",
            "it is solved on the data itself, without noise",
        ),
        (
            *(
                "model.normalisation",
                model.normalisation,
                forecasts and model.normalisation == "auto",
                "mean_deviation",
            ),
            "validation chooses between its two networks",
        ),
        (
            *("model.members", model.members, (model.members or (1 if forecasts else 3)) > 1, "1"),
            "validation weighs several networks",
        ),
        ("model.difference", model.difference, model.difference is not None, "null", "it measures typical changes"),
        ("train.augment.mixup", train.augment.mixup, train.augment.mixup > 0, "0", "it mixes series with one another"),
        (
            *("train.class_weights", train.class_weights, train.class_weights == "balanced", "none"),
            "it counts the classes of all; give weights of your own",
        ),
        (
            *("plan.synthetic", "set", plan.synthetic is not None, "null"),
            "a policy would be trained once more, without privacy",
        ),
    )
    wrong = [f"{name} is {found} ({why}): set {fix}" for name, found, is_wrong, fix, why in refused if is_wrong]
    if wrong:
        raise ValueError(f"train.private learns by noised gradients of whole series alone; {'; '.join(wrong)}")
