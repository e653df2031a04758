"""The YAML of a challenger, made from the champion's. Knows configs; opens no data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lstm_ray.config import Config, parse
from lstm_ray.sections.evaluate import EvaluateConfig
from lstm_ray.sections.prepare import SplitConfig

UNASKED = {"predictions": False, "statistical_windows": 0, "damage": [], "explain": "none", "backtest": None}
"""Of evaluate: what a challenger is judged by is measured beside the champion, on the same windows."""


class Pace(BaseModel):
    """How the first champion was trained: what multiples of it are meant by, however many challengers came since."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: float
    max_epochs: int | None


def asked(champion: Config, run: Config) -> Config:
    """The champion's config with what the run's YAML says now of how policies are retrained, watched and judged, and with the
    run's own weights.

    Args:
        run: the run directory's config.
    """
    tree = champion.model_dump()
    for section in ("retrain", "monitor", "deploy", "stress", "evaluate"):
        tree[section] = getattr(run, section).model_dump()
    tree["data"]["weight"] = run.data.weight
    tree["name"] = run.name
    return parse(tree)


def challenger(config: Config, table: Path, weight: str, split: dict[str, str], start: Path, pace: Pace) -> Config:
    """What trains a challenger.

    Args:
        config: of ``asked``.
        table: folder of the joined table.
        weight: its column of weights.
        split: of ``stretches.dates``.
        start: the champion's folder.
    """
    tree: dict[str, Any] = config.model_dump()
    tree["data"] |= {"source": str(table), "layout": "long", "static_source": None, "weight": weight}
    tree["split"] = SplitConfig().model_dump() | split
    warm, retrain = config.retrain.start == "warm", config.retrain
    tree["train"] |= {
        "start_from": str(start) if warm else None,
        "learning_rate": pace.learning_rate * (retrain.learning_rate if warm else 1.0),
        "max_epochs": retrain.max_epochs or pace.max_epochs,
    }
    # Groups of series in it are told of the test part, as everything that needs no further work.
    tree["evaluate"] = EvaluateConfig.model_validate(tree["evaluate"] | UNASKED).model_dump()
    return parse(tree)
