"""The section of what each process of a stage asks the cluster for, and what its labels mean. Knows no Ray."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator

from lstm_ray.sections.base import Section

Stage = Literal["preprocess", "train", "plan", "tune", "evaluate", "forecast", "deploy"]
COUNTED_BY: Mapping[str, str] = {
    "train": "train.workers",
    "plan": "plan.actors",
    "tune": "tune.workers",
    "evaluate": "evaluate.workers",
    "deploy": "deploy.replicas",
}
"""The field that says how many processes a stage asks for."""
FINEST = 0.0001
"""Ray counts resources in units of this."""
RESERVED = ("CPU", "GPU", "TPU", "memory", "object_store_memory")
WORD = r"[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
KEY = re.compile(rf"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]{{0,251}}[a-zA-Z0-9])?/)?{WORD}")
SELECTOR = re.compile(rf"!?{WORD}|!?in\({WORD}(?:, ?{WORD})*\)")


class ShareConfig(Section):
    """What one process of a stage asks for. What is left out is derived from the cluster."""

    cpus: float | None = Field(
        default=None, ge=FINEST, description="CPUs of a process; none: derived, so that all of them fit"
    )
    gpus: float | None = Field(
        default=None,
        ge=0,
        description="GPUs of a process, whole ones above 1; none: those of training, trials and backtest get a GPU, or an "
        "equal share, where there are any, the others none",
    )
    memory_bytes: float | None = Field(
        default=None, ge=1, description="memory of a node that is kept for a process; none: not asked for"
    )
    labels: dict[str, str] = Field(
        default={},
        description="labels that its node must have, such as market: spot, or '!spot' or 'in(a, b)' (ray start --labels)",
    )
    custom: dict[str, float] = Field(default={}, description="amounts of custom resources (ray start --resources)")

    @field_validator("gpus")
    @classmethod
    def _whole_above_one(cls, gpus: float | None) -> float | None:
        if gpus is not None and (0 < gpus < FINEST or (gpus > 1 and gpus != int(gpus))):
            raise ValueError(f"{gpus:g} GPUs cannot be given to a process; name a whole number, or a share below 1")
        return gpus

    @field_validator("labels")
    @classmethod
    def _labels_can_be_read(cls, labels: dict[str, str]) -> dict[str, str]:
        for key, value in labels.items():
            if not KEY.fullmatch(key):
                raise ValueError(
                    f"'{key}' is no name of a label; use letters, digits, '-', '_' and '.', at most 63, after a domain "
                    "and '/' where there is one"
                )
            if not SELECTOR.fullmatch(value):
                raise ValueError(
                    f"'{value}' of {key} cannot be asked for; write a value such as spot, '!spot' or 'in(a, b)'"
                )
        return labels

    @field_validator("custom")
    @classmethod
    def _custom_names_are_free(cls, custom: dict[str, float]) -> dict[str, float]:
        for name, amount in custom.items():
            if name in RESERVED or name.startswith("node:") or "_group_" in name or not name.strip():
                own = {"CPU": "cpus", "GPU": "gpus", "memory": "memory_bytes"}.get(name)
                raise ValueError(
                    f"'{name}' is a name that Ray keeps for itself; use {own or 'labels to choose nodes, or another name'}"
                )
            if amount < FINEST:
                raise ValueError(f"{amount:g} of {name} cannot be asked for; name {FINEST:g} or more, or remove it")
        return custom


class ResourcesConfig(Section):
    """What the cluster is asked for, by stage. Never part of what a result depends on."""

    preprocess: ShareConfig = Field(default=ShareConfig(), description="each task that reads or prepares a block")
    train: ShareConfig = Field(default=ShareConfig(), description="each of train.workers")
    plan: ShareConfig = Field(default=ShareConfig(), description="each of plan.actors")
    tune: ShareConfig = Field(default=ShareConfig(), description="each trial, or each of its tune.workers")
    evaluate: ShareConfig = Field(default=ShareConfig(), description="each of evaluate.workers")
    forecast: ShareConfig = Field(default=ShareConfig(), description="each task of a batch forecast")
    deploy: ShareConfig = Field(default=ShareConfig(), description="each replica")
    data_cpus: float = Field(
        default=1.0, gt=0, description="CPUs of the cluster left to Ray Data where train.read streams"
    )
    placement: Literal["auto", "spread", "pack"] = Field(
        default="auto",
        description="where processes of a stage go: on as many nodes as there are, on as few, or as Ray finds best; replicas "
        "and the trials of a search go where Ray finds best",
    )
    wait_seconds: float = Field(
        default=60.0,
        ge=0,
        description="for which a stage waits for nodes that could hold what it asks for, until it gives up and says what is "
        "missing; a cluster that scales by itself may need minutes",
    )

    def of(self, stage: Stage) -> ShareConfig:
        found: ShareConfig = getattr(self, stage)
        return found


NOTHING_SAID = ResourcesConfig()


def meets(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether a node's labels are what is asked for. One that has no such label at all meets '!spot', as Ray has it."""
    for key, selector in wanted.items():
        values = selector.removeprefix("!")
        listed = values.removeprefix("in(").removesuffix(")").split(",") if values.startswith("in(") else [values]
        if (labels.get(key) in [value.strip() for value in listed]) == selector.startswith("!"):
            return False
    return True


def unused_words(resources: ResourcesConfig, in_process: Mapping[Stage, str]) -> list[str]:
    """What is asked for and never used, in words.

    Args:
        in_process: stages that work in the command's own process, and the ``field: value`` that has them do so.
    """
    return [
        f"resources.{stage} is set, but {why} has that stage work in the command's own process, which asks the cluster for "
        "nothing."
        for stage, why in in_process.items()
        if resources.of(stage) != ShareConfig()
    ]
