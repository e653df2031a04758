"""The test part of a run that labels steps: scores, baselines beside them, error patterns, robustness.

Knows no run directory. The policy reads every test step once, here, after it was chosen.

Legend: M steps, A answers for one step: its classes, or its value alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lstm_ray import progress
from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.quality.impute import Filling
from lstm_ray.data.schema import Scaler
from lstm_ray.data.steps import plan_part
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.evaluate.classes.evaluation import patterns
from lstm_ray.evaluate.damage import robustness
from lstm_ray.evaluate.gather import Labeller
from lstm_ray.evaluate.labels.baselines import fit_label_baselines
from lstm_ray.evaluate.labels.figures import Answers, class_label_figures, value_label_figures
from lstm_ray.evaluate.labels.metrics import class_scores, label_metrics, told, value_scores
from lstm_ray.evaluate.predictions import keep_classes, keep_values
from lstm_ray.evaluate.skill import CONFIDENCE, Skill, skill
from lstm_ray.evaluate.told import Evaluation, Told
from lstm_ray.evaluate.words import number, percent
from lstm_ray.run_dir import Finding

Metrics = Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True)
class _Race:
    """The policy beside the baseline that does best."""

    stage: str
    rival: str
    metrics: Metrics
    gain: Skill | None
    """Share of the rival's wrong steps (or of its absolute error) that is gone."""
    unit: str
    num: int

    @property
    def gap(self) -> str:
        """How sure the difference is; empty where too few blocks of time tell."""
        if self.gain is None or self.gain.interval is None:
            return ""
        low, high = self.gain.interval
        return f" ({percent(CONFIDENCE)} interval {percent(low)} to {percent(high)}, over blocks of time)"


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
    models: dict[str, Labeller] = {"policy": policy, **fit_label_baselines(segments, parts, config.window)}
    best = list(models)[-1]
    found: dict[str, NDArray] = {}
    with progress.bar("evaluate", len(models) + robustness.num_measurements(settings)) as advance:
        for who, model in models.items():
            found[who], rows = told(model, segments, parts, "test", settings.batch)
            _require_finite(who, found[who], segments, rows)
            advance(who)
        beside = {who: models[who] for who in ("policy", best)}
        curves = robustness.label_curves(
            beside, segments, plan, scaler, settings, config.seed, advance, Filling.of(config.preprocess, config.window)
        )
    seen = Answers(segments, rows, found, segments.label_R[rows])
    if out is not None:
        _keep(out, seen)
    metrics = {who: label_metrics(answer_MA, seen.label_M, schema) for who, answer_MA in found.items()}
    rival = _best_baseline(metrics)
    race = _Race(name, rival, metrics, _gain(seen, rival, config), config.answers, len(rows))
    first, summary = _finding(race, schema.label or "")
    told_apart = _of_classes(seen, rival) if schema.classes else _of_values(seen, rival, scaler)
    interval = race.gain.interval if race.gain and not schema.classes else None
    baselines = {who: values for who, values in metrics.items() if who != "policy"}
    details = {
        **told_apart.details,
        "skill": None if race.gain is None else race.gain.value,
        "skill_against": rival,
        **({"skill_interval": list(interval)} if interval else {}),
    }
    return Evaluation(
        summary=summary,
        num_windows=len(rows),
        metrics=metrics["policy"],
        baselines=baselines,
        scaled=told_apart.scaled,
        skill=None if race.gain is None else race.gain.value,
        told=[
            Told("Against the baselines", [first, *told_apart.findings], told_apart.figures, [_table(race)], details),
            robustness.told(curves, "policy"),
        ],
        cases=_cases(seen),
    )


def _cases(seen: Answers) -> pa.Table:
    """Each labelled step with every model's error: 1 for a class told wrong, or the absolute error of a value."""
    return pa.table(_where(seen) | {who: pa.array(seen.error(who)) for who in seen.answers})


def _keep(out: Path, seen: Answers) -> None:
    answer_MA, classes = seen.answers["policy"], seen.segments.schema.classes
    if classes:
        keep_classes(out, _where(seen), seen.label_M.astype(np.int64), answer_MA, classes)
    else:
        keep_values(out, _where(seen), seen.label_M, answer_MA[:, 0])


def _where(seen: Answers) -> dict[str, pa.Array]:
    return {
        "series_id": pa.array(np.asarray(seen.segments.series, dtype=np.str_)[seen.segments.series_of(seen.rows)]),
        "time": pa.array(seen.segments.times(seen.rows)),
    }


@dataclass(frozen=True)
class _OfKind:
    """What depends on what a label is."""

    scaled: dict[str, float | None]
    findings: list[Finding]
    figures: list
    details: dict


def _of_classes(seen: Answers, rival: str) -> _OfKind:
    schema = seen.segments.schema
    sums = {who: class_scores(seen.answers[who], seen.label_M, schema) for who in ("policy", rival)}
    details = {
        "confusion": {"classes": schema.classes, "rows_are_truth": sums["policy"].confusion_KK.tolist()},
        "by_class": sums["policy"].by_class(),
    }
    figures = class_label_figures(seen, sums["policy"], sums[rival], rival)
    return _OfKind({}, patterns(sums["policy"]), figures, details)


def _of_values(seen: Answers, rival: str, scaler: Scaler) -> _OfKind:
    assert scaler.label is not None
    deviation = np.asarray(scaler.label.deviation)
    scaled = {who: value_scores(answer, seen.label_M).scaled(deviation) for who, answer in seen.answers.items()}
    by_series = {name: float(seen.error("policy")[chosen].mean()) for name, chosen in seen.by_series().items()}
    mine = value_scores(seen.answers["policy"], seen.label_M).metrics()
    bias, mae = mine["bias"] or 0.0, mine["mae"] or 0.0
    lopsided = abs(bias) > mae / 2
    text = f"On average the policy's labels lie {number(abs(bias))} {'above' if bias > 0 else 'below'} the true ones."
    advice = "Look for a change between the training and the test part, or train on newer data." if lopsided else ""
    findings = [Finding(severity="advice" if lopsided else "info", text=text, advice=advice)]
    if len(by_series) > 1:
        worst = max(by_series, key=lambda name: by_series[name])
        text = f"The series told worst is '{worst}', with a mean absolute error of {number(by_series[worst])}."
        findings.append(Finding(severity="info", text=text))
    details = {
        "by_series": {"policy": by_series},
        "baselines_scaled": {who: values for who, values in scaled.items() if who != "policy"},
    }
    return _OfKind(scaled["policy"], findings, value_label_figures(seen, rival), details)


def _require_finite(name: str, answer_MA: NDArray, segments: Segments, rows: NDArray) -> None:
    wrong = ~np.isfinite(answer_MA).all(axis=1)
    if wrong.any():
        first = segments.series[int(segments.series_of(rows[wrong][:1])[0])]
        raise InputError(
            f"'{name}' gives labels that are not finite, first in '{first}'; "
            "train again with a lower train.learning_rate or train.clip_norm"
        )


def _best_baseline(metrics: Metrics) -> str:
    others = [who for who in metrics if who != "policy"]
    if "macro_f1" in metrics["policy"]:
        return max(others, key=lambda who: metrics[who]["macro_f1"] or 0.0)
    return min(others, key=lambda who: metrics[who]["mae"] or 0.0)


def _gain(seen: Answers, rival: str, config: Config) -> Skill | None:
    """Neighbouring steps share what they are told from, so the interval comes from blocks of time."""
    return skill(seen.error("policy"), seen.error(rival), seen.segments.steps(seen.rows), config.window.history)


def _finding(race: _Race, label: str) -> tuple[Finding, str]:
    """The policy against the best baseline: a finding, and the stage's summary."""
    said = race.rival.replace("_", " ")
    metric, words = ("macro_f1", "macro F1") if race.unit == "classes" else ("mae", "mean absolute error")
    mine, other = race.metrics["policy"][metric] or 0.0, race.metrics[race.rival][metric] or 0.0
    side = "above" if mine > other else "below" if mine < other else "the same as"
    text = (
        f"On {race.num:,} labelled test steps the policy of '{race.stage}' has {words} {number(mine)} of '{label}', {side} the "
        f"{said}'s {number(other)}, the best baseline."
    )
    sure = ""
    if race.gain is not None:
        what = "of its wrong steps are right" if race.unit == "classes" else "of its error is gone"
        lost = "more steps are wrong" if race.unit == "classes" else "error was added"
        told = f"{percent(race.gain.value)} {what}" if race.gain.value >= 0 else f"{percent(-race.gain.value)} {lost}"
        sure = f" Against it {told}{race.gap}."
    worse = mine < other if race.unit == "classes" else mine > other
    if worse:
        advice = f"Serve the {said} instead, or train longer, with more model.dropout or several tune.trials."
        return Finding(severity="warning", text=text + sure, advice=advice), text
    clear = race.gain is not None and race.gain.is_clear
    advice = "" if clear else f"Bring a longer test part before trusting the policy over the {said}."
    return Finding(severity="advice" if advice else "info", text=text + sure, advice=advice), text


def _table(race: _Race) -> dict[str, object]:
    names = list(race.metrics["policy"])
    rows = [
        [f"policy ({race.stage})" if who == "policy" else who.replace("_", " "), *(values[n] for n in names)]
        for who, values in race.metrics.items()
    ]
    key, sign = ("macro_f1", -1.0) if race.unit == "classes" else ("mae", 1.0)
    scores = [sign * (values[key] or 0.0) for values in race.metrics.values()]
    return {
        "title": "The policy beside its baselines, test part",
        "columns": ["labeller", *names],
        "rows": rows,
        "caption": f"All {race.num:,} labelled steps of the test part.",
        "best": int(np.argmin(scores)),
    }
