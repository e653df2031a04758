"""How values are distributed, and whether later parts look like the training part. Knows nothing of order in a part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import ks_2samp, wasserstein_distance

from lstm_ray.data.parts import PARTS
from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.explore.analysis import CLIPPED, Analysis, advise, counted, named, number
from lstm_ray.explore.pictures import overlay
from lstm_ray.figure import Figure, bars, plain

PSI_BINS = 10
MOVED, DRIFTED = 0.1, 0.25
"""Population stability index of a small move and of a drift (Siddiqi, Credit Risk Scorecards, 2006)."""
HISTOGRAM_BINS = 40
KS_VALUES = 50_000
"""Values of each side the two-sample distances look at: thinned once sorted, so that no season aliases."""
FEWEST_VALUES = 8
MOST_COMPARED, MOST_STRETCHES = 6, 6
"""Drifts that are held against stretches of the training part, and how many stretches."""
SKEWED = 2.0


def distribution(
    frame: pl.DataFrame, columns: Sequence[str], judged: Sequence[str], normalisation: str = "auto"
) -> Analysis:
    """Shape of every column, and its drift from the training part to validation and test.

    Args:
        frame: with the column ``part`` of ``with_parts``.
        columns: what is described.
        judged: the targets, whose shape and drift deserve a warning; the others are inputs.
        normalisation: as configured: what would be changed where targets drift.

    Tables: ``distribution`` (one row a column), ``drift`` (column, part, ks, wasserstein_deviations, psi, usual_psi, means).
    There are no p-values: they assume independent values, and neighbours in time are not. What stands in for them is
    ``usual_psi``: how far stretches of the training part, as long as the later part, lie from the rest of it.
    """
    shapes, drift = [], []
    for column in columns:
        if frame[column].count():
            shapes.append(_shape(frame, column))
        drift += [row for part in PARTS[1:] if (row := _drift(frame, column, part)) is not None]
    _compare_with_usual(frame, drift, judged)
    result = Analysis(tables={"distribution": shapes, "drift": drift})
    candidates = [row for row in drift if row["column"] in judged or not judged]
    shown = max(candidates, key=lambda row: row["psi"], default=None)
    if shown is not None:
        result.figures.append(_histograms(frame, shown))
        result.figures.append(_drift_bars(drift, columns))
    _say_drift(result, drift, judged, normalisation)
    _say_skewed(result, [row for row in shapes if row["column"] in judged])
    return result


def psi(train: NDArray, later: NDArray) -> float:
    """Population stability index: sum of (q - p) ln(q / p) over bins that hold a tenth of the training values each."""
    edges = np.unique(np.quantile(train, np.linspace(0, 1, PSI_BINS + 1)[1:-1]))
    if len(edges) == 1:
        edges = np.array([edges[0], np.nextafter(edges[0], np.inf)])
    # Half a value in every bin keeps an empty one finite.
    shares = [
        (np.bincount(np.searchsorted(edges, side, side="right"), minlength=len(edges) + 1) + 0.5)
        / (len(side) + 0.5 * (len(edges) + 1))
        for side in (train, later)
    ]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def _values(frame: pl.DataFrame, column: str, part: str) -> NDArray:
    return frame.filter(pl.col("part") == part)[column].drop_nulls().to_numpy()


def _drift(frame: pl.DataFrame, column: str, part: str) -> dict[str, Any] | None:
    """Training part against a later one, of the series that have values in both; None where a side has few values.

    Each series is scaled by its own training mean and deviation and weighs the same in the means that are shown, for
    otherwise series that end early, or start late, would look like a drift. Labelled sequences lie in one part each, so
    they are pooled.
    """
    seen = frame.select(SERIES, "part", value=pl.col(column)).drop_nulls().filter(pl.col("part").is_in(["train", part]))
    both = seen.filter(pl.col("part").n_unique().over(SERIES) == 2)
    seen = both if both.height else seen.with_columns(pl.lit("pooled").alias(SERIES))
    value = pl.col("value")
    sides = seen.group_by(SERIES, "part").agg(mean=value.mean(), deviation=value.std(ddof=0))
    by_part = sides.group_by("part").agg(pl.col("mean", "deviation").mean())
    means = {name: (mean, deviation) for name, mean, deviation in by_part.iter_rows()}
    if len(means) < 2:
        return None
    training = sides.filter(pl.col("part") == "train").select(SERIES, "mean", "deviation")
    # A series that stood still in training has no scale; its own units stand in.
    scale = pl.when(pl.col("deviation") > 1e-12 * (pl.col("mean").abs() + 1)).then("deviation").otherwise(1.0)
    scaled = seen.join(training, on=SERIES).select("part", value=(value - pl.col("mean")) / scale)
    train, later = (scaled.filter(pl.col("part") == name)["value"].to_numpy() for name in ("train", part))
    if min(len(train), len(later)) < FEWEST_VALUES:
        return None
    some_train, some_later = (np.sort(side)[:: -(-len(side) // KS_VALUES)] for side in (train, later))
    return {
        "column": column,
        "part": part,
        "ks": float(ks_2samp(some_train, some_later, method="asymp").statistic),
        "wasserstein_deviations": float(wasserstein_distance(some_train, some_later)),
        "psi": psi(train, later),
        "train_mean": means["train"][0],
        "mean": means[part][0],
        "train_deviation": means["train"][1],
        "deviation": means[part][1],
    }


def _compare_with_usual(frame: pl.DataFrame, drift: list[dict[str, Any]], judged: Sequence[str]) -> None:
    """Adds ``usual_psi`` to rows that moved, of the targets and of the inputs that moved most; None where it is unknown."""
    for row in drift:
        row["usual_psi"] = None
    moved = sorted(
        (row for row in drift if row["psi"] >= MOVED), key=lambda row: (row["column"] not in judged, -row["psi"])
    )
    for row in moved[:MOST_COMPARED]:
        spans = {
            part: frame.filter(pl.col("part") == part).select(pl.col(TIME).cast(pl.Int64)).to_series()
            for part in ("train", row["part"])
        }
        first, last = int(spans["train"].min()), int(spans["train"].max())  # type: ignore[arg-type]
        length = int(spans[row["part"]].max()) - int(spans[row["part"]].min())  # type: ignore[arg-type]
        # Sequences that all start at the same time have no stretches.
        number = (last - first) // length if length else 0
        if not number >= 2:
            continue
        train = frame.filter(pl.col("part") == "train")
        at = (pl.col(TIME).cast(pl.Int64) - first) // length
        found = []
        for stretch in np.unique(np.linspace(0, number - 1, min(number, MOST_STRETCHES)).round().astype(int)).tolist():
            marked = train.with_columns(part=pl.when(at == stretch).then(pl.lit("stretch")).otherwise(pl.lit("train")))
            if (one := _drift(marked, row["column"], "stretch")) is not None:
                found.append(one["psi"])
        row["usual_psi"] = max(found, default=None)


def _shape(frame: pl.DataFrame, column: str) -> dict[str, Any]:
    """Skewness, kurtosis and the farthest value are of values scaled within their series; the rest is of all together."""
    values = frame[column].drop_nulls().to_numpy()
    c = pl.col(column)
    spread = c.std().over(SERIES)
    level = c.mean().over(SERIES)
    varied = spread > 1e-9 * (level.abs() + 1e-300)
    scaled = frame.select(pl.when(varied).then((c - level) / spread)).to_series().drop_nulls().to_numpy()
    quantiles = {f"p{round(100 * q):02d}": float(np.quantile(values, q)) for q in (0.01, 0.1, 0.5, 0.9, 0.99)}
    return {
        "column": column,
        "count": len(values),
        "mean": float(values.mean()),
        "deviation": float(values.std()),
        "minimum": float(values.min()),
        "maximum": float(values.max()),
        **quantiles,
        "skewness": float((scaled**3).mean()) if len(scaled) else 0.0,
        "excess_kurtosis": float((scaled**4).mean() - 3) if len(scaled) else 0.0,
        "farthest_deviations": float(np.abs(scaled).max()) if len(scaled) else 0.0,
        "share_zero": float((values == 0).mean()),
    }


def _say_drift(result: Analysis, drift: list[dict[str, Any]], judged: Sequence[str], normalisation: str) -> None:
    worst_of: dict[str, dict[str, Any]] = {}
    for row in sorted(drift, key=lambda row: -row["psi"]):
        worst_of.setdefault(row["column"], row)
    ours = [row for column, row in worst_of.items() if column in judged]
    beyond = [row for row in ours if row["psi"] >= DRIFTED]
    wanders = [row for row in beyond if (row["usual_psi"] or 0.0) >= row["psi"]]
    drifted = [row for row in beyond if row not in wanders]
    moved = [row for row in ours if MOVED <= row["psi"] < DRIFTED]
    carry = "Levels that are taken out at each origin carry over to later parts; fixed ones do not."
    if drifted:
        usual = max((row["usual_psi"] or 0.0 for row in drifted), default=0.0)
        within_train = f" Stretches of training that long move by {usual:.2f} at most." if usual else ""
        text = f"Targets that drift away from the training part{_drift_words(drifted)}{within_train} {carry}"
        result.say("warning", text, _carried(normalisation))
    if wanders:
        usual = min(row["usual_psi"] for row in wanders)
        result.say(
            "advice" if _carried(normalisation) else "info",
            f"Targets that move from part to part no more than inside the training part{_drift_words(wanders)} Stretches of "
            f"training as long move by up to {usual:.2f}: seasons longer than a part, or wandering, and no break. {carry}",
            _carried(normalisation),
        )
    if moved and not beyond:
        result.say("info", f"Targets that move a little from the training part{_drift_words(moved)} {carry}")
    elif ours and not beyond:
        result.say("info", f"Every target keeps its distribution over time{_drift_words(ours)}")
    inputs = [row["column"] for column, row in worst_of.items() if column not in judged and row["psi"] >= DRIFTED]
    if inputs:
        worst = worst_of[inputs[0]]
        words = named([f"{column} ({worst_of[column]['psi']:.2f})" for column in inputs])
        result.say(
            "info", f"Inputs that drift away from the training part (PSI at least {DRIFTED}): {words}; {_moved(worst)}."
        )


def _carried(normalisation: str) -> str:
    """The YAML line that takes levels out at each origin, where none are."""
    return advise("model", normalisation="last") if normalisation == "none" else ""


def _drift_words(rows: list[dict[str, Any]]) -> str:
    psi_words = named([f"{row['column']} ({row['psi']:.2f})" for row in rows])
    return f" (PSI): {psi_words}; {_moved(rows[0])}."


def _moved(row: dict[str, Any]) -> str:
    return (
        f"the mean of {row['column']} goes from {number(row['train_mean'])} in training to {number(row['mean'])} in "
        f"{row['part']}, its deviation from {number(row['train_deviation'])} to {number(row['deviation'])} (KS "
        f"{row['ks']:.2f}, Wasserstein {number(row['wasserstein_deviations'])} deviations)"
    )


def _say_skewed(result: Analysis, rows: list[dict[str, Any]]) -> None:
    skewed = [row for row in rows if abs(row["skewness"]) > SKEWED]
    if not skewed:
        return
    row = max(skewed, key=lambda row: abs(row["skewness"]))
    # Clipping acts on distances from the mean of all series, which are large where series differ in scale.
    off = max(row["maximum"] - row["mean"], row["mean"] - row["minimum"])
    far = off > CLIPPED * row["deviation"] and row["farthest_deviations"] > CLIPPED
    result.say(
        "advice" if far else "info",
        f"{counted(len(skewed), 'target is', 'targets are')} skewed, {row['column']} most ({row['skewness']:.1f}): its "
        f"median is {number(row['p50'])}, its 99th percentile {number(row['p99'])}, and values go from "
        f"{number(row['minimum'])} to {number(row['maximum'])}.",
        advise("preprocess", outliers="clip") if far else "",
    )


def _histograms(frame: pl.DataFrame, row: dict[str, Any]) -> Figure:
    column = row["column"]
    values = {part: _values(frame, column, part) for part in PARTS}
    every = np.concatenate(list(values.values()))
    low, high = np.quantile(every, [0.001, 0.999])
    edges = np.linspace(low, high if high > low else low + 1.0, HISTOGRAM_BINS + 1)
    centres: list[float] = ((edges[1:] + edges[:-1]) / 2).tolist()
    traces: list[dict[str, Any]] = []
    for part, found in values.items():
        if len(found):
            counts, _ = np.histogram(np.clip(found, edges[0], edges[-1]), bins=edges)
            shape = {"type": "scatter", "mode": "lines", "line": {"shape": "hvh"}, "fill": "tozeroy", "name": part}
            traces.append({**shape, "x": plain(centres), "y": plain((100 * counts / len(found)).tolist())})
    caption = (
        f"{column} by part: mean {number(row['train_mean'])} in training, {number(row['mean'])} in {row['part']}; "
        f"PSI {row['psi']:.2f}, where {MOVED} is a small move and {DRIFTED} a drift."
    )
    return overlay("drift", f"{column}, then and now", caption, traces, x_title=column, y_title="% of values")


def _drift_bars(drift: list[dict[str, Any]], columns: Sequence[str]) -> Figure:
    by_key = {(row["column"], row["part"]): row["psi"] for row in drift}
    order = sorted(columns, key=lambda c: -max(by_key.get((c, part), 0.0) for part in PARTS[1:]))[:HISTOGRAM_BINS]
    series: dict[str, list[float]] = {
        part: [by_key.get((column, part), np.nan) for column in order] for part in PARTS[1:]
    }
    worst = max(drift, key=lambda row: row["psi"])
    caption = (
        f"Population stability index against the training part: {worst['column']} moves most, {worst['psi']:.2f} in "
        f"{worst['part']}; {MOVED} is a small move and {DRIFTED} a drift."
    )
    return bars("drift-columns", "Which columns move", caption, order, series, y_title="PSI")
