"""The section of what each process of a stage asks the cluster for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lstm_ray.sections.base import Section


class ShareConfig(Section):
    """What one process of a stage asks for. What is left out is derived from the cluster."""

    cpus: float | None = Field(default=None, gt=0, description="CPUs of a process; none: derived, at most one")
    gpus: float | None = Field(
        default=None, ge=0, description="GPUs of a process; none: one each where there are enough"
    )
    memory_bytes: float | None = Field(
        default=None, gt=0, description="memory of a node that is kept for a process; none: not asked for"
    )
    labels: dict[str, str] = Field(
        default={},
        description="labels that its node must have, such as market: spot, or '!spot' or 'in(a, b)' (ray start --labels)",
    )
    custom: dict[str, float] = Field(default={}, description="amounts of custom resources (ray start --resources)")


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
        description="where processes of a stage go: on as many nodes as there are, on as few, or as Ray finds best",
    )
    wait_seconds: float = Field(
        default=60.0,
        ge=0,
        description="for which a stage waits for nodes that could hold what it asks for, until it gives up and says what is "
        "missing; a cluster that scales by itself may need minutes",
    )
