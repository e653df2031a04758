"""The nearest training sequence by dynamic time warping, the classic bar for small sets. NumPy; knows no files.

Legend: M asked and N training sequences, X and Y their steps, P past inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.windows import Segments, chunks
from lstm_ray.evaluate.gather import cut_out_sequences

BAND = 0.1
"""How far from the diagonal a path may go, of the longer sequence (Sakoe & Chiba 1978)."""
WORK = 5.0
"""Seconds that it may take, as estimated with what follows; training sequences are left out to keep to it."""
CELL_SECONDS, INPUT_SECONDS, DIAGONAL_SECONDS = 3e-9, 0.2e-9, 20e-6
"""Of one cell of a pair's table, of each input there, and of handling a diagonal of many pairs' tables at once."""
BLOCK_CELLS = 2**18
"""Cells handled at once, so that they fit into a core's cache."""
LEAST_EACH = 10
"""With fewer training sequences of a class than this (or than it has), the neighbour is no bar."""

Group = tuple[NDArray, NDArray]
"""Sequences of the same length: their places among all, int64 [M], and their values, float32 [X, M, P]."""


@dataclass(frozen=True)
class Nearest:
    """Says what the nearest training sequence was."""

    groups: list[Group]
    """Of training sequences, by length."""
    label_N: NDArray
    num_classes: int
    mean_P: NDArray
    deviation_P: NDArray
    history: int
    num_left_out: int
    """Training sequences that were left out to keep to WORK."""

    def class_probabilities(self, segments: Segments, ids_M: NDArray, batch: int = 512) -> NDArray:
        """1 for the class of the nearest training sequence (the first of equally near ones), 0 for the others."""
        best_M, label_M = np.full(len(ids_M), np.inf), np.zeros(len(ids_M), dtype=np.int64)
        for places, asked in _by_length(segments, ids_M, self.history, self.mean_P, self.deviation_P):
            for ids_N, known in self.groups:
                for some_M, some_N in _blocks(asked, known):
                    distance_MN = dtw(asked[:, some_M], known[:, some_N])
                    nearest_M = distance_MN.argmin(axis=1)
                    distance_M, of_M = distance_MN.min(axis=1), ids_N[some_N][nearest_M]
                    here = places[some_M]
                    # float32 sums of the same numbers in other groups never tie by chance, so the first kept is enough.
                    nearer = distance_M < best_M[here]
                    best_M[here[nearer]], label_M[here[nearer]] = distance_M[nearer], self.label_N[of_M[nearer]]
        return np.eye(self.num_classes)[label_M]


def fit_nearest(segments: Segments, train_N: NDArray, asked_M: NDArray, history: int) -> Nearest | None:
    """The classifier, or None where the set is too large for it: so many pairs, or so long, that WORK leaves fewer than
    LEAST_EACH training sequences of a class.

    Args:
        train_N: sequences to learn from; of each class the same share of them is kept, spread evenly over time.
        asked_M: sequences that it will be asked about, which decide what WORK allows.
    """
    assert segments.label is not None, "task classify has labels"
    label_N = segments.label[train_N]
    share = min(1.0, WORK / max(_seconds(segments, train_N, asked_M, history), 1e-9))
    kept = []
    for code in np.unique(label_N):
        of_class = np.flatnonzero(label_N == code)
        number = len(of_class) if share == 1 else max(1, int(share * len(of_class)))
        if number < min(LEAST_EACH, len(of_class)):
            return None
        kept.append(of_class[np.linspace(0, len(of_class) - 1, number).round().astype(np.int64)])
    chosen_N = np.sort(np.concatenate(kept))
    values_RP = cut_out_sequences(segments, train_N[chosen_N], history).past_RP.astype(np.float64)
    mean_P, deviation_P = values_RP.mean(axis=0), values_RP.std(axis=0)
    deviation_P = np.where(deviation_P > 0, deviation_P, 1.0)
    groups = list(_by_length(segments, train_N[chosen_N], history, mean_P, deviation_P))
    return Nearest(
        groups,
        label_N[chosen_N],
        len(segments.schema.classes),
        mean_P,
        deviation_P,
        history,
        len(train_N) - len(chosen_N),
    )


def dtw(asked_XMP: NDArray, known_YNP: NDArray) -> NDArray:
    """Squared dynamic time warping distances of all pairs, all inputs warped together, float32 [M, N].

    Anti-diagonal by anti-diagonal, whose cells need only the two before: cell (x, y) costs the squared distance of the two
    steps and adds it to the least of its three neighbours before. A path may leave the line from corner to corner by
    ``radius`` steps of the longer sequence.
    """
    if len(asked_XMP) > len(known_YNP):
        return dtw(known_YNP, asked_XMP).T
    X, M, _ = asked_XMP.shape
    Y, N, _ = known_YNP.shape
    # (a - b)^2 = a^2 - 2ab + b^2 as one product of matrices.
    square_XM, square_YN = (np.square(one).sum(axis=2)[..., None] for one in (asked_XMP, known_YNP))
    left_XMP = np.concatenate([asked_XMP, square_XM, np.ones_like(square_XM)], axis=2)
    right_YPN = np.concatenate([-2 * known_YNP, np.ones_like(square_YN), square_YN], axis=2).transpose(0, 2, 1)
    slope, width = _slope(X, Y), radius(X, Y)
    # Cell (x, d - x) of diagonal d stands at x + 1; what lies beside the band is infinite.
    before, last, now = (np.full((X + 1, M, N), np.inf, dtype=np.float32) for _ in range(3))
    last[0] = 0
    for d in range(X + Y - 1):
        first = max(0, d - Y + 1, ceil((d - width) / (slope + 1) - 1e-9))
        end = min(X - 1, d, int((d + width) / (slope + 1) + 1e-9)) + 1
        cost = np.matmul(left_XMP[first:end], right_YPN[d - end + 1 : d - first + 1][::-1])
        np.maximum(cost, 0, out=cost)
        cells = now[first + 1 : end + 1]
        np.minimum(last[first:end], last[first + 1 : end + 1], out=cells)
        np.minimum(cells, before[first:end], out=cells)
        cells += cost
        now[first] = np.inf
        if end < X:
            now[end + 1] = np.inf
        if d == 0:
            last[0] = np.inf
        before, last, now = last, now, before
    return last[X]


def radius(short: int, long: int) -> int:
    """Steps of the longer sequence by which a path may leave the line from corner to corner; enough for it to have one."""
    return max(ceil(BAND * long), ceil(_slope(short, long)))


def _slope(short: int, long: int) -> float:
    return (long - 1) / max(short - 1, 1)


def _by_length(
    segments: Segments, ids_M: NDArray, history: int, mean_P: NDArray, deviation_P: NDArray
) -> Iterator[Group]:
    cut = cut_out_sequences(segments, ids_M, history)
    values_RP = ((cut.past_RP - mean_P) / deviation_P).astype(np.float32)
    length_M = np.diff(cut.bounds)
    for length in np.unique(length_M):
        places = np.flatnonzero(length_M == length)
        yield places, values_RP[cut.bounds[places] + np.arange(length)[:, None]]


def _blocks(asked_XMP: NDArray, known_YNP: NDArray) -> Iterator[tuple[NDArray, NDArray]]:
    """Places of asked and of known sequences whose tables fit into BLOCK_CELLS."""
    (X, M, _), (Y, N, _) = asked_XMP.shape, known_YNP.shape
    pairs = max(1, BLOCK_CELLS // _cells_of_diagonal(X, Y))
    columns = min(N, max(1, int(pairs**0.5)))
    for some_M in chunks(np.arange(M), max(1, pairs // columns)):
        for some_N in chunks(np.arange(N), columns):
            yield some_M, some_N


def _cells_of_diagonal(X: int, Y: int) -> int:
    short, long = min(X, Y), max(X, Y)
    return min(short, int(2 * radius(short, long) / (_slope(short, long) + 1)) + 1)


def _seconds(segments: Segments, train_N: NDArray, asked_M: NDArray, history: int) -> float:
    """An estimate of what all pairs take on one core."""
    lengths = [
        np.unique(np.minimum(np.diff(segments.bounds)[ids], history), return_counts=True) for ids in (train_N, asked_M)
    ]
    each = CELL_SECONDS + INPUT_SECONDS * segments.past_RP.shape[1]
    total = 0.0
    for X, M in zip(*lengths[1], strict=True):
        for Y, N in zip(*lengths[0], strict=True):
            diagonals, cells = int(X + Y), _cells_of_diagonal(int(X), int(Y))
            blocks = max(1.0, M * N * cells / BLOCK_CELLS)
            total += diagonals * (blocks * DIAGONAL_SECONDS + M * N * cells * each)
    return total
