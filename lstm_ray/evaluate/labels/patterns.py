"""Where a run that labels steps errs, and how it stands to the best baseline: sentences, and what depends on what a label
is. Knows answers; knows no model.

Legend: M steps, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.schema import Scaler
from lstm_ray.evaluate.classes import patterns
from lstm_ray.evaluate.classes.cases import Cases
from lstm_ray.evaluate.classes.clocks import by_clocks
from lstm_ray.evaluate.classes.figures import beside_figures, error_figures
from lstm_ray.evaluate.labels.figures import Answers, by_level, value_error_figures
from lstm_ray.evaluate.labels.metrics import label_metrics, value_scores
from lstm_ray.evaluate.labels.segments import SegmentSums, segment_sums
from lstm_ray.evaluate.names import POLICY, metric
from lstm_ray.evaluate.skill import CONFIDENCE, Skill
from lstm_ray.evaluate.words import called, number, percent
from lstm_ray.figure import Figure
from lstm_ray.run_dir import Finding

MOST_SERIES = 100
"""Rows of the table of series."""
Metrics = Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True)
class Race:
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
        low, high = self.gain.interval if self.gain.value >= 0 else (-self.gain.interval[1], -self.gain.interval[0])
        return f" ({percent(CONFIDENCE)} interval {percent(low)} to {percent(high)}, over blocks of time)"


def compared(race: Race, label: str) -> tuple[Finding, str]:
    """The policy against the best baseline: a finding, and the stage's summary."""
    said = called(race.rival)
    metric, words = ("macro_f1", "macro F1") if race.unit == "classes" else ("mae", "mean absolute error")
    mine, other = race.metrics[POLICY][metric] or 0.0, race.metrics[race.rival][metric] or 0.0
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


@dataclass(frozen=True)
class OfKind:
    """What depends on what a label is."""

    scaled: dict[str, float | None]
    beside: list[Finding]
    beside_figures: list[Figure]
    errors: list[Finding]
    error_figures: list[Figure]
    tables: list[dict[str, Any]]
    details: dict[str, Any]


def cases_of(seen: Answers, taught_K: NDArray) -> Cases:
    """Labels that are classes, as classes of cases.

    Args:
        taught_K: labelled steps of each class in the training part.
    """
    return Cases(
        classes=seen.segments.schema.classes,
        unit="steps",
        label_M=seen.label_M.astype(np.int64),
        probabilities=seen.answers,
        step_M=seen.segments.steps(seen.rows),
        schema=seen.segments.schema,
        taught_K=taught_K,
    )


def of_classes(
    seen: Answers, cases: Cases, stretches_of: Mapping[str, SegmentSums], validation: tuple[NDArray, NDArray]
) -> OfKind:
    """
    Args:
        stretches_of: by model.
        validation: the policy's answers there, and their rows.
    """
    segments = seen.segments
    assert segments.label_R is not None, "task label has labels"
    clocks = by_clocks(cases.local_times, {who: seen.error(who) for who in (POLICY, cases.rival)})
    errors = [*patterns.findings(cases), *patterns.by_clock(cases, clocks)]
    answer_MK, rows = validation
    if len(cases.classes) == 2 and len(rows):
        advice = patterns.threshold(cases, answer_MK[:, 1], segments.label_R[rows].astype(np.int64))
        errors += [advice] if advice else []
    details = {
        "confusion": {"classes": cases.classes, "rows_are_truth": cases.sums[POLICY].confusion_KK.tolist()},
        "by_class": cases.sums[POLICY].by_class(),
        "segment_f1_by_overlap": {who: sums.f1() for who, sums in stretches_of.items()},
        "by_series": {POLICY: seen.error_by_series(POLICY)},
    }
    beside = [*patterns.absent(cases), _ofstretches_told(stretches_of, cases.rival)]
    return OfKind(
        {}, beside, beside_figures(cases), errors, error_figures(cases, clocks), [patterns.by_class(cases)], details
    )


def stretches_told(seen: Answers, name: str) -> SegmentSums:
    told_M = seen.answers[name].argmax(axis=1)
    return segment_sums(told_M, seen.label_M.astype(np.int64), seen.rows, seen.segments.series_of(seen.rows))


def _ofstretches_told(stretches_of: Mapping[str, SegmentSums], rival: str) -> Finding:
    """Whether the policy finds stretches, not steps alone."""
    mine, other = stretches_of[POLICY], stretches_of[rival]
    said = {who: sums.f1()["50"] or 0.0 for who, sums in ((POLICY, mine), (rival, other))}
    text = (
        f"Of {mine.true:,} true stretches of one class {mine.matched[-1]:,} are found with half their union or more in common, "
        f"among {mine.told:,} told: segment F1 {said[POLICY]:.3f}, the {called(rival)}'s {said[rival]:.3f}."
    )
    torn = mine.told > 2 * mine.true
    advice = (
        "The answers flicker: smooth them over neighbouring steps (a median filter) before counting events."
        if torn
        else ""
    )
    return Finding(severity="advice" if torn else "info", text=text, advice=advice)


def of_values(seen: Answers, race: Race, scaler: Scaler) -> OfKind:
    assert scaler.label is not None
    deviation = np.asarray(scaler.label.deviation)
    scaled = {who: value_scores(answer, seen.label_M).scaled(deviation) for who, answer in seen.answers.items()}
    clocks = by_clocks(seen.local_times(), {who: seen.error(who) for who in (POLICY, race.rival)})
    errors = [_bias(race), *_of_levels(seen)]
    if clocks:
        shown = max(clocks, key=lambda one: np.ptp(one.error_G[POLICY]))
        best, worst = shown.extremes(POLICY)
        text = (
            f"By {shown.clock}, errors are largest {shown.when(worst)} (mean absolute error "
            f"{number(shown.error_G[POLICY][worst])}) and smallest {shown.when(best)} "
            f"({number(shown.error_G[POLICY][best])})."
        )
        errors.append(Finding(severity="info", text=text))
    details = {
        "by_series": {POLICY: seen.error_by_series(POLICY)},
        "baselines_scaled": {who: values for who, values in scaled.items() if who != POLICY},
    }
    return OfKind(scaled[POLICY], by_rmse(race), [], errors, value_error_figures(seen, race.rival, clocks), [], details)


def by_rmse(race: Race) -> list[Finding]:
    """Where large errors tell another story than the average one."""
    rmse = {who: values["rmse"] or 0.0 for who, values in race.metrics.items()}
    best = min((who for who in rmse if who != POLICY), key=lambda who: rmse[who])
    mae = {who: values["mae"] or 0.0 for who, values in race.metrics.items()}
    if (rmse[POLICY] < rmse[best]) == (mae[POLICY] < mae[race.rival]):
        return []
    ahead = rmse[POLICY] < rmse[best]
    text = (
        f"By the root mean squared error, which large errors rule, it is the other way round: {number(rmse[POLICY])} for the "
        f"policy, {number(rmse[best])} for the {called(best)}."
    )
    advice = "" if ahead else "Where large errors cost most, train with train.loss: mse, or serve the other."
    return [Finding(severity="info" if ahead else "advice", text=text, advice=advice)]


def _bias(race: Race) -> Finding:
    bias, mae = (race.metrics[POLICY][name] or 0.0 for name in ("bias", "mae"))
    lopsided = abs(bias) > mae / 2
    text = f"On average the policy's labels lie {number(abs(bias))} {'above' if bias > 0 else 'below'} the true ones."
    advice = "Look for a change between the training and the test part, or train on newer data." if lopsided else ""
    return Finding(severity="advice" if lopsided else "info", text=text, advice=advice)


def _of_levels(seen: Answers) -> list[Finding]:
    found = by_level(seen, [POLICY])
    if found is None:
        return []
    bias_G = found.bias_G[POLICY]
    worst = int(np.abs(bias_G).argmax())
    text = (
        f"By the true value, labels are most one-sided where it is {found.names[worst]}: told {number(abs(bias_G[worst]))} too "
        f"{'high' if bias_G[worst] > 0 else 'low'} on average."
    )
    return [Finding(severity="info", text=text)]


def worst_series(seen: Answers, rival: str) -> list[Finding]:
    mine, other = seen.error_by_series(POLICY), seen.error_by_series(rival)
    if len(mine) < 2:
        return []
    worst = max(mine, key=lambda name: mine[name])
    behind = [name for name in mine if mine[name] > other[name]]
    form, what = (percent, "of its steps wrong") if seen.segments.schema.classes else (number, "mean absolute error")
    text = f"The series told worst is '{worst}' ({form(mine[worst])} {what}; the {called(rival)} {form(other[worst])})."
    stands = f"is behind the {called(rival)} on {len(behind):,} of {len(mine):,} series{_such(behind)}"
    if not behind:
        stands = f"is behind the {called(rival)} on none of the {len(mine):,} series"
    return [Finding(severity="info", text=f"{text} The policy {stands}.")]


def by_series(seen: Answers, rival: str) -> dict[str, Any]:
    """A table of each series' scores, those told worst first, the rival's error beside the policy's."""
    classes = seen.segments.schema.classes
    names = ["accuracy", "macro_f1"] if classes else ["mae", "rmse", "bias", "wape", "r2"]
    own = names[0]
    held, error = seen.by_series(), seen.error_by_series(POLICY)
    rows = []
    for series in sorted(error, key=lambda name: -error[name])[:MOST_SERIES]:
        chosen = held[series]
        mine, other = (
            label_metrics(seen.answers[who][chosen], seen.label_M[chosen], seen.segments.schema)
            for who in (POLICY, rival)
        )
        rows.append([series, len(chosen), *(mine[name] for name in names), other[own]])
    labels = [metric(name).label for name in names]
    cut = f" The {MOST_SERIES} told worst of {len(held):,}." if len(held) > MOST_SERIES else ""
    return {
        "title": "Series by series",
        "columns": ["series", "labelled steps", *labels, f"{metric(own).label} of {called(rival)}"],
        "rows": rows,
        "caption": f"The policy on each series of the test part.{cut}",
    }


def _such(names: list[str]) -> str:
    if not names:
        return ""
    return (
        f", such as {', '.join(repr(name) for name in names[:3])}"
        if len(names) > 3
        else f": {', '.join(map(repr, names))}"
    )
