"""Whether training alone was fitted to, and test windows are what they should be: counted, apart, and seen once.

Each check recomputes by another way what the stages left, and compares. Knows the run directory's tables; trains nothing.
"""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.parts import PARTS, Boundaries
from lstm_ray.data.preparing.prepare import with_part
from lstm_ray.data.quality.impute import Filling, fill
from lstm_ray.data.scaling import fit
from lstm_ray.data.schema import Scaler
from lstm_ray.data.split import train_rows
from lstm_ray.data.steps import labelled_rows, rows_in
from lstm_ray.data.store import DEALT, PART, SEGMENTS, load_scaler, load_schema
from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.data.windows import Segments, origins, sequences
from lstm_ray.evaluate.audit.checks import Check
from lstm_ray.explore import repeats
from lstm_ray.explore.analysis import Clock
from lstm_ray.run_dir import RunDir

SAME = 1e-3
"""Share of a statistic that recomputing it may differ by: they are kept to four digits."""


def scaler(config: Config, run: RunDir, parts: Boundaries) -> Check:
    """The training part's statistics computed once more, from its rows alone."""
    name, schema, kept = "scaler of training alone", load_schema(run), load_scaler(run)
    train, sums = train_rows(config.split, parts), []
    with run.local_copy("preprocess") as path:
        dealt = pl.read_parquet(path / DEALT, columns=[SERIES, PART]) if (path / DEALT).exists() else None
        for file in sorted((path / SEGMENTS).glob("*.parquet")):
            block = with_part(pl.read_parquet(file).sort(SERIES, maintain_order=True), dealt)
            sums.append(fit.sums_of(block, train, schema, config))
    whole = reduce(lambda one, other: one.merge(other), sums)
    again = fit.scaler_of(whole, schema, config)
    off = different(kept, again)
    known, told = schema.categories, fit.categories_of(whole)
    alike = {name: set(values) for name, values in known.items()} == {name: set(told[name]) for name in known}
    num = sum(len(getattr(schema, role)) for role in ("target", "past", "known"))
    details = {"columns": num, "different": off}
    if off or not alike:
        what = ", ".join(off) if off else "the values of categories"
        return Check(
            name,
            "failed",
            f"Recomputed from steps {parts['train'][0]:,} to {parts['train'][1]:,} alone, the scaler's {what} come out "
            "otherwise: statistics of what is tested have reached training.",
            "Run the stage 'preprocess' again with --force.",
            details,
        )
    coded = f", and the codes of {len(known)} categories" if known else ""
    text = (
        f"Mean, deviation and units of {num} columns{coded}, recomputed from the training part alone, are those in use."
    )
    return Check(name, "passed", text, details=details)


def different(one: Scaler, other: Scaler) -> list[str]:
    """Names of a scaler's numbers, such as target.mean, that differ by more than rounding."""
    first, second = (dict(_flat(it.model_dump(mode="json"))) for it in (one, other))
    found = set(first) ^ set(second)
    for name in first.keys() & second.keys():
        mine, its = first[name], second[name]
        if isinstance(mine, float | int) and isinstance(its, float | int):
            # A mean is told to a part of its deviation: a tiny one beside a large deviation has few digits.
            unit = abs(first.get(name.replace("mean", "deviation"), 0) or 0) if "mean" in name else 0
            if abs(mine - its) > SAME * max(abs(mine), abs(its), unit):
                found.add(name)
        elif mine != its:
            found.add(name)
    return sorted({name.rpartition(".")[0] or name for name in found})


def filled(config: Config, segments: Segments) -> Check:
    """Targets (to label steps: inputs) that were not measured filled once more from what precedes them in their segment."""
    name, filling = "gaps filled from the past alone", Filling.of(config.preprocess, config.window)
    missing_RC = segments.observed_RC == 0
    value_RC = segments.past_RP if config.task == "label" else segments.target_RC
    what = "inputs" if config.task == "label" else "targets"
    if not missing_RC.any():
        return Check(name, "left out", f"No step of the {what} is known to have been missing.")
    share = f"{int(missing_RC.sum()):,} values of {what} that were not measured"
    if not filling.causal and filling.how in ("mean", "median"):
        return Check(name, "left out", f"The {share} are their series' {filling.how} in the training part.")
    if not filling.causal and filling.how in ("linear", "seasonal"):
        text = f"preprocess.causal is false, so the {share} are filled from both sides: a history may hold what came after it."
        return Check(name, "failed", text, "preprocess.causal: true", {"filled": int(missing_RC.sum())})
    holes_RC = np.where(missing_RC, np.float32(np.nan), value_RC)
    again_RC = fill(holes_RC, segments.bounds, filling)
    told_RC = missing_RC & np.isfinite(again_RC)
    unit_C = np.maximum(np.abs(value_RC).max(axis=0), 1e-12)
    off = int((told_RC & (np.abs(again_RC - value_RC) > SAME * unit_C)).sum())
    details = {"filled": int(missing_RC.sum()), "different": off}
    if off:
        text = f"Of {share}, {off:,} are not what the rule '{filling.how}' gives from the steps before them."
        return Check(name, "failed", text, "Run the stage 'preprocess' again with --force.", details)
    text = f"The {share} are what the rule '{filling.how}' gives from the steps before them."
    return Check(name, "passed", text, details=details)


def windows(config: Config, segments: Segments, parts: Boundaries, num_scored: int) -> Check:
    """Test cases counted by the closed formula, and none that shares a step with training."""
    name = "test cases counted and apart"
    num, expected, what = _counted(config, segments, parts)
    shared = _shared(config, segments, parts)
    gap = config.split.gap_steps
    ends = [parts[part] for part in PARTS]
    near: list[int] = [] if segments.part_S is not None else [b[0] - a[1] for a, b in pairwise(ends)]
    details = {"cases": num, "expected": expected, "scored": num_scored, "shared_steps": shared, "gap_steps": near}
    wrong = []
    if not num == expected == num_scored:
        wrong.append(f"{num_scored:,} {what} were scored where the parts hold {expected:,} ({num:,} as planned)")
    if shared:
        wrong.append(f"{shared:,} steps are answered in the test part and learned from in training")
    if any(one < gap for one in near):
        wrong.append(f"parts lie {min(near):,} steps apart where split.gap_steps asks for {gap:,}")
    if wrong:
        text = "; ".join(wrong)
        return Check(
            name, "failed", text[0].upper() + text[1:] + ".", "Run the stage 'evaluate' again with --force.", details
        )
    least = min(near, default=0)
    apart = f", and {least:,} steps or more lie between the parts" if least else ""
    text = f"{num:,} {what}, each once, as the lengths of {len(segments.series):,} segments give; no step of training among "
    return Check(name, "passed", text + f"those answered{apart}.", details=details)


def repeated(config: Config, segments: Segments, parts: Boundaries) -> Check:
    """Stretches or sequences of the test part that training holds as well, to the last digit."""
    name, schema = "nothing tested that training holds", segments.schema
    row_R = np.arange(segments.bounds[-1])
    columns = {**dict(zip(schema.target, segments.target_RC.T, strict=True))}
    if not columns:
        columns = dict(zip(schema.past, segments.past_RP.T, strict=True))
    part_R = np.full(len(row_R), "", dtype="<U10")
    for part in PARTS:
        part_R[_rows_of(config, segments, parts, part)] = part
    of_R = segments.series_of(row_R)
    frame = pl.DataFrame(
        {
            SERIES: np.asarray(segments.series, dtype=np.str_)[of_R],
            TIME: segments.schema.times(segments.steps(row_R)),
            "part": part_R,
            **columns,
        }
    )
    if config.task == "classify":
        assert segments.label is not None, "sequences to classify have labels"
        frame = frame.with_columns(label=pl.Series(segments.label[of_R]))
        found = repeats.sequences(frame, list(columns), "label")
        what = "sequence"
    else:
        steps = config.window.horizon if config.task == "forecast" else config.window.history
        found = repeats.windows(frame, list(columns), steps, Clock(schema.step, schema.is_time))
        what = f"stretch of {max(steps, repeats.FEWEST_STEPS):,} steps"
    said = [finding.text for finding in found.findings if "training" in finding.text]
    if said:
        return Check(name, "failed", " ".join(said), "Keep one of each, or cut the parts between them.")
    return Check(
        name, "passed", f"No {what} of the test part is in the training part, to the last digit, in any series."
    )


def _counted(config: Config, segments: Segments, parts: Boundaries) -> tuple[int, int, str]:
    """Test cases as planned, as the closed formula has them, and what they are."""
    first, end = parts["test"]
    start_S, length_S = segments.first_step, np.diff(segments.bounds)
    held_S = segments.held_by("test")
    if config.task == "classify":
        inside = held_S & (start_S >= first) & (start_S < end)
        return len(sequences(segments, parts, "test")), int(inside.sum()), "test sequences"
    if config.task == "label":
        assert segments.label_R is not None, "steps to label have labels"
        step_R = segments.steps(np.arange(segments.bounds[-1]))
        inside_R = np.repeat(held_S, length_S) & (step_R >= first) & (step_R < end)
        told = int((inside_R & ~np.isnan(segments.label_R)).sum())
        return len(labelled_rows(segments, parts, "test")), told, "labelled test steps"
    window = config.window
    planned = origins(segments, parts, "test", window)
    earliest = np.maximum(start_S + window.history, first)
    latest = np.minimum(start_S + length_S, end) - window.horizon
    expected = np.where(held_S, np.maximum(latest - earliest + 1, 0), 0).sum()
    assert len(np.unique(planned)) == len(planned), "a window was planned twice"
    return len(planned), int(expected), "test windows"


def _shared(config: Config, segments: Segments, parts: Boundaries) -> int:
    """Rows that are answered in the test part and read in training."""
    both = _rows_of(config, segments, parts, "test") & _rows_of(config, segments, parts, "train")
    if config.task != "forecast":
        return int(both.sum())
    window = config.window
    used = []
    for part, back in (("train", window.history - 1), ("test", -1)):
        edge_R = np.zeros(segments.bounds[-1] + 1, np.int64)
        origins_M = origins(segments, parts, part, window)  # type: ignore[arg-type]
        np.add.at(edge_R, origins_M - back, 1)
        np.add.at(edge_R, origins_M + window.horizon + 1, -1)
        used.append(np.cumsum(edge_R)[:-1] > 0)
    return int((used[0] & used[1]).sum())


def _rows_of(config: Config, segments: Segments, parts: Boundaries, part: Any) -> NDArray:
    """Rows of a part, bool [R]; of whole sequences all that begin in it."""
    if config.task != "classify":
        return rows_in(segments, parts, part)
    inside_S = np.zeros(len(segments.series), dtype=bool)
    inside_S[sequences(segments, parts, part)] = True
    return np.repeat(inside_S, np.diff(segments.bounds))


def _flat(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    """Nested values with their dotted path."""
    if isinstance(tree, dict):
        return [item for key, value in tree.items() for item in _flat(value, f"{path}.{key}" if path else str(key))]
    if isinstance(tree, list):
        return [item for index, value in enumerate(tree) for item in _flat(value, f"{path}.{index}")]
    return [(path, tree)]
