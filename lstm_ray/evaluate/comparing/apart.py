"""How far runs' forecasts of the same windows lie apart, whichever is right: what who acts on them sees of a change of policy.

Knows run directories that keep predictions (``evaluate.predictions``); others have no such row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import polars as pl

from lstm_ray.data.store import load_scaler
from lstm_ray.evaluate.comparing.runs import Finished
from lstm_ray.evaluate.forecasts.churn import between
from lstm_ray.evaluate.words import number
from lstm_ray.run_dir import Finding, RunDir

TOPIC = "How far apart their forecasts lie"
PREDICTIONS, PARTS = "evaluate/predictions", "*.parquet"
WINDOW, MEDIAN = ["series_id", "origin"], "q0.5"


def told(runs: Sequence[Finished]) -> tuple[list[dict[str, Any]], list[Finding]]:
    """A table of every two runs whose predictions are there, and a sentence; nothing where no two are.

    Distances are in training deviations of the first run that keeps predictions.
    """
    kept = [run for run in runs if run.told.task == "forecast" and RunDir(run.uri).exists(PREDICTIONS)]
    if len(kept) < 2:
        return [], []
    targets = kept[0].schema.target
    deviation_C = load_scaler(RunDir(kept[0].uri)).target_deviation
    medians = {run.name: _medians(run) for run in kept}
    rows: list[tuple[str, str, str, float, int]] = []
    for one, other in combinations(kept, 2):
        both = medians[one.name].join(medians[other.name], on=[*WINDOW, "target"], suffix=" other")
        for c, target in enumerate(targets):
            mine = both.filter(pl.col("target") == target)
            if mine.height:
                first, second = (mine[name].to_numpy()[..., None] for name in (MEDIAN, f"{MEDIAN} other"))
                rows.append((one.name, other.name, target, between(first, second, deviation_C[[c]]), mine.height))
    if not rows:
        return [], []
    one_name, other_name, target, most, _ = max(rows, key=lambda row: row[3])
    text = (
        f"Forecasts of '{target}' for the same step by {one_name} and {other_name} lie {number(most)} training deviations "
        f"apart on average{', the furthest of all' if len(rows) > 1 else ''}."
    )
    table = {
        "title": "Distances between forecasts",
        "columns": ["run", "other", "target", "training deviations apart", "windows"],
        "rows": [list(row) for row in rows],
        "caption": "Mean absolute difference of the medians told for the same steps from the same origins: what changing from "
        "one policy to the other would move, whichever is right.",
        "topic": TOPIC,
    }
    return [table], [Finding(severity="info", text=text, topic=TOPIC)]


def _medians(run: Finished) -> pl.DataFrame:
    with RunDir(run.uri).local_copy(PREDICTIONS) as folder:
        return pl.read_parquet(folder / PARTS, columns=[*WINDOW, "target", MEDIAN])
