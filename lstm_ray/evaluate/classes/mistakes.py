"""The sequences that a classifier is most surely wrong about, drawn. Knows segments and answers; knows no model.

Legend: M sequences, P past inputs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.schema import Scaler
from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.classes.cases import Cases
from lstm_ray.evaluate.gather import cut_out_sequences
from lstm_ray.evaluate.names import POLICY
from lstm_ray.evaluate.words import percent
from lstm_ray.explore.pictures import line, panels
from lstm_ray.figure import Figure
from lstm_ray.run_dir import Finding

NUM_SHOWN, COLUMNS, MOST_INPUTS = 6, 2, 3
NAMED = 3
"""Mistakes that the sentence names."""
POINTS = 100


def surest_mistakes(
    cases: Cases, segments: Segments, ids_M: NDArray, train_M: NDArray, scaler: Scaler, history: int
) -> tuple[list[Finding], list[Figure]]:
    """A sentence and a picture of the mistakes made with the highest probability; none where all is right.

    Shown are the inputs whose means over a sequence tell the classes of the training part apart best, in training deviations.
    """
    wrong = np.flatnonzero(~cases.right(POLICY))
    if not len(wrong):
        return [], []
    sureness_M = cases.probabilities[POLICY].max(axis=1)
    shown = wrong[np.argsort(-sureness_M[wrong], kind="stable")[:NUM_SHOWN]]
    # Few sequences of many are enough to tell which inputs differ.
    some = train_M[np.unique(np.linspace(0, len(train_M) - 1, min(len(train_M), 2000)).astype(np.int64))]
    inputs = np.sort(np.argsort(-_told_apart(segments, some, history, scaler), kind="stable")[:MOST_INPUTS])
    cut = cut_out_sequences(segments, ids_M[shown], history)
    value_RP = _deviations(cut, scaler)
    cells, words = [], []
    for place, m in enumerate(shown):
        name = segments.series[int(ids_M[m])]
        rows = slice(cut.bounds[place], cut.bounds[place + 1])
        truth, said = (cases.classes[k] for k in (cases.label_M[m], cases.probabilities[POLICY][m].argmax()))
        words.append(f"'{name}' was '{truth}', said '{said}' with {percent(sureness_M[m])}")
        steps = list(range(1, rows.stop - rows.start + 1))
        traces = [line(steps, value_RP[rows, p], segments.schema.past[p], points=POINTS) for p in inputs]
        cells.append((f"{name}: '{truth}', said '{said}' {percent(sureness_M[m])}", traces))
    text = f"The surest mistakes: {'; '.join(words[:NAMED])}."
    drawn = ", ".join(segments.schema.past[p] for p in inputs)
    figure = panels(
        "surest-mistakes",
        "The surest mistakes",
        f"The {len(shown)} of {len(wrong):,} wrong sequences that the policy was surest of, in training deviations by step: "
        f"{drawn}{', the inputs whose means tell the classes apart best' if len(segments.schema.past) > len(inputs) else ''}.",
        cells,
        columns=min(COLUMNS, len(cells)),
        x_title="step of the sequence",
        same_y=True,
    )
    return [Finding(severity="info", text=text)], [_with_legend(figure, len(inputs))]


def _told_apart(segments: Segments, ids_M: NDArray, history: int, scaler: Scaler) -> NDArray:
    """Share of each input's variance over sequences, by their means, that lies between the classes, [P]."""
    assert segments.label is not None, "task classify has labels"
    cut = cut_out_sequences(segments, ids_M, history)
    mean_MP = np.add.reduceat(_deviations(cut, scaler), cut.bounds[:-1]) / np.diff(cut.bounds)[:, None]
    centred_MP = mean_MP - mean_MP.mean(axis=0)
    label_M = segments.label[ids_M]
    count_K1 = np.bincount(label_M)[:, None]
    sum_KP = np.stack([np.bincount(label_M, column) for column in centred_MP.T], axis=1)
    between_P = (sum_KP**2 / np.maximum(count_K1, 1)).sum(axis=0)
    share: NDArray = between_P / np.maximum((centred_MP**2).sum(axis=0), 1e-12)
    return share


def _deviations(segments: Segments, scaler: Scaler) -> NDArray:
    mean_P, deviation_P = np.asarray(scaler.past.mean), np.asarray(scaler.past.deviation)
    values: NDArray = (segments.past_RP - mean_P) / np.where(deviation_P > 0, deviation_P, 1)
    return values


def _with_legend(figure: Figure, num_inputs: int) -> Figure:
    """One entry for each input, as all panels have the same."""
    traces = [trace | {"showlegend": index < num_inputs} for index, trace in enumerate(figure.traces)]
    return figure.model_copy(
        update={"traces": traces, "layout": figure.layout | {"showlegend": num_inputs > 1, "legend": {"y": 1.07}}}
    )
