"""Whether synthetic experience helped: base, control and challenger on validation. Plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lstm_ray.evaluate.candidates import cost, metric_of


@dataclass(frozen=True)
class Verdict:
    """The outcome of retraining with synthetic sequences."""

    metric: str
    base: float
    control: float
    """The base retrained for as many steps on real sequences alone."""
    mixed: float
    """The base retrained with synthetic sequences among them."""
    num_synthetic: int
    kept: bool

    @property
    def words(self) -> str:
        numbers = f"validation {self.metric} {self.base:.4g} before, {self.mixed:.4g} with {self.num_synthetic:,} "
        numbers += f"synthetic sequences, {self.control:.4g} after as many steps without them"
        return f"synthetic experience kept: {numbers}." if self.kept else f"synthetic experience dropped: {numbers}."

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> dict[str, Any]:
        rows = [["base", self.base], ["more real training", self.control], ["real and synthetic", self.mixed]]
        best = 2 if self.kept else 0
        caption = "Kept only where it beats both the base and the control, which trains as many steps without it."
        columns = ["policy", f"validation {self.metric}"]
        return {"title": "Synthetic experience", "columns": columns, "rows": rows, "caption": caption, "best": best}


def decide(
    answers: str,
    base: Mapping[str, float],
    control: Mapping[str, float],
    mixed: Mapping[str, float],
    num_synthetic: int,
) -> Verdict:
    """Keep the policy that saw synthetic sequences only where it beats both others on the metric that decides."""
    metric = metric_of(answers)
    kept = cost(mixed, answers) < min(cost(base, answers), cost(control, answers))
    return Verdict(metric, base[metric], control[metric], mixed[metric], num_synthetic, bool(kept))
