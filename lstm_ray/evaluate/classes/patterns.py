"""Where a classifier errs, in sentences. Knows its answers; knows no model.

Legend: M cases, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.evaluate.classes.cases import Cases
from lstm_ray.evaluate.classes.clocks import ByClock
from lstm_ray.evaluate.classes.metrics import class_sums
from lstm_ray.evaluate.names import POLICY
from lstm_ray.evaluate.words import called, number, percent
from lstm_ray.run_dir import Finding

UNCALIBRATED, LOW_RECALL, CHANCE = 0.1, 0.5, 0.05
"""Beyond these a finding comes with advice: calibration error, recall, and the p-value of a difference."""
NUM_PAIRS = 3
"""Confusions that have a sentence."""
SURE = 0.9
"""A mistake is sure where its probability is at least this."""
WORTH = 0.01
"""A threshold that gains less macro F1 on the validation part is not worth a change."""


def findings(cases: Cases) -> list[Finding]:
    """Confusions, recall by class, calibration and sure mistakes."""
    return [*confusions(cases), recall(cases), calibration(cases), *sure_mistakes(cases)]


def absent(cases: Cases) -> list[Finding]:
    """Classes of which the test part or the training part has none, and what cannot be said of them."""
    count_K = cases.sums[POLICY].confusion_KK.sum(axis=1)
    missing = [name for name, count in zip(cases.classes, count_K, strict=True) if not count]
    found = []
    if len(missing) == len(cases.classes) - 1:
        only = cases.classes[int(count_K.argmax())]
        text = (
            f"All {len(cases):,} test {cases.unit} are '{only}', so ROC AUC and PR AUC are undefined: nothing shows how well "
            f"'{only}' is told from {_names(missing)}, and accuracy is just the recall of '{only}'."
        )
        found.append(Finding(severity="warning", text=text, advice="Move the split so that the test part has both."))
    elif missing:
        text = (
            f"The test part has no {cases.unit} of {_names(missing)}: recall and AUC of {_it(missing)} are undefined, and the "
            "averages over classes leave them out."
        )
        found.append(Finding(severity="warning", text=text, advice="Enlarge split.test before trusting the averages."))
    untaught = [name for name, count in zip(cases.classes, cases.taught_K, strict=True) if not count]
    if untaught:
        told = sum(int(count_K[cases.classes.index(name)]) for name in untaught)
        text = (
            f"The training part has no {cases.unit} of {_names(untaught)}, so no model could learn {_it(untaught)}; the test "
            f"part has {told:,}."
        )
        advice = "Enlarge split.train, or deal the parts so that each has every class (split.by: group)."
        found.append(Finding(severity="warning", text=text, advice=advice))
    return found


def confusions(cases: Cases) -> list[Finding]:
    """The commonest pairs of what was and what was said, one sentence each."""
    confusion = cases.sums[POLICY].confusion_KK
    mistakes = confusion - np.diag(np.diag(confusion))
    if not mistakes.sum():
        text = f"The policy tells all {len(cases):,} test {cases.unit} right."
        return [Finding(severity="info", text=text)]
    order = [int(i) for i in np.argsort(-mistakes, axis=None, kind="stable")[:NUM_PAIRS] if mistakes.flat[i]]
    found = []
    for rank, place in enumerate(order):
        truth, guess = divmod(place, len(cases.classes))
        number_of, of_class = int(mistakes[truth, guess]), int(confusion[truth].sum())
        start = "The commonest mistake is" if rank == 0 else "Next comes" if rank == 1 else "Then comes"
        text = (
            f"{start} '{cases.classes[truth]}' taken for '{cases.classes[guess]}': {number_of:,} of {of_class:,} "
            f"'{cases.classes[truth]}' ({percent(number_of / of_class)}), and {percent(number_of / mistakes.sum())} of all "
            "mistakes."
        )
        back = int(mistakes[guess, truth])
        if rank == 0 and len(cases.classes) > 2:
            text += f" The other way round it happens {back:,} times."
        found.append(Finding(severity="info", text=text))
    return found


def recall(cases: Cases) -> Finding:
    """Share of each class that is found, beside the best baseline's."""
    mine, other = (cases.sums[who].by_class() for who in (POLICY, cases.rival))
    known = {name: value for name in cases.classes if (value := mine[name]["recall"]) is not None}
    worst = min(known, key=lambda name: known[name])
    shown = sorted(known, key=lambda name: known[name])[:5]
    said = ", ".join(
        f"'{name}' {percent(known[name])} ({percent(other[name]['recall'] or 0.0)})"
        for name in cases.classes
        if name in shown
    )
    of = "" if len(shown) == len(known) else f", the lowest of {len(known)} classes"
    text = f"Recall (the {called(cases.rival)}'s in brackets){of}: {said}."
    advice = (
        f"'{worst}' is missed more often than found: set train.class_weights: balanced, or lower the threshold for it."
    )
    low = known[worst] < LOW_RECALL
    return Finding(severity="advice" if low else "info", text=text, advice=advice if low else "")


def by_class(cases: Cases) -> dict[str, Any]:
    """A table of each class's scores, the best baseline's recall beside the policy's."""
    mine, other = (cases.sums[who].by_class() for who in (POLICY, cases.rival))
    columns = ["precision", "f1", "roc_auc", "pr_auc"]
    return {
        "title": "Class by class",
        "columns": ["class", cases.unit, "recall", "baseline's recall", "precision", "F1", "ROC AUC", "PR AUC"],
        "rows": [
            [
                name,
                int(mine[name]["support"] or 0),
                mine[name]["recall"],
                other[name]["recall"],
                *(mine[name][column] for column in columns),
            ]
            for name in cases.classes
        ],
        "caption": f"The policy on each class against all others, test part. Recall: share of its {cases.unit} that are found; "
        f"precision: share of what is called so that is. The baseline is the {called(cases.rival)}.",
    }


def calibration(cases: Cases) -> Finding:
    """Whether probabilities can be read as odds, and to which side they err."""
    sums = cases.sums[POLICY]
    gap = sums.metrics()["calibration_error"] or 0.0
    said_B, happened_B, size_B = sums.calibration()
    mean_said, mean_happened = (float((one * size_B).sum() / size_B.sum()) for one in (said_B, happened_B))
    what = f"'{cases.classes[1]}'" if len(cases.classes) == 2 else "the class it names"
    text = (
        f"Probabilities are {number(100 * gap)} percentage points from the observed frequencies on average: the policy gives "
        f"{what} {percent(mean_said)} on average, and it is so in {percent(mean_happened)}."
    )
    advice = "Do not read them as odds before recalibrating them (temperature scaling)." if gap > UNCALIBRATED else ""
    return Finding(severity="advice" if advice else "info", text=text, advice=advice)


def sure_mistakes(cases: Cases) -> list[Finding]:
    """How many mistakes were made with a probability of SURE or more."""
    wrong_M, most_M = ~cases.right(POLICY), cases.probabilities[POLICY].max(axis=1)
    sure_M = most_M >= SURE
    if not wrong_M.any() or not sure_M.any():
        return []
    both = int((wrong_M & sure_M).sum())
    text = (
        f"Of the {int(sure_M.sum()):,} {cases.unit} that the policy is sure of ({percent(SURE)} or more), {both:,} are wrong "
        f"({percent(both / sure_M.sum())}); of the others {percent(float(wrong_M[~sure_M].mean()))}."
        if (~sure_M).any()
        else f"The policy is sure of all {cases.unit} ({percent(SURE)} or more), and {both:,} are wrong."
    )
    return [Finding(severity="info", text=text)]


def by_clock(cases: Cases, found: list[ByClock]) -> list[Finding]:
    """By the clock by which mistakes are most uneven: when they are commonest, and whether that is more than chance."""
    if not found:
        return []
    shown = min(found, key=lambda one: one.p)
    best, worst = shown.extremes(POLICY)
    error_G = shown.error_G[POLICY]
    text = (
        f"By {shown.clock}, mistakes are commonest {shown.when(worst)} ({percent(error_G[worst])} of "
        f"{shown.count_G[worst]:,} {cases.unit}) and rarest {shown.when(best)} ({percent(error_G[best])} of "
        f"{shown.count_G[best]:,})"
    )
    if cases.unit == "steps":
        return [Finding(severity="info", text=f"{text}.")]
    chance = min(1.0, shown.p * len(found))
    sure = "more than chance" if chance < CHANCE else "no more than chance"
    return [Finding(severity="info", text=f"{text}: {sure} (chi-squared test over times, p = {chance:.2g}).")]


def threshold(cases: Cases, probability_M: NDArray, label_M: NDArray) -> Finding | None:
    """For two classes: from which probability on to call a case the second, by macro F1 on the validation part, and what
    that gives on the test part. None where the validation part cannot tell.

    Args:
        probability_M: of the second class, over the validation part.
        label_M: the true class there.
    """
    if len(np.unique(label_M)) < 2:
        return None
    best = best_threshold(probability_M, label_M)
    before, after = (_macro_f1(probability_M, label_M, at) for at in (0.5, best))
    second = cases.probabilities[POLICY][:, 1]
    told_before, told_after = (_macro_f1(second, cases.label_M, at) for at in (0.5, best))
    classes, unit = cases.classes, cases.unit
    if after - before < WORTH:
        text = (
            f"Calling {unit} '{classes[1]}' from a probability of 50 % on is as good as any threshold: the best on the "
            f"validation part, {percent(best)}, has macro F1 {after:.3f} there instead of {before:.3f}."
        )
        return Finding(severity="info", text=text)
    text = (
        f"Called '{classes[1]}' from a probability of {percent(best)} on instead of 50 %, as is best on the validation part "
        f"(macro F1 {after:.3f} instead of {before:.3f}), the test part has macro F1 {told_after:.3f} instead of "
        f"{told_before:.3f}."
    )
    advice = f"Where both classes matter alike, call a case '{classes[1]}' from {percent(best)} on."
    return Finding(severity="advice", text=text, advice=advice)


def best_threshold(probability_M: NDArray, label_M: NDArray) -> float:
    """The threshold on the second class's probability with the best macro F1: half-way between two neighbouring
    probabilities, of equally good ones the nearest to a half."""
    value_N, of_M = np.unique(np.asarray(probability_M, dtype=np.float64), return_inverse=True)
    positive_N = np.bincount(of_M, label_M)
    other_N = np.bincount(of_M) - positive_N
    # Taken for the first class: all below the threshold; threshold n lies between values n - 1 and n.
    hits_second = positive_N.sum() - np.concatenate([[0], np.cumsum(positive_N)])
    hits_first = np.concatenate([[0], np.cumsum(other_N)])
    said_second = len(label_M) - np.concatenate([[0], np.cumsum(other_N + positive_N)])
    f1_second = 2 * hits_second / np.maximum(said_second + positive_N.sum(), 1)
    f1_first = 2 * hits_first / np.maximum(len(label_M) - said_second + other_N.sum(), 1)
    edge_N = np.concatenate([[0.0], (value_N[1:] + value_N[:-1]) / 2, [1.0]])
    score_N = f1_first + f1_second
    best = np.flatnonzero(score_N >= score_N.max() - 1e-12)
    return float(edge_N[best[np.abs(edge_N[best] - 0.5).argmin()]])


def _macro_f1(probability_M: NDArray, label_M: NDArray, threshold: float) -> float:
    said = (probability_M >= threshold).astype(np.float64)
    return class_sums(np.stack([1 - said, said], axis=1), label_M, ["first", "second"]).metrics()["macro_f1"] or 0.0


def _names(names: list[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _it(names: list[str]) -> str:
    return "it" if len(names) == 1 else "them"
