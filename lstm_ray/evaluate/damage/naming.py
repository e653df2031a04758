"""What each kind of damage is called, how its severities are said, and what helps against it. Knows no scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lstm_ray.evaluate.damage.curve import Task
from lstm_ray.evaluate.damage.kinds import SPIKE
from lstm_ray.evaluate.words import number, percent
from lstm_ray.sections.evaluate import Damage


@dataclass(frozen=True)
class Words:
    """How one kind of damage is spoken of."""

    title: str
    axis: str
    """Of its severities."""
    level: Callable[[float], str]
    """A severity with its unit."""
    damage: str
    """What is done; ``{}`` is the severity."""
    cure: str = ""
    """Which line of the YAML helps; empty where none does."""
    cure_of_others: str | None = None
    """The same where no target is forecast; None: as for forecasts."""


def _of(things: str) -> Callable[[float], str]:
    """Counts or measures, such as 1 step and 0.5 steps."""
    return lambda value: f"{number(value)} {things.removesuffix('s') if value == 1 else things}"


def _late(severity: float) -> str:
    """Steps of a history, or a share of each sequence."""
    return f"{percent(severity)} of each sequence" if severity < 1 else _of("steps")(severity)


DEVIATIONS, STEPS = _of("deviations"), _of("steps")
WORDS: Mapping[Damage, Words] = {
    "missing": Words(
        "Missing steps",
        "share of the steps",
        percent,
        "{} of the inputs' steps missing at random",
        "Raise train.augment.masking, which hides steps in training.",
    ),
    "blocks": Words(
        "An outage",
        "share of the steps, in one block",
        percent,
        "{} of the inputs' steps missing in one block",
        "Raise train.augment.masking, which hides runs of steps in training.",
    ),
    "noise": Words(
        "Noise",
        "training deviations",
        DEVIATIONS,
        "noise of {} on the inputs",
        "Raise train.augment.jitter, which adds noise in training.",
    ),
    "outliers": Words(
        "Outliers",
        f"share of the values {SPIKE:g} deviations off",
        percent,
        f"{{}} of the inputs' values {SPIKE:g} deviations off",
        "Set preprocess.outliers: mask, with outlier_method: hampel where the series moves far.",
    ),
    "level": Words(
        "Level shift",
        "training deviations",
        DEVIATIONS,
        "inputs that lay {} higher up to some moment of the history",
        "Set model.normalisation: last or fewer model.normalisation_steps, or raise train.augment.magnitude_warp.",
        "Raise train.augment.magnitude_warp, which moves levels in training.",
    ),
    "scale": Words(
        "Change of scale",
        "swings wider by",
        lambda value: f"+{percent(value)}",
        "inputs that swung {} wider up to some moment of the history",
        "Set model.normalisation: mean_deviation, or raise train.augment.scaling.",
        "Raise train.augment.scaling, which swells and shrinks sequences in training.",
    ),
    "irregular": Words(
        "Irregular times",
        "deviation of the times, steps",
        STEPS,
        "readings taken {} off the grid",
        "Raise train.augment.masking, or set a longer data.frequency, with several readings in a step.",
    ),
    "shorter": Words(
        "Shorter history",
        "share missing at its beginning",
        percent,
        "the oldest {} of the history missing",
        "Set a window.history that every series has, or raise train.augment.masking.",
    ),
    "longer": Words(
        "Longer history",
        "steps added",
        STEPS,
        "{} more of history than the policy was trained with",
    ),
    "inputs": Words(
        "Missing inputs",
        "inputs that never arrive",
        _of("inputs"),
        "{} missing altogether",
        "Leave inputs that may fail out of data.past and data.known, or watch that they arrive.",
    ),
    "later": Words(
        "Late data",
        "newest steps that are not there yet",
        _late,
        "the newest {} not there yet",
        "Lengthen window.horizon by the delay and date the origin back, or raise train.augment.masking.",
        "Ask when more of a sequence is there, or train on sequences that end as early.",
    ),
    "unseen": Words(
        "Unseen series",
        "0: known, 1: unseen",
        lambda value: "unseen" if value else "known",
        "each series read as one that training never saw",
        "Train on more series, or do without data.categorical and preprocess.scale_by: series.",
        "Train on more series, or do without data.categorical.",
    ),
}


def said(kind: Damage, severity: float, most: float) -> str:
    """Damage of some severity in a sentence.

    Args:
        most: the greatest severity tried.
    """
    level = WORDS[kind].level(severity)
    if kind == "inputs":
        level = f"{number(severity)} of the {_of('inputs')(most)}"
    return WORDS[kind].damage.format(level.removeprefix("+"))


def cure(kind: Damage, task: Task) -> str:
    other = WORDS[kind].cure_of_others
    return WORDS[kind].cure if task == "forecast" or other is None else other


def name(model: str) -> str:
    return model.replace("_", " ")


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]
