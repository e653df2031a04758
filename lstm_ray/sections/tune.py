"""The section of the search for better settings."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from lstm_ray.sections.base import Section


class SpaceConfig(Section):
    """The values a tuned field may take: exactly one of these."""

    choice: list[Any] | None = Field(default=None, description="one of a list")
    uniform: tuple[float, float] | None = Field(default=None, description="between two numbers")
    loguniform: tuple[float, float] | None = Field(default=None, description="between two, evenly in the logarithm")

    @model_validator(mode="before")
    @classmethod
    def _says_which(cls, given: Any) -> Any:
        if not isinstance(given, dict | SpaceConfig):
            values = given if isinstance(given, list) else [given]
            raise ValueError(
                f"found {given!r}, which does not say how values are drawn; write choice: {values}, or uniform: or "
                "loguniform: [low, high]"
            )
        return given

    @model_validator(mode="after")
    def _is_one_range(self) -> SpaceConfig:
        given = [name for name in ("choice", "uniform", "loguniform") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of choice, uniform, loguniform; found {given or 'none'}")
        for name in ("uniform", "loguniform"):
            bounds = getattr(self, name)
            if bounds and not (bounds[0] < bounds[1] and (name == "uniform" or bounds[0] > 0)):
                raise ValueError(
                    f"{name} needs [low, high] with low < high (loguniform: above 0), found {list(bounds)}"
                )
        if self.choice is not None and not self.choice:
            raise ValueError("choice needs at least one value, found []")
        return self


class TuneConfig(Section):
    """The search for better settings, from the trained weights where shapes allow."""

    trials: int = Field(default=6, gt=0, description="settings tried")
    search: Literal["random", "grid", "optuna"] = Field(
        default="random",
        description="how settings are drawn: at random, every combination of the space's choices (trials at most), or by "
        "Optuna's TPE from the trials before (lstm-ray[optuna])",
    )
    scheduler: Literal["asha", "median", "pbt", "none"] = Field(
        default="asha",
        description="asha, median: poor trials end early; pbt: they go on from a good one's weights with its settings "
        "disturbed (fields that change no shape alone); none: all train to the end",
    )
    max_epochs: int = Field(default=8, gt=0, description="training passes of a trial at most")
    grace_epochs: int = Field(default=2, gt=0, description="passes before a trial may be ended, or replaced by pbt")
    concurrency: int = Field(default=2, gt=0, description="trials at the same time, bounded by the cluster's CPUs")
    workers: int = Field(
        default=0,
        ge=0,
        description="0: a trial trains in one process; N: by Ray Train with N processes, for large ones",
    )
    space: dict[str, SpaceConfig] = Field(
        default={
            "train.learning_rate": SpaceConfig(loguniform=(3e-4, 5e-3)),
            "train.weight_decay": SpaceConfig(choice=[0.0, 0.01, 0.1]),
            "model.dropout": SpaceConfig(choice=[0.1, 0.3, 0.5]),
            "model.hidden": SpaceConfig(choice=[64, 128]),
        },
        description="config fields, as section.field (or train.augment.field), and the values they may take: fields of model "
        "and train, window.history and window.patch",
    )

    @model_validator(mode="after")
    def _search_and_scheduler_go_together(self) -> TuneConfig:
        if self.scheduler != "pbt":
            return self
        if self.search == "optuna":
            raise ValueError(
                "search is optuna, which learns from settings that a trial keeps, but scheduler pbt changes them on the way; "
                "use search: random, or scheduler: asha"
            )
        if self.trials < 2:
            raise ValueError(
                f"trials is {self.trials}, but scheduler pbt needs another trial to take over; use 4 or more"
            )
        if self.grace_epochs >= self.max_epochs:
            raise ValueError(
                f"grace_epochs {self.grace_epochs} of max_epochs {self.max_epochs} leaves scheduler pbt no time to take over "
                f"another trial; lower it below {self.max_epochs}"
            )
        if not self.space:
            raise ValueError(
                "space is empty, so scheduler pbt has no setting to disturb; name fields, or use another scheduler"
            )
        return self
