"""Rolling origins (Tashman 2000, "Out-of-sample tests of forecasting accuracy"): which folds the data hold, and what is
measured in one. Knows no training, no Ray and no files.

A fold is the run's own split, moved back by whole lengths of its test part: what trains begins where the run's does and ends
earlier; validation, gaps and stretch are as long as the run's validation, gaps and test part. Of sequences to classify, a part
holds those that begin in it, as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstm_ray.config import Config
from lstm_ray.data.feed import planned
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.schema import Scaler
from lstm_ray.data.stage import count
from lstm_ray.data.windows import Segments, origins, sequences
from lstm_ray.errors import InputError
from lstm_ray.evaluate.backtest.spread import Metrics
from lstm_ray.evaluate.classes.metrics import class_sums
from lstm_ray.evaluate.forecasts.baselines import fit_baselines
from lstm_ray.evaluate.forecasts.score import Yardstick, score
from lstm_ray.evaluate.labels.metrics import label_metrics, told


def folds_of(parts: Boundaries, folds: int) -> list[Boundaries]:
    """The run's parts, and before them the same moved back, oldest first; training may end before it begins."""
    length, (start, end) = parts["test"][1] - parts["test"][0], parts["train"]
    found: list[Boundaries] = []
    for moved in range((folds - 1) * length, -1, -length):
        fold: Boundaries = {part: (first - moved, last - moved) for part, (first, last) in parts.items()}
        found.append(fold | {"train": (start, end - moved)})
    return found


def fitting(config: Config, segments: Segments, parts: Boundaries) -> tuple[list[Boundaries], str]:
    """Of the folds asked for the newest ones that the data allow, oldest first, and what the next one back lacks. Reads no
    values of the segments but labels."""
    assert config.evaluate.backtest is not None, "no backtest is asked for"
    found: list[Boundaries] = []
    for fold in reversed(folds_of(parts, config.evaluate.backtest.folds)):
        if lacks := _lacks(config, segments, fold):
            return found, lacks
        found.insert(0, fold)
    return found, ""


def require_folds(config: Config, segments: Segments, parts: Boundaries) -> None:
    """Raises InputError where fewer folds fit than are asked for: it says how many do."""
    found, lacks = fitting(config, segments, parts)
    if lacks:
        fix = f"set it to {len(found)}, or shorten" if found else "remove evaluate.backtest, or shorten"
        asked = config.evaluate.backtest.folds if config.evaluate.backtest else 0
        raise InputError(
            f"evaluate.backtest.folds is {asked}, but the data hold {len(found)}: for stretch {len(found) + 1}, counted back "
            f"from the test part, {lacks}; {fix} the test part"
        )


def _lacks(config: Config, segments: Segments, fold: Boundaries) -> str:
    """Why a fold cannot be trained and scored; empty where it can."""
    start, end = fold["train"]
    if end <= start:
        return f"what trains would end {start - end} steps before it begins"
    try:
        planned(segments, fold, "train", config)
        planned(segments, fold, "validation", config)
    except InputError as error:
        return str(error).partition(";")[0]
    return "" if count(segments, fold, config)["test"] else f"steps {fold['test']} hold nothing to score"


def fit_rivals(config: Config, segments: Segments, bounds: Boundaries, scaler: Scaler) -> dict[str, Any]:
    """The baselines of the task, by name, fitted to a training part."""
    if config.task == "forecast":
        return dict(fit_baselines(segments, bounds, config.window, scaler))
    # scikit-learn takes a second to import and a forecast does not need it.
    if config.task == "label":
        from lstm_ray.evaluate.labels.baselines import fit_label_baselines

        return dict(fit_label_baselines(segments, bounds, config.window))
    from lstm_ray.evaluate.classes.baselines import fit_class_baselines

    return dict(fit_class_baselines(segments, bounds, config.window))


def measured(
    config: Config, models: Mapping[str, Any], segments: Segments, bounds: Boundaries, scaler: Scaler
) -> tuple[int, dict[str, Metrics]]:
    """How many windows (sequences, labelled steps) a stretch holds, and each model's metrics over them."""
    batch, window = config.evaluate.batch, config.window
    if config.task == "forecast":
        origins_M = origins(segments, bounds, "test", window)
        given = Yardstick.of(segments, bounds, window, scaler, batch)
        found = score(models, segments, origins_M, given)
        return len(origins_M), {who: scores.total.metrics() for who, scores in found.items()}
    if config.task == "classify":
        assert segments.label is not None, "task classify has labels"
        ids_M, classes = sequences(segments, bounds, "test"), segments.schema.classes
        label_M = segments.label[ids_M]
        answers = {who: model.class_probabilities(segments, ids_M, batch) for who, model in models.items()}
        return len(ids_M), {who: class_sums(answer, label_M, classes).metrics() for who, answer in answers.items()}
    assert segments.label_R is not None, "task label has labels"
    metrics: dict[str, Metrics] = {}
    for who, model in models.items():
        answer_MA, rows = told(model, segments, bounds, "test", batch)
        metrics[who] = label_metrics(answer_MA, segments.label_R[rows], segments.schema)
    return len(rows), metrics
