"""The split stage: the parts, and how many windows each holds. Knows nothing of models, and reads no values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from lstm_ray.config import Config
from lstm_ray.data import split_figures
from lstm_ray.data.parts import PARTS, Boundaries, Part
from lstm_ray.data.schema import Schema
from lstm_ray.data.split import GROUP, PART, chosen, folds_of, shares
from lstm_ray.data.steps import rows_in
from lstm_ray.data.store import DEALT, load_index, load_schema
from lstm_ray.data.windows import Segments, origin_ranges, sequences
from lstm_ray.errors import InputError
from lstm_ray.run_dir import Finding, Report, RunDir, StageDir

UNITS = {"forecast": "windows", "classify": "sequences", "label": "labelled steps"}
"""By task, what a part holds."""
ENOUGH = 30
"""Windows without a common step of horizon (sequences, labelled steps) from which a mean is worth its name."""
FAR_OFF = 0.1
"""Share of series by which a part may miss what was asked before it is said."""
Counts = dict[Part, int]


def split(config: Config, run: RunDir, work: StageDir) -> Report:
    """Write ``boundaries.json``: the parts (of every fold) in steps and in times, and the windows (sequences, labelled
    steps) of each.

    Raises InputError where a part holds no window.
    """
    schema, segments = load_schema(run), load_index(run)
    lengths, unit = np.diff(segments.bounds), UNITS[config.task]
    num_steps = int((segments.first_step + lengths).max())
    folds = folds_of(config, schema, num_steps)
    parts = chosen(config.split, folds)
    _require_room(segments, config)
    counts = count(segments, parts, config)
    for part, number in counts.items():
        if not number:
            raise _empty(part, parts, num_steps, segments, config)
    times = _times(schema, parts)
    written: dict[str, Any] = {"parts": parts, "times": times, unit: counts}
    findings = [_of_part(part, counts, times, segments, unit) for part in PARTS]
    figures = [split_figures.timeline(segments, parts, counts, unit)]
    if config.split.folds:
        each = [count(segments, fold, config) for fold in folds]
        written["folds"] = [
            {"parts": fold, "times": _times(schema, fold), unit: held} for fold, held in zip(folds, each, strict=True)
        ]
        findings += _of_folds(folds, each, schema, unit)
        figures.append(split_figures.folds(folds, each, schema, unit, folds.index(parts)))
    if segments.part_S is not None:
        dealt = _read_dealt(run)
        written["series"] = {part: int((dealt[PART] == part).sum()) for part in PARTS}
        findings += _of_dealing(dealt, config)
        figures.append(split_figures.dealt_shares(written["series"], dealt.height, _asked(config, dealt.height)))
    work.write_json("boundaries.json", written)
    findings += [*_too_thin(segments, parts, config), *_left_out(parts, segments, schema, num_steps)]
    findings += _too_short(lengths, config)
    work.write_figures(figures)
    words = " / ".join(f"{counts[part]:,}" for part in PARTS)
    how = "Chronological parts" if config.split.by == "time" else f"Whole series, dealt by {config.split.by},"
    fold = f" (fold {folds.index(parts)} of {len(folds)}, from 0)" if config.split.folds else ""
    return Report(
        stage="split",
        summary=f"{how} with {words} {unit} to train, validate and test{fold}.",
        findings=findings,
        num_windows=counts,
    )


def count(segments: Segments, parts: Boundaries, config: Config) -> Counts:
    """The windows (sequences, labelled steps) of each part; takes memory for segments, not for windows."""
    return {part: int(_per_segment(segments, parts, part, config).sum()) for part in PARTS}


def _per_segment(segments: Segments, parts: Boundaries, part: Part, config: Config) -> np.ndarray:
    """Windows (labelled steps) of each segment in a part, int64 [S]; of sequences 1 for each."""
    if config.task == "forecast":
        range_S2 = origin_ranges(segments, parts, part, config.window)
        return range_S2[:, 1] - range_S2[:, 0]
    if config.task == "classify":
        return np.bincount(sequences(segments, parts, part), minlength=len(segments.series))
    assert segments.label_R is not None, "task label has labels"
    inside_R = rows_in(segments, parts, part) & ~np.isnan(segments.label_R)
    return np.add.reduceat(inside_R, segments.bounds[:-1], dtype=np.int64)


def _require_room(segments: Segments, config: Config) -> None:
    window, longest = config.window, int(np.diff(segments.bounds).max())
    if config.task == "forecast" and window.history + window.horizon > longest:
        raise InputError(
            f"window.history {window.history} + window.horizon {window.horizon} exceeds the longest series, "
            f"{longest} steps; lower them"
        )


def _empty(part: Part, parts: Boundaries, num_steps: int, segments: Segments, config: Config) -> InputError:
    unit, window = UNITS[config.task], config.window
    forecast = config.task == "forecast"
    needs = f", and a window needs {window.horizon} steps after {window.history} of history" if forecast else ""
    if segments.part_S is not None:
        held = segments.held_by(part)
        longest = int(np.diff(segments.bounds)[held].max(initial=0))
        return InputError(
            f"split.{part} holds no {unit[:-1]}: its {held.sum()} segments have at most {longest} steps{needs}; enlarge it"
        )
    first, end = parts[part]
    if forecast and first >= window.history and end - first >= window.horizon:
        return InputError(
            f"split.{part} holds no window, though it spans steps {first} to {end} of {num_steps}: no series runs on for "
            f"{window.history} steps of history and {window.horizon} of horizon that lie there; shorten the window, fill "
            f"longer gaps (preprocess.max_gap_steps, now {config.preprocess.max_gap_steps}), or move the split"
        )
    return InputError(
        f"split.{part} holds no {unit[:-1]}: it spans steps {parts[part][0]} to {parts[part][1]} of {num_steps}{needs}; "
        "enlarge it"
    )


def _times(schema: Schema, parts: Boundaries) -> dict[Part, list[str]]:
    """First and last time of each part."""
    return {part: split_figures.words(schema, [first, end - 1]) for part, (first, end) in parts.items()}


def _of_part(part: Part, counts: Counts, times: Mapping[Part, list[str]], segments: Segments, unit: str) -> Finding:
    start = f"{part}: {counts[part]:,} {unit}"
    if segments.part_S is None:
        return Finding(severity="info", text=f"{start}, from {times[part][0]} to {times[part][1]}.")
    names = {name for name, held in zip(segments.series, segments.held_by(part), strict=True) if held}
    return Finding(severity="info", text=f"{start}, in {len(names):,} series.")


def _of_folds(folds: list[Boundaries], each: list[Counts], schema: Schema, unit: str) -> list[Finding]:
    findings = []
    for index, (fold, held) in enumerate(zip(folds, each, strict=True)):
        times = _times(schema, fold)
        text = (
            f"fold {index}: {held['train']:,} {unit} to {times['train'][1]} train, {held['validation']:,} from "
            f"{times['validation'][0]} to {times['validation'][1]} validate"
        )
        empty = not held["train"] or not held["validation"]
        if empty:
            fewer = f"split.folds: {len(folds) - 1}" if len(folds) > 2 else "split.folds: null"
            findings.append(Finding(severity="warning", text=f"{text}; it cannot be trained on.", advice=fewer))
        else:
            findings.append(Finding(severity="info", text=f"{text}."))
    return findings


def _read_dealt(run: RunDir) -> pl.DataFrame:
    with run.local_copy("preprocess") as path:
        return pl.read_parquet(path / DEALT)


def _asked(config: Config, number: int) -> dict[str, float]:
    """The share of series that each part should have."""
    split = config.split
    if isinstance(split.validation, float):
        return shares(split)
    train = number - split.validation - (split.test or 0) if split.train is None else split.train
    test = number - train - split.validation if split.test is None else split.test
    return {"train": train / number, "validation": split.validation / number, "test": test / number}


def _of_dealing(dealt: pl.DataFrame, config: Config) -> list[Finding]:
    """What there is to say of whole series in parts: shares, and that no group lies in two."""
    found, number = [], dealt.height
    asked = _asked(config, number)
    share = {part: int((dealt[PART] == part).sum()) / number for part in PARTS}
    text = ", ".join(f"{part} {share[part]:.1%} (asked: {asked[part]:.1%})" for part in PARTS)
    far = max(abs(share[part] - asked[part]) for part in PARTS) > FAR_OFF
    advice = f"seed: {config.seed + 1} deals the groups anew" if far else ""
    found.append(
        Finding(severity="advice" if far else "info", text=f"Share of {number:,} series: {text}.", advice=advice)
    )
    if GROUP in dealt.columns:
        per_group = dealt.group_by(GROUP).agg(n=pl.col(PART).fill_null("").n_unique())
        twice = per_group.filter(pl.col("n") > 1).height
        assert not twice, f"{twice} groups lie in two parts"
        text = f"None of {per_group.height:,} values of '{config.split.group}' lies in two parts."
        found.append(Finding(severity="info", text=text))
    if config.task == "forecast":
        text = "All parts span the same times: scores tell how unseen series are forecast, not how later times are."
        found.append(
            Finding(severity="info", text=text, advice="split.by: time where later times of known series matter")
        )
    return found


def _too_thin(segments: Segments, parts: Boundaries, config: Config) -> list[Finding]:
    """Parts that are scored on few windows that have no step of horizon in common."""
    findings = []
    for part in PARTS[1:]:
        number_S = _per_segment(segments, parts, part, config)
        apart = config.window.horizon if config.task == "forecast" else 1
        if (number := int((-(-number_S // apart)).sum())) >= ENOUGH:
            continue
        what = "windows without a common step" if config.task == "forecast" else UNITS[config.task]
        dates = {"validation": "validation_from", "test": "test_from"}[part]
        line = f"split.{dates}: an earlier time" if config.split.validation_from else f"split.{part}: a larger part"
        text = f"{part} holds {number} {what}; scores of fewer than {ENOUGH} are left to chance."
        findings.append(Finding(severity="advice", text=text, advice=line))
    return findings


def _left_out(parts: Boundaries, segments: Segments, schema: Schema, num_steps: int) -> list[Finding]:
    """The rest that no part uses."""
    if segments.part_S is not None:
        unused = len({name for name, part in zip(segments.series, segments.part_S, strict=True) if part < 0})
        text = f"{unused} series are in no part: split.train, validation and test leave them out."
        return [Finding(severity="info", text=text)] if unused else []
    end = parts["test"][1]
    if end >= num_steps:
        return []
    text = f"The last {num_steps - end:,} of {num_steps:,} steps, from {split_figures.words(schema, [end])[0]}, are in no part."
    return [Finding(severity="info", text=text)]


def _too_short(lengths: np.ndarray, config: Config) -> list[Finding]:
    window = config.window
    short = int((lengths < window.history + window.horizon).sum()) if config.task == "forecast" else 0
    if not short:
        return []
    return [
        Finding(
            severity="advice",
            text=f"{short} of {len(lengths)} segments are shorter than history + horizon and hold no window.",
            advice=f"window.history: {max(window.patch, window.history // 2 // window.patch * window.patch)}",
        )
    ]
