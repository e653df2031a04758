"""The test part of a run that labels steps: scores, baselines beside them, error patterns, robustness.

Knows no run directory. The policy reads every test step once, here, after it was chosen.

Legend: M steps, A answers for one step: its classes, or its value alone.
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
from lstm_ray.data.steps import class_counts, plan_part
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.evaluate import groups
from lstm_ray.evaluate.damage import robustness
from lstm_ray.evaluate.gather import Labeller
from lstm_ray.evaluate.labels.baselines import fit_label_baselines
from lstm_ray.evaluate.labels.figures import Answers, by_series, stretches
from lstm_ray.evaluate.labels.metrics import label_metrics, told
from lstm_ray.evaluate.labels.patterns import (
    Race,
    cases_of,
    compared,
    of_classes,
    of_values,
    stretches_told,
    worst_series,
)
from lstm_ray.evaluate.labels.patterns import by_series as series_table
from lstm_ray.evaluate.names import POLICY
from lstm_ray.evaluate.predictions import keep_classes, keep_values, where
from lstm_ray.evaluate.skill import Skill, skill
from lstm_ray.evaluate.told import Evaluation, Told


def evaluate_labels(
    config: Config,
    name: str,
    policy: Labeller,
    scaler: Scaler,
    segments: Segments,
    parts: Boundaries,
    out: Path | None = None,
) -> Evaluation:
    """Score a policy and the baselines on every labelled test step.

    Args:
        name: where the policy comes from, such as train.
        out: Parquet file for every step's label and what was told of it.

    Raises:
        InputError: no labelled test step, or a training part with one class.
    """
    assert segments.label_R is not None, "task label has labels"
    settings, schema = config.evaluate, segments.schema
    plan = plan_part(segments, parts, "test", config.window, config.train.origins)
    if not len(plan):
        raise InputError(
            f"no step has a label in the test part, steps {parts['test'][0]} to {parts['test'][1]}; enlarge split.test"
        )
    models: dict[str, Labeller] = {POLICY: policy, **fit_label_baselines(segments, parts, config.window)}
    best = list(models)[-1]
    found: dict[str, NDArray] = {}
    with progress.bar("evaluate", len(models) + robustness.num_measurements(settings)) as advance:
        for who, model in models.items():
            found[who], rows = told(model, segments, parts, "test", settings.batch)
            _require_finite(who, found[who], segments, rows)
            advance(who)
        damaged = {who: models[who] for who in (POLICY, best)}
        curves = robustness.label_curves(
            damaged,
            segments,
            plan,
            scaler,
            settings,
            config.seed,
            advance,
            Filling.of(config.preprocess, config.window),
        )
    seen = Answers(segments, rows, found, segments.label_R[rows])
    if out is not None:
        _keep(out, seen)
    cases = cases_of(seen, class_counts(segments, parts, "train")) if schema.classes else None
    stretches_of = {who: stretches_told(seen, who) for who in found} if schema.classes else {}
    if cases is None:
        metrics = {who: label_metrics(answer_MA, seen.label_M, schema) for who, answer_MA in found.items()}
    else:
        metrics = {who: values | {"segment_f1": stretches_of[who].f1()["50"]} for who, values in cases.metrics.items()}
    rival = _best_baseline(metrics)
    race = Race(name, rival, metrics, _gain(seen, rival, config), config.answers, len(rows))
    first, summary = compared(race, schema.label or "")
    if cases is not None:
        validation = told(policy, segments, parts, "validation", settings.batch)
        of_kind = of_classes(seen, cases, stretches_of, validation)
    else:
        of_kind = of_values(seen, race, scaler)
    interval = race.gain.interval if race.gain and not schema.classes else None
    baselines = {who: values for who, values in metrics.items() if who != POLICY}
    details = {
        "skill": None if race.gain is None else race.gain.value,
        "skill_against": rival,
        **({"skill_interval": list(interval)} if interval else {}),
    }
    beside = Told(
        "Against the baselines",
        [first, *of_kind.beside],
        [*stretches(seen, rival)[:1], *of_kind.beside_figures, *by_series(seen, rival)],
        details=details,
    )
    findings = [*of_kind.errors, *worst_series(seen, rival)]
    figures = [*of_kind.error_figures[:1], *stretches(seen, rival)[1:], *of_kind.error_figures[1:]]
    tables = [*of_kind.tables, *([series_table(seen, rival)] if len(seen.by_series()) > 1 else [])]
    return Evaluation(
        summary=summary,
        num_windows=len(rows),
        metrics=metrics[POLICY],
        baselines=baselines,
        scaled=of_kind.scaled,
        skill=None if race.gain is None else race.gain.value,
        told=[
            beside,
            Told("Where it errs", findings, figures, tables, of_kind.details),
            *_by_group(config, seen),
            robustness.told(curves, POLICY),
        ],
        cases=_cases(seen),
    )


def _by_group(config: Config, seen: Answers) -> list[Told]:
    settings, segments, is_class = config.evaluate, seen.segments, config.answers == "classes"
    if not settings.groups:
        return []
    found = groups.groupings(segments, settings.groups, config.data.series_id)
    errors = groups.Errors(
        seen.error(POLICY),
        np.ones(len(seen.rows)),
        segments.series_of(seen.rows),
        segments.steps(seen.rows),
        config.window.history,
        "share of steps told wrong" if is_class else "mean absolute error",
        "steps",
        is_share=is_class,
    )
    return [groups.told(errors, found, settings.max_gap)]


def _cases(seen: Answers) -> pa.Table:
    """Each labelled step with every model's error: 1 for a class told wrong, or the absolute error of a value."""
    return pa.table(_where(seen) | {who: pa.array(seen.error(who)) for who in seen.answers})


def _keep(out: Path, seen: Answers) -> None:
    answer_MA, classes = seen.answers[POLICY], seen.segments.schema.classes
    if classes:
        keep_classes(out, _where(seen), seen.label_M.astype(np.int64), answer_MA, classes)
    else:
        keep_values(out, _where(seen), seen.label_M, answer_MA[:, 0])


def _where(seen: Answers) -> dict[str, pa.Array]:
    return where(seen.segments, seen.segments.series_of(seen.rows), seen.segments.times(seen.rows))


def _require_finite(name: str, answer_MA: NDArray, segments: Segments, rows: NDArray) -> None:
    wrong = ~np.isfinite(answer_MA).all(axis=1)
    if wrong.any():
        first = segments.series[int(segments.series_of(rows[wrong][:1])[0])]
        raise InputError(
            f"'{name}' gives labels that are not finite, first in '{first}'; "
            "train again with a lower train.learning_rate or train.clip_norm"
        )


def _best_baseline(metrics: Mapping[str, Mapping[str, float | None]]) -> str:
    others = [who for who in metrics if who != POLICY]
    if "macro_f1" in metrics[POLICY]:
        return max(others, key=lambda who: metrics[who]["macro_f1"] or 0.0)
    return min(others, key=lambda who: metrics[who]["mae"] or 0.0)


def _gain(seen: Answers, rival: str, config: Config) -> Skill | None:
    """Neighbouring steps share what they are told from, so the interval comes from blocks of time."""
    return skill(seen.error(POLICY), seen.error(rival), seen.segments.steps(seen.rows), config.window.history)
