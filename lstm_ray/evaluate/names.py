"""What each metric is called, and which way it is better. Knows no scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher"]

POLICY = "policy"
"""What the one that is judged is called among all that are scored."""


@dataclass(frozen=True)
class Metric:
    """How a metric is called and which way is better; None where neither way is (coverage has a nominal value)."""

    label: str
    better: Better | None


METRICS: Mapping[str, Metric] = {
    "mae": Metric("MAE", "lower"),
    "rmse": Metric("RMSE", "lower"),
    "mse": Metric("MSE", "lower"),
    "mase": Metric("MASE", "lower"),
    "rmsse": Metric("RMSSE", "lower"),
    "owa": Metric("OWA", "lower"),
    "smape": Metric("sMAPE", "lower"),
    "mape": Metric("MAPE", "lower"),
    "wape": Metric("WAPE", "lower"),
    "crps": Metric("CRPS", "lower"),
    "msis": Metric("MSIS", "lower"),
    "pinball": Metric("pinball", "lower"),
    "weighted_quantile_loss": Metric("weighted quantile loss", "lower"),
    "macro_f1": Metric("macro F1", "higher"),
    "weighted_f1": Metric("weighted F1", "higher"),
    "segment_f1": Metric("segment F1", "higher"),
    "accuracy": Metric("accuracy", "higher"),
    "balanced_accuracy": Metric("balanced accuracy", "higher"),
    "roc_auc": Metric("ROC AUC", "higher"),
    "pr_auc": Metric("PR AUC", "higher"),
    "r2": Metric("R²", "higher"),
    "cross_entropy": Metric("cross entropy", "lower"),
    "log_loss": Metric("log loss", "lower"),
    "brier": Metric("Brier", "lower"),
    "calibration_error": Metric("calibration error", "lower"),
    "bias": Metric("bias", None),
    "coverage": Metric("coverage", None),
    "interval_width": Metric("interval width", None),
}
"""In the order in which tables show them."""


def metric(name: str) -> Metric:
    """What is known of a metric; one the table lacks keeps its own name and is never called best."""
    return METRICS.get(name) or Metric(name.replace("_", " "), None)


def ordered(names: Iterable[str]) -> list[str]:
    """Each name once, known metrics first, in the order of METRICS."""
    known = list(METRICS)
    return sorted(dict.fromkeys(names), key=lambda name: (known.index(name) if name in METRICS else len(known), name))


def best_of(scores: Mapping[str, Mapping[str, float | None]]) -> dict[str, list[str]]:
    """Who is best by each metric that two or more of them have and that has a better way, ties included."""
    found = {}
    for name in ordered(name for values in scores.values() for name in values):
        known = {who: value for who, values in scores.items() if (value := values.get(name)) is not None}
        better = metric(name).better
        if better is None or len(known) < 2:
            continue
        top = max(known.values()) if better == "higher" else min(known.values())
        found[name] = [who for who, value in known.items() if value == top]
    return found
