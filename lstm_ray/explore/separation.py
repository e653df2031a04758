"""What tells labelled sequences apart: one number of a sequence, or its course. Knows nothing of classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.feature_selection import mutual_info_classif

from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.explore.analysis import Analysis, number
from lstm_ray.figure import heatmap, lines

SUMMARIES = ["mean", "deviation", "minimum", "maximum", "first", "last"]
GIVEN_AWAY = 0.999
"""One number that ranks a class this well makes the task trivial, or is the answer in disguise."""
MOST_SEQUENCES, MOST_COLUMNS = 2000, 12
LEAST_GAIN = 0.02
"""Share of the label's uncertainty below which a summary tells nothing."""
BEYOND_CHANCE = 3.5
"""Deviations from chance: the best of a hundred summaries of noise reaches 2.7."""


def separation(frame: pl.DataFrame, columns: Sequence[str], label: str, seed: int) -> Analysis:
    """What tells the classes apart: summaries of each sequence, and the mean sequence of each class.

    Mutual information between a summary and the label is estimated from nearest neighbours (Ross, 2014) and given as a
    share of the label's entropy; the area under the ROC curve is of the class that the summary ranks best.

    Args:
        frame: rows as they came.

    Tables: ``separation`` (column, summary, information, auc, deviations_from_chance), ``mean_sequence`` (step, class, a
    mean for each column).
    """
    columns = [c for c in columns if frame[c].count()][:MOST_COLUMNS]
    if not columns or frame[label].n_unique() < 2:
        return Analysis()
    sequences = _summaries(frame, columns, label, seed)
    classes = sequences[label].to_numpy()
    features = [(column, summary) for column in columns for summary in SUMMARIES]
    values_SF = np.stack([without_holes(sequences[f"{c}\t{s}"].to_numpy()) for c, s in features], axis=1)
    information = information_of(values_SF, classes, seed)
    table: list[dict[str, Any]] = []
    for (column, summary), gain, values_S in zip(features, information, values_SF.T, strict=True):
        auc, deviations = best_auc(values_S, classes)
        row = {"column": column, "summary": summary, "information": float(gain)}
        table.append({**row, "auc": auc, "deviations_from_chance": deviations})
    table.sort(key=lambda row: -row["information"])
    means = _mean_sequences(frame, columns, label)
    result = Analysis(tables={"separation": table, "mean_sequence": means.to_dicts()})
    best_of = {column: max(r["information"] for r in table if r["column"] == column) for column in columns}
    ranked = sorted(columns, key=lambda column: -best_of[column])
    _say_separation(result, table, label)
    _information_map(result, table, ranked)
    _mean_figures(result, means, frame, ranked, label)
    return result


def _summaries(frame: pl.DataFrame, columns: Sequence[str], label: str, seed: int) -> pl.DataFrame:
    """One row a sequence, a column ``COLUMN<tab>SUMMARY`` for each summary; sampled where there are very many."""
    expressions = []
    for column in columns:
        c = pl.col(column)
        seen = c.drop_nulls()
        summaries = [c.mean(), c.std(ddof=0), c.min(), c.max(), seen.first(), seen.last()]
        expressions += [e.alias(f"{column}\t{name}") for e, name in zip(summaries, SUMMARIES, strict=True)]
    table = frame.group_by(SERIES, maintain_order=True).agg(pl.col(label).first(), *expressions)
    return table.sample(MOST_SEQUENCES, seed=seed) if table.height > MOST_SEQUENCES else table


def without_holes(values_S: NDArray) -> NDArray:
    values_S = values_S.astype(np.float64)
    holes = ~np.isfinite(values_S)
    return np.where(holes, np.median(values_S[~holes]) if not holes.all() else 0.0, values_S)


def information_of(values_SF: NDArray, classes: NDArray, seed: int) -> NDArray:
    """Mutual information with the label as a share of its entropy. Shape [F]."""
    _, indices, counts = np.unique(classes, return_inverse=True, return_counts=True)
    shares = counts / counts.sum()
    entropy = float(-(shares * np.log(shares)).sum())
    if entropy == 0 or counts.max() < 2:
        return np.zeros(values_SF.shape[1])
    return np.asarray(np.clip(mutual_info_classif(values_SF, indices, random_state=seed) / entropy, 0, 1))


def best_auc(values_S: NDArray, classes: NDArray) -> tuple[float, float]:
    """The largest area under the ROC curve of the value, or its negative, for one class against the others.

    Also how far it is from one half, in deviations that chance gives (Mann & Whitney, 1947).
    """
    ranks, best = rankdata(values_S), (0.5, 0.0)
    for name in np.unique(classes):
        ours = classes == name
        num_ours, num_others = int(ours.sum()), int((~ours).sum())
        if num_ours and num_others:
            area = (ranks[ours].sum() - num_ours * (num_ours + 1) / 2) / (num_ours * num_others)
            area = float(max(area, 1 - area))
            chance = np.sqrt((num_ours + num_others + 1) / (12 * num_ours * num_others))
            best = max(best, (area, float((area - 0.5) / chance)))
    return best


def _mean_sequences(frame: pl.DataFrame, columns: Sequence[str], label: str) -> pl.DataFrame:
    step = pl.int_range(pl.len()).over(SERIES).alias("step")
    means = frame.with_columns(step).group_by("step", pl.col(label).alias("class")).agg(pl.col(list(columns)).mean())
    return means.sort("class", "step")


def _say_separation(result: Analysis, table: list[dict[str, Any]], label: str) -> None:
    best_by_column: dict[str, dict[str, Any]] = {}
    for row in table:
        best_by_column.setdefault(row["column"], row)
    clear = [
        row
        for row in best_by_column.values()
        if row["information"] >= LEAST_GAIN and row["deviations_from_chance"] >= BEYOND_CHANCE
    ]
    if clear:
        words = ", ".join(
            f"the {row['summary']} of {row['column']} ({100 * row['information']:.1f} %, AUC {row['auc']:.2f})"
            for row in clear[:3]
        )
        result.say("info", f"What says most of '{label}', as a share of its uncertainty: {words}.")
    else:
        result.say(
            "advice",
            f"No summary of a column says more of '{label}' than chance would, or {100 * LEAST_GAIN:.0f} %: the order of "
            "values must, or nothing does.",
        )
    given = [row for row in table if row["auc"] >= GIVEN_AWAY]
    if given:
        row = max(given, key=lambda row: row["auc"])
        result.say(
            "warning",
            f"The {row['summary']} of '{row['column']}' alone ranks a class of '{label}' with AUC {row['auc']:.4f}: "
            "the task is trivial, or the column holds the answer (leakage).",
        )


def _information_map(result: Analysis, table: list[dict[str, Any]], ranked: list[str]) -> None:
    by_key = {(row["column"], row["summary"]): 100 * row["information"] for row in table}
    rows = [[by_key[column, summary] for summary in SUMMARIES] for column in reversed(ranked)]
    best = table[0]
    caption = (
        f"Share of the label's uncertainty that one number of a sequence takes away: the {best['summary']} of "
        f"{best['column']} takes most, {100 * best['information']:.1f} % (AUC {best['auc']:.2f})."
    )
    title = "What tells the classes apart"
    result.figures.append(heatmap("separation", title, caption, SUMMARIES, list(reversed(ranked)), rows))


def _mean_figures(result: Analysis, means: pl.DataFrame, frame: pl.DataFrame, ranked: list[str], label: str) -> None:
    """The mean sequence of each class in the two most telling columns, and where in it every column differs."""
    classes = means["class"].unique(maintain_order=True).to_list()
    steps = list(range(int(means["step"].max()) + 1))  # type: ignore[arg-type]
    by_class = {name: means.filter(pl.col("class") == name) for name in classes}
    for column in ranked[:2]:
        series = {name: _on_steps(rows, column, len(steps)) for name, rows in by_class.items()}
        spread = float(frame[column].std() or 0.0)  # type: ignore[arg-type]
        apart = _largest(np.ptp(np.stack(list(series.values())), axis=0))
        caption = (
            f"Mean {column} at each step of a sequence, by {label}: the classes are at most {number(apart)} apart, "
            f"where single values deviate by {number(spread)}."
        )
        shown = {name: values_T.tolist() for name, values_T in series.items()}
        figure_id = f"mean-sequence-{1 + ranked.index(column)}"
        result.figures.append(
            lines(figure_id, f"{column} by class", caption, steps, shown, x_title="step", y_title=column)
        )
    rows: dict[str, NDArray] = {}
    for column in ranked:
        spread = float(frame[column].std() or 0.0)  # type: ignore[arg-type]
        for name in classes[: 1 if len(classes) == 2 else 4]:
            others = np.stack([_on_steps(by_class[c], column, len(steps)) for c in classes if c != name])
            difference = _on_steps(by_class[name], column, len(steps)) - others.mean(axis=0)
            rows[f"{column} · {name}"] = difference / spread if spread > 0 else np.zeros(len(steps))
    where = max(rows, key=lambda key: _largest(rows[key]))
    peak = int(np.argmax(np.where(np.isfinite(rows[where]), np.abs(rows[where]), -1)))
    caption = (
        f"Mean of a class less the mean of the others, in deviations of the column: {where} differs most, "
        f"{number(float(rows[where][peak]))} at step {peak}."
    )
    names = list(reversed(rows))
    title = "Where in the sequence the classes differ"
    values = [rows[name].tolist() for name in names]
    result.figures.append(heatmap("differences", title, caption, steps, names, values, x_title="step", diverging=True))


def _largest(values_T: NDArray) -> float:
    """The largest size of a defined value; 0 where none is defined."""
    return float(np.where(np.isfinite(values_T), np.abs(values_T), 0).max())


def _on_steps(rows: pl.DataFrame, column: str, num_steps: int) -> NDArray:
    """A class's means on every step, NaN where none of its sequences is that long. Shape [T]."""
    values_T = np.full(num_steps, np.nan)
    values_T[rows["step"].to_numpy()] = rows[column].cast(pl.Float64).to_numpy()
    return values_T
