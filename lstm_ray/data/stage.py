"""The split stage: chronological parts, and how many windows each holds. Knows nothing of models."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from lstm_ray import figure
from lstm_ray.config import Config
from lstm_ray.data.schema import Schema
from lstm_ray.data.segments import STEP
from lstm_ray.data.split import PARTS, Boundaries, Part, boundaries, own_test_start
from lstm_ray.data.steps import labelled_rows
from lstm_ray.data.store import load_schema, read_segments, to_segments
from lstm_ray.data.windows import Segments, origins, sequences
from lstm_ray.errors import InputError
from lstm_ray.figure import Figure
from lstm_ray.run_dir import Finding, Report, RunDir, StageDir
from lstm_ray.sections.data import WindowConfig

UNITS: dict[str, tuple[str, Callable[[Segments, Boundaries, Part, WindowConfig], NDArray]]] = {
    "forecast": ("windows", origins),
    "classify": ("sequences", lambda segments, parts, part, window: sequences(segments, parts, part)),
    "label": ("labelled steps", lambda segments, parts, part, window: labelled_rows(segments, parts, part)),
}
"""By task, what a part holds."""


def split(config: Config, run: RunDir, work: StageDir) -> Report:
    """Write ``boundaries.json``: the parts in steps and in times, and the windows (sequences, labelled steps) of each.

    Raises InputError where a part holds no window.
    """
    schema, frame = load_schema(run), read_segments(run)
    segments = to_segments(frame, schema)
    num_steps = int(frame[STEP].max()) + 1  # type: ignore[arg-type]
    parts = boundaries(config.split, num_steps, own_test_start(config.data, schema.axis_start))
    lengths = np.diff(segments.bounds)
    window, forecast = config.window, config.task == "forecast"
    if forecast and window.history + window.horizon > lengths.max():
        raise InputError(
            f"window.history {window.history} + window.horizon {window.horizon} exceeds the longest series, "
            f"{lengths.max()} steps; lower them"
        )
    unit, items = UNITS[config.task]
    counts = {part: len(items(segments, parts, part, window)) for part in PARTS}
    for part, count in counts.items():
        if not count:
            needs = f", and a window needs {window.horizon} steps after {window.history} of history" if forecast else ""
            raise InputError(
                f"split.{part} holds no {unit[:-1]}: it spans steps {parts[part][0]} to {parts[part][1]} of "
                f"{num_steps}{needs}; enlarge it"
            )
    ends = {part: figure.plain(schema.times(np.array([first, end - 1]))) for part, (first, end) in parts.items()}
    times = {part: [str(time).replace("T", " ") for time in pair] for part, pair in ends.items()}
    work.write_json("boundaries.json", {"parts": parts, "times": times, unit: counts})
    short = int((lengths < window.history + window.horizon).sum()) if forecast else 0
    findings = [
        Finding(severity="info", text=f"{part}: {counts[part]:,} {unit}, from {times[part][0]} to {times[part][1]}.")
        for part in PARTS
    ]
    if short:
        findings.append(
            Finding(
                severity="advice",
                text=f"{short} of {len(lengths)} segments are shorter than history + horizon and hold no window.",
                advice=f"window.history: {max(window.patch, window.history // 2 // window.patch * window.patch)}",
            )
        )
    work.write_figures([_timeline(segments.series, segments.first_step, lengths, schema, parts, counts, unit)])
    words = " / ".join(f"{counts[part]:,}" for part in PARTS)
    return Report(
        stage="split",
        summary=f"Chronological parts with {words} {unit} to train, validate and test.",
        findings=findings,
        num_windows=counts,
    )


def _timeline(
    series: list[str],
    first_step: np.ndarray,
    lengths: np.ndarray,
    schema: Schema,
    parts: dict,
    counts: Mapping[Part, int],
    unit: str,
    most: int = 30,
) -> Figure:
    """Where each segment lies on the time axis, and where the parts are cut."""
    by_name = bool(schema.target) or schema.label is not None
    names = sorted(set(series))[:most] if by_name else ["sequences"]
    traces = []
    for part, (part_first, part_end) in parts.items():
        x: list = []
        y: list = []
        for name, first, length in zip(series, first_step, lengths, strict=True):
            low, high = max(first, part_first), min(first + length, part_end) - 1
            if low < high and (name in names or not by_name):
                ends = figure.plain(schema.times(np.array([low, high])))
                x += [*ends, None]
                y += [name if by_name else "sequences"] * 2 + [None]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": x,
                "y": y,
                "name": part,
                "line": {"width": 14},
                "connectgaps": False,
            }
        )
    caption = f"The parts hold {', '.join(f'{n:,} {part}' for part, n in counts.items())} {unit}; nothing is shuffled in time."
    return Figure(id="parts", title="Chronological parts", caption=caption, traces=traces)
