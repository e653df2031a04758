"""The test part of a classification run: scores, baselines beside them, error patterns, robustness.

Knows no run directory. The policy reads every test sequence once, here, after it was chosen.

Legend: M sequences, K classes.
"""

from __future__ import annotations

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
from lstm_ray.evaluate import groups
from lstm_ray.evaluate.classes import patterns
from lstm_ray.evaluate.classes.baselines import fit_class_baselines
from lstm_ray.evaluate.classes.cases import Cases
from lstm_ray.evaluate.classes.clocks import by_clocks
from lstm_ray.evaluate.classes.figures import beside_figures, error_figures
from lstm_ray.evaluate.classes.mistakes import surest_mistakes
from lstm_ray.evaluate.classes.neighbours import BAND, WORK, Nearest, fit_nearest
from lstm_ray.evaluate.damage import robustness
from lstm_ray.evaluate.gather import Classifier
from lstm_ray.evaluate.names import POLICY
from lstm_ray.evaluate.predictions import keep_classes, where
from lstm_ray.evaluate.skill import paired_p
from lstm_ray.evaluate.told import Evaluation, Told
from lstm_ray.evaluate.words import called, percent
from lstm_ray.run_dir import Finding

LOGISTIC, NEAREST = "logistic_regression", "nearest_neighbour"


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
    train_M = sequences(segments, parts, "train")
    models: dict[str, Classifier] = {POLICY: policy, **fit_class_baselines(segments, parts, config.window)}
    nearest = fit_nearest(segments, train_M, ids_M, config.window.history)
    if nearest is not None:
        models[NEAREST] = nearest
    batches = -(-len(ids_M) // settings.batch)
    with progress.bar("evaluate", batches + robustness.num_measurements(settings)) as advance:
        found: dict[str, list[NDArray]] = {who: [] for who in models}
        for some in chunks(ids_M, settings.batch):
            for who, model in models.items():
                found[who].append(_probabilities(who, model, segments, some))
            advance(f"{len(some)} sequences")
        beside = {who: models[who] for who in (POLICY, LOGISTIC)}
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
    cases = Cases(
        classes=classes,
        unit="sequences",
        label_M=segments.label[ids_M],
        probabilities={who: np.concatenate(some) for who, some in found.items()},
        step_M=segments.first_step[ids_M],
        schema=segments.schema,
        taught_K=np.bincount(segments.label[train_M], minlength=len(classes)),
        hard=frozenset({NEAREST}),
    )
    if out is not None:
        keep_classes(out, _where(segments, ids_M), cases.label_M, cases.probabilities[POLICY], classes)
    first, summary, gain = _against(name, cases)
    compared = Told(
        "Against the baselines",
        [first, *patterns.absent(cases), _of_nearest(nearest, len(train_M), len(ids_M))],
        beside_figures(cases),
        details={"skill": gain, "skill_against": cases.rival},
    )
    baselines = {who: values for who, values in cases.metrics.items() if who != POLICY}
    return Evaluation(
        summary=summary,
        num_windows=len(ids_M),
        metrics=cases.metrics[POLICY],
        baselines=baselines,
        scaled={},
        skill=gain,
        told=[
            compared,
            _where_it_errs(config, policy, scaler, segments, parts, ids_M, cases),
            *_by_group(config, segments, ids_M, cases),
            robustness.told(curves, POLICY),
        ],
        cases=_cases(segments, ids_M, cases),
    )


def _where_it_errs(
    config: Config,
    policy: Classifier,
    scaler: Scaler,
    segments: Segments,
    parts: Boundaries,
    ids_M: NDArray,
    cases: Cases,
) -> Told:
    """Reads the validation part, too: what a threshold is chosen by."""
    assert segments.label is not None
    surest, drawn = surest_mistakes(
        cases, segments, ids_M, sequences(segments, parts, "train"), scaler, config.window.history
    )
    clocks = by_clocks(
        cases.local_times, {who: (~cases.right(who)).astype(np.float64) for who in (POLICY, cases.rival)}
    )
    findings = [*patterns.findings(cases), *surest, *patterns.by_clock(cases, clocks)]
    held_out = sequences(segments, parts, "validation")
    if len(cases.classes) == 2 and len(held_out):
        asked = [
            _probabilities(POLICY, policy, segments, some)[:, 1] for some in chunks(held_out, config.evaluate.batch)
        ]
        validation = np.concatenate(asked), segments.label[held_out]
        advice = patterns.threshold(cases, *validation)
        findings += [advice] if advice else []
    details = {
        "confusion": {"classes": cases.classes, "rows_are_truth": cases.sums[POLICY].confusion_KK.tolist()},
        "by_class": cases.sums[POLICY].by_class(),
    }
    pictures = error_figures(cases, clocks)
    return Told("Where it errs", findings, [*pictures[:1], *drawn, *pictures[1:]], [patterns.by_class(cases)], details)


def _by_group(config: Config, segments: Segments, ids_M: NDArray, cases: Cases) -> list[Told]:
    """Sequences are judged by themselves, so each counts as its own moment."""
    settings = config.evaluate
    if not settings.groups:
        return []
    found = groups.groupings(segments, settings.groups, config.data.series_id)
    wrong_M, one_M = (~cases.right(POLICY)).astype(np.float64), np.ones(len(ids_M))
    moment_M = np.argsort(np.argsort(segments.first_step[ids_M], kind="stable"))
    what = "share of sequences told wrong"
    errors = groups.Errors(wrong_M, one_M, ids_M, moment_M, 1, what, "sequences", is_share=True)
    return [groups.told(errors, found, settings.max_gap)]


def _of_nearest(nearest: Nearest | None, num_train: int, num_test: int) -> Finding:
    """What the nearest neighbour was given, or why it was left out."""
    if nearest is None:
        text = (
            f"The nearest neighbour under dynamic time warping is no baseline here: comparing {num_test:,} test with "
            f"{num_train:,} training sequences would take far more than {WORK:.0f} seconds."
        )
        return Finding(severity="info", text=text)
    left = nearest.num_left_out
    kept = f"all {num_train:,} training sequences"
    if left:
        kept = f"{num_train - left:,} of {num_train:,} training sequences, of each class alike, to keep to {WORK:.0f} seconds"
    text = f"The nearest neighbour under dynamic time warping (band {percent(BAND)}) is a baseline; it knows {kept}."
    return Finding(severity="info", text=text)


def _cases(segments: Segments, ids_M: NDArray, cases: Cases) -> pa.Table:
    """Each sequence, and 1 for every classifier that tells it wrong, else 0."""
    wrong = {who: pa.array((~cases.right(who)).astype(np.float64)) for who in cases.probabilities}
    return pa.table(_where(segments, ids_M) | wrong)


def _where(segments: Segments, ids_M: NDArray) -> dict[str, pa.Array]:
    return where(segments, ids_M, segments.schema.times(segments.first_step[ids_M]))


def _probabilities(name: str, model: Classifier, segments: Segments, ids_M: NDArray) -> NDArray:
    found = model.class_probabilities(segments, ids_M, len(ids_M))
    if not np.isfinite(found).all():
        first = segments.series[int(ids_M[~np.isfinite(found).all(axis=1)][0])]
        raise InputError(
            f"'{name}' gives probabilities that are not finite, first for '{first}'; "
            "train again with a lower train.learning_rate or train.clip_norm"
        )
    return found


def _against(name: str, cases: Cases) -> tuple[Finding, str, float | None]:
    """The policy against the best baseline: a finding, the stage's summary, and the share of the baseline's shortfall
    in macro F1 that is gone (None where the baseline is perfect)."""
    mine, other, said = cases.macro_f1(POLICY), cases.macro_f1(cases.rival), called(cases.rival)
    p = paired_p(cases.right(POLICY), cases.right(cases.rival))
    gain = 1 - (1 - mine) / (1 - other) if other < 1 else None
    side = "above" if mine > other else "below" if mine < other else "the same as"
    accuracy = [percent(cases.metrics[who]["accuracy"] or 0.0) for who in (POLICY, cases.rival)]
    text = (
        f"On {len(cases):,} test sequences the policy of '{name}' has macro F1 {mine:.3f}, {side} the {said}'s {other:.3f}, "
        f"the best baseline; accuracy {accuracy[0]} against {accuracy[1]}."
    )
    sure = ""
    if gain:
        what = (
            "of what it lacks to a perfect macro F1 is gained" if gain > 0 else "more is lacking to a perfect macro F1"
        )
        sure = f" Against it {percent(abs(gain))} {what}."
    if accuracy[0] != accuracy[1]:
        sure += f" A difference in accuracy this large has p = {p:.2g} if both are equally good (McNemar's exact test)."
    if mine < other:
        advice = f"Serve the {said} instead, or train longer, with more model.dropout or several tune.trials."
        return Finding(severity="warning", text=text + sure, advice=advice), text, gain
    advice = "" if p < patterns.CHANCE else f"Bring more test sequences before trusting the policy over the {said}."
    return Finding(severity="advice" if advice else "info", text=text + sure, advice=advice), text, gain
