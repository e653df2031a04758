"""A classifier's scores as figures. Knows its answers; knows no model.

Legend: M cases, K classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lstm_ray.evaluate.classes.cases import Cases
from lstm_ray.evaluate.classes.clocks import ByClock
from lstm_ray.evaluate.classes.metrics import ClassSums
from lstm_ray.evaluate.classes.ranking import Ranking
from lstm_ray.evaluate.names import POLICY
from lstm_ray.evaluate.words import called, number, percent
from lstm_ray.figure import Figure, bars, heatmap, line, lines

SHOWN_CASES = 1000
"""Points of the figure over time; more are thinned evenly."""
CURVE_POINTS = 150
"""Of a curve over all thresholds."""
MOST_CURVES = 5
"""Of more than two classes, those with the lowest areas are drawn."""
LEAST_DRAWN = 5
"""Cases that a point of the reliability diagram has at least."""
MOST_SHARES, MOST_COUNTED = 6, 15
"""Classes up to which the confusion matrix shows its numbers with shares, and without."""


def beside_figures(cases: Cases) -> list[Figure]:
    """The policy beside its best baseline."""
    return [recall(cases), *curves(cases)]


def error_figures(cases: Cases, clocks: list[ByClock]) -> list[Figure]:
    """Where it errs, what matters most first."""
    over_time = [_over_time(cases)] if cases.unit == "sequences" else []
    return [confusion(cases), reliability(cases), *over_time, *(_by_clock(cases, one) for one in clocks)]


def rarest(sums: ClassSums) -> int:
    """Of the classes that occur, the one that does least often."""
    return int(np.argmin(np.where(sums.confusion_KK.sum(axis=1) > 0, sums.confusion_KK.sum(axis=1), np.inf)))


def confusion(cases: Cases) -> Figure:
    """What was beside what was said, as shares of each row."""
    counts_KK = cases.sums[POLICY].confusion_KK
    right, truth_K = int(np.diag(counts_KK).sum()), counts_KK.sum(axis=1)
    recall_K = np.diag(counts_KK) / np.maximum(truth_K, 1)
    some = sorted(np.flatnonzero(truth_K), key=lambda k: recall_K[k])[:3]
    found = ", ".join(f"{percent(recall_K[k])} of {truth_K[k]:,} '{cases.classes[k]}'" for k in some)
    rest = ", and more of the rest" if (truth_K > 0).sum() > len(some) else ""
    figure = heatmap(
        "confusion",
        "Confusion matrix",
        f"{right:,} of {len(cases):,} {cases.unit} are right ({percent(right / len(cases))}): {found}{rest}. Rows are what "
        "was, columns what the policy said; colours are shares of a row.",
        list(cases.classes),
        list(cases.classes),
        (counts_KK / np.maximum(truth_K, 1)[:, None]).tolist(),
        x_title="predicted",
        y_title="actual",
    )
    text = [[f"{count:,}" for count in row] for row in counts_KK.tolist()]
    if len(cases.classes) <= MOST_SHARES:
        text = [
            [f"{count} ({percent(int(of) / max(total, 1))})" for count, of in zip(row, counts, strict=True)]
            for row, counts, total in zip(text, counts_KK, truth_K, strict=True)
        ]
    shown = {"text": text, "zmin": 0, "zmax": 1}
    shown |= {"hovertemplate": "was %{y}, said %{x}: %{text}, %{z:.1%} of the row<extra></extra>"}
    shown |= {"texttemplate": "%{text}"} if len(cases.classes) <= MOST_COUNTED else {}
    return figure.model_copy(update={"traces": [figure.traces[0] | shown]})


def recall(cases: Cases) -> Figure:
    """Share of each class that is found, by the policy and by the best baseline."""
    mine, other = (cases.sums[who].by_class() for who in (POLICY, cases.rival))
    known = [name for name in cases.classes if mine[name]["recall"] is not None]
    found = {name: (mine[name]["recall"] or 0.0, other[name]["recall"] or 0.0) for name in known}
    apart = max(known, key=lambda name: abs(found[name][0] - found[name][1]))
    balanced = [number(cases.metrics[who]["balanced_accuracy"] or 0.0) for who in (POLICY, cases.rival)]
    return bars(
        "recall",
        "Recall by class",
        f"Share of each class that is found, {balanced[0]} on average against {balanced[1]}; the two differ most on '{apart}': "
        f"{percent(found[apart][0])} by the policy, {percent(found[apart][1])} by the {called(cases.rival)}.",
        known,
        {
            POLICY: [found[name][0] for name in known],
            called(cases.rival): [found[name][1] for name in known],
        },
        y_title="share found",
    )


def curves(cases: Cases) -> list[Figure]:
    """ROC and precision against recall, of the policy beside a baseline for two classes, and by class for more; none where
    the test part has one class alone."""
    by_name = _rankings(cases)
    if not by_name:
        return []
    of = f"'{cases.classes[1]}'" if len(cases.classes) == 2 else "each class against the rest"
    few = len(by_name) if len(cases.classes) > 2 else 0
    lowest = f" (the {few} with the lowest areas)" if few == MOST_CURVES else ""
    roc = {name: one.roc() for name, one in by_name.items()}
    said = ", ".join(f"{one.roc_auc():.3f} for {name}" for name, one in by_name.items())
    traces = [line(*_thinned(*xy), name) for name, xy in roc.items()]
    traces.append(line([0.0, 1.0], [0.0, 1.0], "by chance"))
    first = Figure(
        id="roc",
        title="Found against falsely alarmed",
        caption=f"ROC curve of {of}{lowest}, over all thresholds; the area is {said}. Chance has 0.5, a perfect classifier 1.",
        traces=traces,
        layout={
            "xaxis": {"title": {"text": "share of the others taken for it"}},
            "yaxis": {"title": {"text": "share found"}},
        },
    )
    said = ", ".join(f"{one.pr_auc():.3f} for {name}" for name, one in by_name.items())
    share = {name: one.num[1] / sum(one.num) for name, one in by_name.items()}
    chance = ", ".join(f"{number(value)}" for value in dict.fromkeys(share.values()))
    traces = [line(*_thinned(*one.precision_recall()), name) for name, one in by_name.items()]
    second = Figure(
        id="precision-recall",
        title="Precision against recall",
        caption=f"How much of what is called so is so, against how much of it is found, for {of}{lowest}; the area is {said}. "
        f"Chance has the share of such {cases.unit}: {chance}.",
        traces=traces,
        layout={
            "xaxis": {"title": {"text": "recall: share found"}},
            "yaxis": {"title": {"text": "precision: share that is right"}, "range": [0, 1.02]},
        },
    )
    return [first, second]


def _rankings(cases: Cases) -> dict[str, Ranking]:
    """The curves to draw: of two classes the second's by model, of more the policy's by class, those that are told worst."""
    if len(cases.classes) == 2:
        found = {called(who): cases.sums[who].rankings[1] for who in (POLICY, cases.teller)}
    else:
        found = {f"'{n}'": one for n, one in zip(cases.classes, cases.sums[POLICY].rankings, strict=True)}
    told = {name: area for name, one in found.items() if (area := one.roc_auc()) is not None}
    shown = list(told) if len(cases.classes) == 2 else sorted(told, key=lambda name: told[name])[:MOST_CURVES]
    return {name: found[name] for name in shown}


def reliability(cases: Cases) -> Figure:
    """How often it was so where it was said to be so probable, for the policy and the best baseline that tells it."""
    what = f"'{cases.classes[1]}'" if len(cases.classes) == 2 else "the class it names"
    gaps = {who: cases.metrics[who]["calibration_error"] or 0.0 for who in (POLICY, cases.teller)}
    traces = []
    for who in gaps:
        found = cases.sums[who].calibration()
        said, happened, size = (one[found[2] >= LEAST_DRAWN] for one in found)
        trace = line(said, happened, called(who), "lines+markers")
        sizes = {
            "text": [f"{int(count):,} {cases.unit}" for count in size],
            "hovertemplate": "%{x:.2f} → %{y:.2f}, %{text}",
        }
        traces.append(trace | sizes)
    traces.append(line([0.0, 1.0], [0.0, 1.0], "perfect"))
    return Figure(
        id="calibration",
        title="Can the probabilities be read as odds?",
        caption=f"Where the policy gives {what} some probability, the share that was so is {100 * gaps[POLICY]:.1f} percentage "
        f"points away on average, the {called(cases.teller)}'s {100 * gaps[cases.teller]:.1f}; below the diagonal it is too "
        f"sure of it. Points of fewer than {LEAST_DRAWN} {cases.unit} are left out.",
        traces=traces,
        layout={
            "xaxis": {"title": {"text": f"probability of {what}"}},
            "yaxis": {"title": {"text": "share that was so"}},
        },
    )


def _over_time(cases: Cases) -> Figure:
    """Each case's probability of the rarest class, by what it turned out to be."""
    shown = rarest(cases.sums[POLICY])
    name = cases.classes[shown]
    order = np.argsort(cases.step_M, kind="stable")
    order = order[:: -(-len(order) // SHOWN_CASES)]
    probability, label = cases.probabilities[POLICY][order, shown], cases.label_M[order]
    series = {
        f"was '{actual}'": np.where(label == index, probability, np.nan).tolist()
        for index, actual in enumerate(cases.classes)
        if (label == index).any()
    }
    said = (
        f"On average the policy gives '{name}' {percent(float(np.mean(probability[label == shown])))} where it was so"
    )
    elsewhere = f" and {percent(float(np.mean(probability[label != shown])))} elsewhere" if len(series) > 1 else ""
    return lines(
        "probability-over-time",
        f"Probability of '{name}' over time",
        f"{said}{elsewhere}.",
        cases.schema.times(cases.step_M[order]).tolist(),
        series,
        y_title=f"probability of '{name}'",
        mode="markers",
    )


def _by_clock(cases: Cases, found: ByClock) -> Figure:
    best, worst = found.extremes(POLICY)
    error_G = found.error_G[POLICY]
    return found.figure(
        f"Mistakes by {found.clock}",
        f"Share of {cases.unit} told wrong: from {percent(error_G[best])} ({found.names[best]}) to {percent(error_G[worst])} "
        f"({found.names[worst]}) for the policy, {percent(float((~cases.right(POLICY)).mean()))} over all.",
        "share told wrong",
    )


def _thinned(along_N: NDArray, across_N: NDArray) -> tuple[NDArray, NDArray]:
    """A curve of at most CURVE_POINTS points, evenly along it; the first axis never falls."""
    if len(along_N) <= CURVE_POINTS:
        return along_N, across_N
    way_N = np.cumsum(np.abs(np.diff(along_N, prepend=along_N[0])) + np.abs(np.diff(across_N, prepend=across_N[0])))
    kept = np.unique(np.searchsorted(way_N, np.linspace(0, way_N[-1], CURVE_POINTS)))
    return along_N[kept], across_N[kept]
