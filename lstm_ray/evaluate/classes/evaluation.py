"""The test part of a classification run: scores, baselines beside them, error patterns, robustness.

Knows no run directory. The policy reads every test sequence once, here, after it was chosen.

Legend: M sequences, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lstm_ray import progress
from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.quality.impute import Filling
from lstm_ray.data.schema import Scaler
from lstm_ray.data.windows import Segments, chunks, sequences
from lstm_ray.errors import InputError
from lstm_ray.evaluate.classes.baselines import fit_class_baselines
from lstm_ray.evaluate.classes.figures import class_figures
from lstm_ray.evaluate.classes.metrics import ClassSums, class_sums
from lstm_ray.evaluate.damage import robustness
from lstm_ray.evaluate.gather import Classifier
from lstm_ray.evaluate.predictions import keep_classes
from lstm_ray.evaluate.skill import paired_p
from lstm_ray.evaluate.told import Evaluation, Told
from lstm_ray.evaluate.words import number, percent
from lstm_ray.run_dir import Finding

UNCALIBRATED, LOW_RECALL, CHANCE = 0.1, 0.5, 0.05
"""Beyond these a finding comes with advice: calibration error, recall, and the p-value of a difference."""


def evaluate_classes(
    config: Config,
    name: str,
    policy: Classifier,
    scaler: Scaler,
    segments: Segments,
    parts: Boundaries,
    out: Path | None = None,
) -> Evaluation:
    """Score a policy and the baselines on every test sequence.

    Args:
        name: where the policy comes from, such as train.
        out: Parquet file for every sequence's label and probabilities.

    Raises:
        InputError: no test sequence, or a training part with one class.
    """
    assert segments.label is not None, "task classify has labels"
    settings, classes = config.evaluate, segments.schema.classes
    ids_M = sequences(segments, parts, "test")
    if not len(ids_M):
        raise InputError(
            f"no sequence begins in the test part, steps {parts['test'][0]} to {parts['test'][1]}; enlarge split.test"
        )
    models: dict[str, Classifier] = {"policy": policy, **fit_class_baselines(segments, parts, config.window)}
    batches = -(-len(ids_M) // settings.batch)
    with progress.bar("evaluate", batches + robustness.num_measurements(settings)) as advance:
        found: dict[str, list[NDArray]] = {who: [] for who in models}
        for some in chunks(ids_M, settings.batch):
            for who, model in models.items():
                found[who].append(_probabilities(who, model, segments, some))
            advance(f"{len(some)} sequences")
        beside = {who: models[who] for who in ("policy", "logistic_regression")}
        curves = robustness.class_curves(
            beside,
            segments,
            ids_M,
            config.window,
            scaler,
            settings,
            config.seed,
            advance,
            Filling.of(config.preprocess, config.window),
        )
    probabilities = {who: np.concatenate(some) for who, some in found.items()}
    label_M = segments.label[ids_M]
    if out is not None:
        keep_classes(out, _where(segments, ids_M), label_M, probabilities["policy"], classes)
    sums = {who: class_sums(p, label_M, classes) for who, p in probabilities.items()}
    metrics = {who: s.metrics() for who, s in sums.items()}
    rival = max((who for who in metrics if who != "policy"), key=lambda who: metrics[who]["macro_f1"] or 0.0)
    right = {who: p.argmax(axis=1) == label_M for who, p in probabilities.items()}
    first, summary, gain = _against(name, rival, metrics, paired_p(right["policy"], right[rival]), len(ids_M))
    names = list(metrics["policy"])
    rows = [
        [f"policy ({name})" if who == "policy" else who.replace("_", " "), *(values[n] for n in names)]
        for who, values in metrics.items()
    ]
    best = max(range(len(rows)), key=lambda i: list(metrics.values())[i]["macro_f1"] or 0.0)
    table = {
        "title": "The policy beside its baselines, test part",
        "columns": ["classifier", *names],
        "rows": rows,
        "caption": f"All {len(ids_M):,} sequences that begin in the test part. Lower is better for log_loss, brier "
        "and calibration_error.",
        "best": best,
    }
    details = {
        "confusion": {"classes": classes, "rows_are_truth": sums["policy"].confusion_KK.tolist()},
        "by_class": sums["policy"].by_class(),
        "skill": gain,
        "skill_against": rival,
    }
    return Evaluation(
        summary=summary,
        num_windows=len(ids_M),
        metrics=metrics.pop("policy"),
        baselines=metrics,
        scaled={},
        skill=gain,
        told=[
            Told(
                "Against the baselines",
                [first, *patterns(sums["policy"])],
                class_figures(sums["policy"], sums[rival], rival, probabilities["policy"], segments, ids_M),
                [table],
                details,
            ),
            robustness.told(curves, "policy"),
        ],
        cases=_cases(segments, ids_M, right),
    )


def _cases(segments: Segments, ids_M: NDArray, right: Mapping[str, NDArray]) -> pa.Table:
    """Each sequence, and 1 for every classifier that tells it wrong, else 0."""
    return pa.table(
        _where(segments, ids_M) | {who: pa.array((~right_M).astype(np.float64)) for who, right_M in right.items()}
    )


def _where(segments: Segments, ids_M: NDArray) -> dict[str, pa.Array]:
    return {
        "series_id": pa.array(np.asarray(segments.series, dtype=np.str_)[ids_M]),
        "time": pa.array(segments.schema.times(segments.first_step[ids_M])),
    }


def _probabilities(name: str, model: Classifier, segments: Segments, ids_M: NDArray) -> NDArray:
    found = model.class_probabilities(segments, ids_M, len(ids_M))
    if not np.isfinite(found).all():
        first = segments.series[int(ids_M[~np.isfinite(found).all(axis=1)][0])]
        raise InputError(
            f"'{name}' gives probabilities that are not finite, first for '{first}'; "
            "train again with a lower train.learning_rate or train.clip_norm"
        )
    return found


def _against(
    name: str, rival: str, metrics: Mapping[str, Mapping[str, float | None]], p: float, num: int
) -> tuple[Finding, str, float | None]:
    """The policy against the best baseline: a finding, the stage's summary, and the share of the baseline's shortfall
    in macro F1 that is gone (None where the baseline is perfect)."""
    mine, other = metrics["policy"]["macro_f1"] or 0.0, metrics[rival]["macro_f1"] or 0.0
    said = rival.replace("_", " ")
    gain = 1 - (1 - mine) / (1 - other) if other < 1 else None
    side = "above" if mine > other else "below" if mine < other else "the same as"
    text = (
        f"On {num:,} test sequences the policy of '{name}' has macro F1 {mine:.3f}, {side} the {said}'s {other:.3f}, "
        f"the best baseline; accuracy {percent(metrics['policy']['accuracy'] or 0.0)} against "
        f"{percent(metrics[rival]['accuracy'] or 0.0)}."
    )
    sure = f" A difference in accuracy this large has p = {p:.2g} if both are equally good (McNemar's exact test)."
    if mine < other:
        advice = f"Serve the {said} instead, or train longer, with more model.dropout or several tune.trials."
        return Finding(severity="warning", text=text + sure, advice=advice), text, gain
    advice = "" if p < CHANCE else f"Bring more test sequences before trusting the policy over the {said}."
    return Finding(severity="advice" if advice else "info", text=text + sure, advice=advice), text, gain


def patterns(sums: ClassSums) -> list[Finding]:
    """Confusions, recall by class and calibration."""
    found = []
    confusion = sums.confusion_KK.astype(np.float64)
    mistakes = confusion - np.diag(np.diag(confusion))
    if mistakes.sum():
        truth, guess = np.unravel_index(int(mistakes.argmax()), mistakes.shape)
        share = mistakes[truth, guess] / confusion[truth].sum()
        text = (
            f"The commonest mistake is '{sums.classes[truth]}' taken for '{sums.classes[guess]}': "
            f"{int(mistakes[truth, guess])} times, {percent(share)} of all '{sums.classes[truth]}' and "
            f"{percent(mistakes[truth, guess] / mistakes.sum())} of all mistakes."
        )
        found.append(Finding(severity="info", text=text))
    recalls = {name: scores["recall"] for name, scores in sums.by_class().items()}
    known = {name: value for name, value in recalls.items() if value is not None}
    worst = min(known, key=lambda name: known[name])
    said = ", ".join(f"'{name}' {percent(value)}" for name, value in known.items())
    advice = f"'{worst}' is missed more often than found: weigh it up, or lower the threshold for it."
    low = known[worst] < LOW_RECALL
    text = f"Recall by class: {said}."
    found.append(Finding(severity="advice" if low else "info", text=text, advice=advice if low else ""))
    gap = sums.metrics()["calibration_error"] or 0.0
    text = f"Probabilities are {number(100 * gap)} percentage points from the observed frequencies on average."
    advice = "Do not read them as odds before recalibrating them (temperature scaling)." if gap > UNCALIBRATED else ""
    found.append(Finding(severity="advice" if advice else "info", text=text, advice=advice))
    return found
