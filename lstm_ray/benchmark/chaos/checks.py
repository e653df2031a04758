"""What a disturbed run left, held against one that nothing disturbed: what is wrong with it, in words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

PARQUET, SEGMENTS = "*.parquet", "preprocess/segments/*.parquet"
METRIC_TOLERANCE, RESIZED_TOLERANCE = 1e-3, 2e-2
"""Relative, of losses and metrics; the second where the number of workers has changed for a while: sums are then rounded in
another order, and each further epoch makes more of it."""
VALUE_TOLERANCE = 1e-5
"""Of forecasts and of scaled values."""


def report(run: Path, stage: str) -> dict[str, Any]:
    return json.loads((run / stage / "report.json").read_text())


def findings(run: Path, stage: str) -> list[str]:
    """What a stage found, in words."""
    return [found["text"] for found in report(run, stage)["findings"]]


def unlike(
    found: Mapping[str, float], wanted: Mapping[str, float], what: str, tolerance: float = METRIC_TOLERANCE
) -> list[str]:
    """Metrics that are others than undisturbed ones."""
    if found.keys() != wanted.keys():
        return [f"{what}: {sorted(found)} in place of {sorted(wanted)}"]
    return [
        f"{what}: {name} is {found[name]:.6g} and not {wanted[name]:.6g}"
        for name in wanted
        if not math.isclose(found[name], wanted[name], rel_tol=tolerance, abs_tol=tolerance / 10)
    ]


def training(run: Path, calm: Path, tolerance: float = METRIC_TOLERANCE) -> list[str]:
    """Every epoch once, the losses and the metrics of the undisturbed training."""
    ours, theirs = ([json.loads(line) for line in _lines(path)] for path in (run, calm))
    epochs = [record["epoch"] for record in ours]
    wrong = [] if epochs == list(range(len(theirs))) else [f"epochs {epochs} in place of {len(theirs)}"]
    for our, their in zip(ours, theirs, strict=False):
        names = ("train_loss", "validation_loss")
        epoch = f"epoch {their['epoch'] + 1}"
        wrong += unlike({n: our[n] for n in names}, {n: their[n] for n in names}, epoch, tolerance)
    our_end, their_end = (report(path, "train")["validation"] for path in (run, calm))
    return wrong + unlike(our_end, their_end, "validation", tolerance)


def segments(run: Path, calm: Path) -> list[str]:
    """Every row of every segment once, and the scaler."""
    wrong = same_rows(run / SEGMENTS, calm / SEGMENTS, ["series", "segment", "step"])
    ours, theirs = (json.loads((path / "preprocess/scaler.json").read_text()) for path in (run, calm))
    return wrong + ([] if _near(ours, theirs) else ["the scaler is another one"])


def same_rows(found: Path, wanted: Path, keys: Sequence[str]) -> list[str]:
    """Parquet files (a file, or a glob) hold the same rows, each once, in whatever order and files."""
    ours, theirs = (pl.read_parquet(files).sort(keys) for files in (found, wanted))
    doubled = ours.height - ours.unique(keys).height
    wrong = [f"{doubled:,} rows are doubled"] if doubled else []
    wrong += [] if ours.height == theirs.height else [f"{ours.height:,} rows in place of {theirs.height:,}"]
    if not wrong:
        try:
            assert_frame_equal(ours, theirs, rel_tol=VALUE_TOLERANCE, abs_tol=VALUE_TOLERANCE)
        except AssertionError as error:
            wrong.append(f"rows differ: {' '.join(str(error).split())[:300]}")
    return wrong


def nothing_half_made(run: Path, stage: str) -> list[str]:
    """What looks whole is whole: a stage that failed has left no folder that anything would trust."""
    return [f"'{stage}' looks whole"] if (run / stage).exists() else []


def _lines(run: Path) -> list[str]:
    return (run / "train/metrics.jsonl").read_text().splitlines()


def _near(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(_near(ours[name], theirs[name]) for name in theirs)
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_near, ours, theirs))
    if isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=VALUE_TOLERANCE, abs_tol=VALUE_TOLERANCE)
    return bool(ours == theirs)
