"""Scores of a classifier as counts and sums that add over batches. Knows probabilities and labels; knows no model.

Legend: M sequences, K classes, B probability bins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_ray.evaluate.classes.ranking import Ranking, ranking

NUM_BINS = 10
OF_PROBABILITIES = ("roc_auc", "pr_auc", "log_loss", "brier", "calibration_error")
"""Scores that a classifier has no claim to if it names a class without telling how likely it is."""
SMALLEST = float(np.finfo(np.float64).eps)
"""A probability of 0 for what then happened costs -log of this, not infinity (as scikit-learn's log_loss does)."""


@dataclass(frozen=True)
class ClassSums:
    """Confusion counts and loss sums. ``a + b`` is what one pass over both would have given."""

    classes: tuple[str, ...]
    confusion_KK: NDArray
    """int64, rows are the true class, columns the predicted one."""
    log_loss: float
    brier: float
    bins_KB3: NDArray
    """float64: by class and bin of its probability, how many, the sum of probabilities, how many were that class."""
    top_B3: NDArray
    """The same of the likeliest class, whichever it was."""
    rankings: tuple[Ranking, ...]
    """By class."""

    def __add__(self, other: ClassSums) -> ClassSums:
        assert self.classes == other.classes, f"classes differ: {self.classes} and {other.classes}"
        return ClassSums(
            self.classes,
            self.confusion_KK + other.confusion_KK,
            self.log_loss + other.log_loss,
            self.brier + other.brier,
            self.bins_KB3 + other.bins_KB3,
            self.top_B3 + other.top_B3,
            tuple(mine + its for mine, its in zip(self.rankings, other.rankings, strict=True)),
        )

    @property
    def count(self) -> int:
        return int(self.confusion_KK.sum())

    def metrics(self) -> dict[str, float | None]:
        """Every score; None where there is nothing to divide by.

        Classes absent from both truth and predictions are left out of averages, as in scikit-learn. roc_auc and pr_auc
        (average precision) are of the second of two classes; of more, each class against the rest, averaged over those
        that some cases are of and some are not. brier is the squared distance to the truth summed over classes, halved for
        two classes to lie in [0, 1] (Brier 1950). calibration_error is the mean gap over ten bins between how probable a
        class was said to be and how often it was (Naeini et al. 2015): the second of two, of more the likeliest.
        """
        hits, truth, predicted = self._margins()
        recall = _ratio(hits, truth)
        f1 = _ratio(2 * hits, truth + predicted)
        halves = 2 if len(self.classes) == 2 else 1
        size, confidence, correct = self._reliability().T
        found = {
            "accuracy": _ratio(hits.sum(), truth.sum()),
            "balanced_accuracy": _mean(recall),
            "macro_f1": _mean(f1),
            "weighted_f1": _ratio(np.nansum(np.where(truth > 0, f1, 0) * truth), truth.sum()),
            "roc_auc": self._area(Ranking.roc_auc),
            "pr_auc": self._area(Ranking.pr_auc),
            "log_loss": _ratio(self.log_loss, self.count),
            "brier": _ratio(self.brier / halves, self.count),
            "calibration_error": _ratio(np.abs(confidence - correct).sum(), size.sum()),
        }
        return {name: _plain(value) for name, value in found.items()}

    def by_class(self) -> dict[str, dict[str, float | None]]:
        """Scores of each class against all others, and its support; None where it never occurs (or is never predicted)."""
        hits, truth, predicted = self._margins()
        columns = {
            "precision": _ratio(hits, predicted),
            "recall": _ratio(hits, truth),
            "f1": _ratio(2 * hits, truth + predicted),
            "roc_auc": np.array([one.roc_auc() for one in self.rankings], dtype=np.float64),
            "pr_auc": np.array([one.pr_auc() for one in self.rankings], dtype=np.float64),
            "support": truth,
        }
        return {name: {k: _plain(v[i]) for k, v in columns.items()} for i, name in enumerate(self.classes)}

    def calibration(self) -> tuple[NDArray, NDArray, NDArray]:
        """What calibration_error is made from: mean probability, frequency and size of the bins that are not empty."""
        size, confidence, correct = self._reliability().T
        kept = size > 0
        return confidence[kept] / size[kept], correct[kept] / size[kept], size[kept]

    def _reliability(self) -> NDArray:
        """[B, 3]"""
        return self.bins_KB3[1] if len(self.classes) == 2 else self.top_B3

    def _area(self, area: Callable[[Ranking], float | None]) -> NDArray:
        found = [area(one) for one in (self.rankings[1:] if len(self.classes) == 2 else self.rankings)]
        return _mean(np.array(found, dtype=np.float64))

    def _margins(self) -> tuple[NDArray, NDArray, NDArray]:
        """Hits, true count and predicted count of each class."""
        return np.diag(self.confusion_KK), self.confusion_KK.sum(axis=1), self.confusion_KK.sum(axis=0)


def class_sums(probabilities_MK: NDArray, label_M: NDArray, classes: list[str]) -> ClassSums:
    """The sums of a batch. ``probabilities_MK`` rows add up to 1; ``label_M`` holds the true class's index."""
    probabilities = np.asarray(probabilities_MK, dtype=np.float64)
    num, rows = len(classes), np.arange(len(label_M))
    predicted = probabilities.argmax(axis=1) if len(label_M) else np.zeros(0, dtype=np.int64)
    confusion = np.bincount(label_M * num + predicted, minlength=num * num).reshape(num, num)
    truth = np.zeros_like(probabilities)
    truth[rows, label_M] = 1
    top = probabilities[rows, predicted], truth[rows, predicted]
    return ClassSums(
        classes=tuple(classes),
        confusion_KK=confusion,
        log_loss=float(-np.log(np.clip(probabilities[rows, label_M], SMALLEST, 1)).sum()),
        brier=float(((probabilities - truth) ** 2).sum()),
        bins_KB3=np.stack([_bins(*column) for column in zip(probabilities.T, truth.T, strict=True)]),
        top_B3=_bins(*top),
        rankings=tuple(ranking(*column) for column in zip(probabilities.T, truth.T, strict=True)),
    )


def _bins(probability_M: NDArray, happened_M: NDArray) -> NDArray:
    """[B, 3]"""
    bin_M = np.minimum((probability_M * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    weights = (np.ones_like(probability_M), probability_M, happened_M)
    return np.stack([np.bincount(bin_M, weights=weight, minlength=NUM_BINS) for weight in weights], axis=-1)


def _ratio(top: NDArray | float, bottom: NDArray | float) -> NDArray:
    bottom = np.asarray(bottom)
    return np.where(bottom == 0, np.nan, np.asarray(top) / np.where(bottom == 0, 1, bottom))


def _mean(values: NDArray) -> NDArray:
    return _ratio(np.nansum(values), np.isfinite(values).sum())


def _plain(value: NDArray | float) -> float | None:
    return float(value) if np.isfinite(value) else None
