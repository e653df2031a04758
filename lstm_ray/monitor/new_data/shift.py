"""How far new data lies from the training part: column by column, and by its series and categories. Knows values, no models.

With the training part at hand, distributions are held against each other value by value; with a policy alone, by the tenths
of the training values that it carries (``drift.reference``).

Shapes: R rows, S segments, K bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp, wasserstein_distance

from lstm_ray import figure
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.steps import rows_in
from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.words import number, percent
from lstm_ray.figure import Figure
from lstm_ray.monitor.drift import distances, drift
from lstm_ray.run_dir import Finding

MOST_VALUES = 50_000
"""Values of each side that distances are told from: thinned once sorted, so that no season aliases."""
MOST_STRETCHES = 6
"""Stretches of the training part that a shift is held against."""
MORE_MISSING = 0.05
"""Share of values by which more may be missing before it is said."""
FAR_OFF = 0.5
"""KS distance from which values lie elsewhere than training's, be they few: half of them more on one side of some value."""
FIELDS = ("state", "psi", "usual_psi", "ks", "wasserstein_deviations", "moved_deviations")
Row = dict[str, Any]


def measure(
    segments: Segments,
    parts: Boundaries,
    reference: Mapping[str, Any],
    missing: Mapping[str, float],
    missing_before: Mapping[str, float],
) -> list[Row]:
    """A row for each column, the most shifted first.

    Args:
        segments: the new data is the test part of ``parts``; the training part may be there too.
        reference: what training looked like (``drift.reference``).
        missing: share of empty cells in the new table, by column; ``missing_before`` in the run's.

    Returns:
        Of each: column, values, psi, state, usual_psi (the largest of stretches of the training part that are as long as the
        new data), ks, wasserstein_deviations, mean, training_mean, deviation, training_deviation, moved_deviations,
        missing_share, missing_share_before. What cannot be told is None.
    """
    train_R, new_R = rows_in(segments, parts, "train"), rows_in(segments, parts, "test")
    has_training = bool(train_R.any())
    rows = []
    for name, values_R, there_R in _columns(segments):
        given = reference.get("columns", {}).get(name)
        new = values_R[new_R & there_R]
        if given is None or not len(new):
            continue
        train = values_R[train_R & there_R] if has_training else None
        row = _distances(given, new, train)
        if has_training and row["psi"] is not None and row["psi"] >= drift.MODERATE:
            row["usual_psi"] = _usual(values_R, train_R & there_R, segments, new_R, given)
        row |= {"missing_share": missing.get(name), "missing_share_before": missing_before.get(name)}
        rows.append({"column": name, **row})
    return sorted(rows, key=lambda row: -(row["psi"] if row["psi"] is not None else row["ks"] or 0.0))


def strangers(new: Segments, known: set[str] | None) -> dict[str, Any]:
    """New series and unseen categories: how many of the new series training did not know, None where nobody tells; and of
    each categorical column the share of series whose value training did not hold."""
    names = sorted(set(new.series))
    unseen = {column: float((new.category_SK[:, k] == 0).mean()) for k, column in enumerate(new.schema.categories)}
    fresh = None if known is None else [name for name in names if name not in known]
    return {
        "num_series": len(names),
        "num_new_series": None if fresh is None else len(fresh),
        "new_series": None if fresh is None else fresh[:10],
        "unseen_categories": unseen,
    }


def findings(rows: list[Row], who: Mapping[str, Any]) -> list[Finding]:
    """What has moved, in words."""
    told = []
    for row in rows:
        if row["state"] not in ("shifted", "moderate shift"):
            continue
        usual = row["usual_psi"]
        beyond = is_beyond(row)
        text = f"{moved(row)}."
        if usual is not None:
            text += f" Stretches of the training part that long move by {usual:.2f} at most" + (
                "." if beyond else ": a season or a swing that training has seen."
            )
        severity = "warning" if row["state"] == "shifted" and beyond else "info"
        told.append(Finding(severity=severity, text=text))
    judged = [row for row in rows if row["psi"] is not None]
    if judged and not told:
        text = f"Every column looks as in training (largest PSI {judged[0]['psi']:.2f}, of {judged[0]['column']})."
        told.append(Finding(severity="info", text=text))
    if unjudged := [row for row in rows if row["psi"] is None]:
        top = max(unjudged, key=lambda row: row["ks"])
        text = (
            f"Of {len(unjudged)} columns there are fewer than {drift.ENOUGH} values, too few for a PSI; {top['column']} lies "
            f"farthest from training, by a KS distance of {top['ks']:.2f} and a mean {_by(top['moved_deviations'])}."
        )
        far = is_far_off(top)
        advice = f"Look whether {top['column']} has the units and the meaning that it had in training." if far else ""
        told.append(Finding(severity="warning" if far else "info", text=text, advice=advice))
    for row in rows:
        before, now = row["missing_share_before"], row["missing_share"]
        if before is not None and now is not None and now - before > MORE_MISSING:
            text = f"{percent(now)} of {row['column']} is missing, against {percent(before)} in the run's table."
            told.append(Finding(severity="warning", text=text, advice="Mend the source before trusting errors."))
    if who["num_new_series"]:
        names = ", ".join(f"'{name}'" for name in who["new_series"][:3])
        text = f"{who['num_new_series']:,} of {who['num_series']:,} series are new to the policy, such as {names}."
        told.append(Finding(severity="info", text=text))
    for column, share in who["unseen_categories"].items():
        if share:
            text = (
                f"{percent(share)} of the series have a {column} that training did not hold; they are read as unseen."
            )
            told.append(Finding(severity="advice", text=text, advice="Train anew with series of that kind."))
    return told


def is_beyond(row: Row) -> bool:
    """Whether a column has moved by more than stretches of the training part do, as far as that is known."""
    return row["psi"] is not None and (row["usual_psi"] is None or row["psi"] > row["usual_psi"])


def is_far_off(row: Row) -> bool:
    """Whether values too few for a PSI lie elsewhere than training's all the same."""
    return row["psi"] is None and row["ks"] >= FAR_OFF


def in_a_line(rows: list[Row]) -> str:
    """What has moved most, for a summary: half a sentence."""
    shifted = [row for row in rows if row["state"] in ("shifted", "moderate shift")]
    if worst := next(filter(is_beyond, shifted), None):
        return moved(worst)
    if far := max(filter(is_far_off, rows), key=lambda row: row["ks"], default=None):
        return (
            f"{far['column']} lies elsewhere than in training, its mean {_by(far['moved_deviations'])} (KS distance "
            f"{far['ks']:.2f})"
        )
    if shifted:
        return f"{shifted[0]['column']} has moved, but no more than inside the training part"
    if any(row["psi"] is not None for row in rows):
        return "no column has shifted"
    return "too few values to tell for sure whether a column has shifted"


def table(rows: list[Row]) -> dict[str, Any]:
    columns = ["column", "state", "PSI", "usual PSI", "KS", "Wasserstein", "mean moved by", "mean", "training mean"]
    columns += ["deviation", "training deviation", "missing %"]
    return {
        "title": "Shift, column by column",
        "columns": columns,
        "rows": [
            [
                row["column"],
                *(row[field] for field in FIELDS),
                row["mean"],
                row["training_mean"],
                row["deviation"],
                row["training_deviation"],
                None if row["missing_share"] is None else 100 * row["missing_share"],
            ]
            for row in rows
        ],
        "caption": f"PSI below {drift.MODERATE} is stable, above {drift.SHIFTED} shifted; the usual PSI is the largest of "
        "stretches of the training part as long as the new data. KS is the largest distance of cumulative shares; "
        "Wasserstein's distance and the move of the mean are in training deviations.",
    }


def figures(rows: list[Row], reference: Mapping[str, Any], segments: Segments, parts: Boundaries) -> list[Figure]:
    """PSI by column, and where in the training values the most shifted column now lies."""
    known = [row for row in rows if row["psi"] is not None]
    if not known:
        return []
    top = known[0]
    caption = (
        f"{top['column']} has moved most, PSI {top['psi']:.2f}; below {drift.MODERATE} is stable, above {drift.SHIFTED} "
        "shifted."
    )
    names = [row["column"] for row in known]
    series = {"new data": [row["psi"] for row in known]}
    if any(row["usual_psi"] is not None for row in known):
        series["largest inside training"] = [
            row["usual_psi"] if row["usual_psi"] is not None else float("nan") for row in known
        ]
    drawn = [figure.bars("shift", "Which columns moved", caption, names, series, y_title="PSI")]
    new_R = rows_in(segments, parts, "test")
    given = reference["columns"][top["column"]]
    for name, values_R, there_R in _columns(segments):
        if name == top["column"]:
            shares = _bins(given, values_R[new_R & there_R])
            shares = shares / shares.sum()
            drawn.append(_where(top, given, shares))
    return drawn


def _where(row: Row, given: Mapping[str, Any], share_K: NDArray) -> Figure:
    edges = [number(edge) for edge in given["edges"]]
    bins = [f"up to {edges[0]}", *(f"{low} to {high}" for low, high in pairwise(edges))]
    bins.append(f"above {edges[-1]}")
    most = int(np.argmax(share_K - np.asarray(given["shares"])))
    caption = (
        f"{percent(float(share_K[most]))} of the new values of {row['column']} lie {bins[most]}, where "
        f"{percent(float(given['shares'][most]))} of the training values do."
    )
    series = {"training": 100 * np.asarray(given["shares"]), "new data": 100 * share_K}
    title = f"{row['column']}, then and now"
    return figure.bars("shift-values", title, caption, bins, series, x_title=row["column"], y_title="% of values")


def _distances(given: Mapping[str, Any], new: NDArray, train: NDArray | None) -> Row:
    bins = _bins(given, new)
    psi = distances.psi(given["shares"], bins) if len(new) >= drift.ENOUGH else None
    # A column that stood still in training has no deviation; its own units stand in.
    unit = given["deviation"] if given["deviation"] > 1e-12 * (abs(given["mean"]) + 1) else 1.0
    found: Row = {
        "values": len(new),
        "psi": psi,
        "state": drift.state(psi),
        "usual_psi": None,
        "mean": float(new.mean(dtype=np.float64)),
        "training_mean": given["mean"],
        "deviation": float(new.std(dtype=np.float64)),
        "training_deviation": given["deviation"],
        "wasserstein_deviations": None,
    }
    found["moved_deviations"] = (found["mean"] - given["mean"]) / unit
    if train is None:
        # At the edges of the tenths: the true distance may be larger.
        found["ks"] = float(np.abs(np.cumsum(bins / bins.sum()) - np.cumsum(given["shares"])).max())
        return found
    one, other = _thinned(train), _thinned(new)
    found["ks"] = float(ks_2samp(one, other, method="asymp").statistic)
    found["wasserstein_deviations"] = float(wasserstein_distance(one, other)) / unit
    return found


def _usual(
    values_R: NDArray, train_R: NDArray, segments: Segments, new_R: NDArray, given: Mapping[str, Any]
) -> float | None:
    """The largest PSI of stretches of the training part as long as the new data; None where it is not twice as long."""
    steps_R = segments.steps(np.arange(len(values_R)))
    first, last = int(steps_R[train_R].min()), int(steps_R[train_R].max())
    length = int(np.ptp(steps_R[new_R])) + 1
    num = (last - first + 1) // length
    if num < 2:
        return None
    found = []
    for at in np.unique(np.linspace(0, num - 1, min(num, MOST_STRETCHES)).round().astype(int)).tolist():
        inside = train_R & (steps_R >= first + at * length) & (steps_R < first + (at + 1) * length)
        if inside.sum() >= drift.ENOUGH:
            found.append(distances.psi(given["shares"], _bins(given, values_R[inside])))
    return max(found, default=None)


def _bins(given: Mapping[str, Any], values: NDArray) -> NDArray:
    edges = np.asarray(given["edges"], dtype=np.float32)
    return np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1).astype(np.float64)


def _thinned(values: NDArray) -> NDArray:
    return np.sort(values.astype(np.float64))[:: -(-len(values) // MOST_VALUES)]


def _columns(segments: Segments) -> Iterator[tuple[str, NDArray, NDArray]]:
    """Every column with its values and where they count: of targets where they were measured, as in ``drift.reference``."""
    schema = segments.schema
    for c, name in enumerate(schema.target):
        yield name, segments.target_RC[:, c], segments.observed_RC[:, c] > 0
    for names, values_RF in ((schema.past, segments.past_RP), (schema.known, segments.known_RK)):
        for f, name in enumerate(names):
            yield name, values_RF[:, f], np.isfinite(values_RF[:, f])


def _by(deviations: float) -> str:
    return f"{number(abs(deviations))} training deviations {'higher' if deviations > 0 else 'lower'}"


def moved(row: Row) -> str:
    """``temp is 1.2 training deviations higher on average (PSI 0.31: shifted)``."""
    moved, wider = row["moved_deviations"], row["deviation"] / max(row["training_deviation"], 1e-12)
    side = "higher" if moved > 0 else "lower"
    what = f"{number(abs(moved))} training deviations {side} on average ({number(row['training_mean'])} then, "
    what += f"{number(row['mean'])} now)"
    if abs(moved) < 0.1:
        what = f"spread over {number(wider)} times the deviation of training"
    return f"{row['column']} is {what} (PSI {row['psi']:.2f}: {row['state']})"
