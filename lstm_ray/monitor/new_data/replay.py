"""A server's monitor replayed over new files in the order of time: what would have alarmed, when, and how the errors went.

The very monitor of a server is fed, block after block of rows, with the rows, with forecasts made every horizon, and with the
truth; its clock is that of the data. What the data says as a whole, with baselines beside, ``lstm-ray evaluate --data`` tells.
Knows run directories, policies and the monitor; fits nothing on the new data. Shapes: R rows, F columns, C targets.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.preparing.append import MANIFEST
from lstm_ray.data.preparing.unseen import prepared
from lstm_ray.data.store import load_segments
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.model.policy import Policy
from lstm_ray.model.stored import POLICY
from lstm_ray.monitor.drift import reference
from lstm_ray.monitor.live import Monitor
from lstm_ray.monitor.new_data import replayed
from lstm_ray.monitor.new_data.unseen import find, place, tidy
from lstm_ray.monitor.traffic import Answer, Rows, Tally
from lstm_ray.monitor.watched import has_interval, watched
from lstm_ray.run_dir import REPORT, RunDir
from lstm_ray.sections.operate import MonitorConfig

FOLDER, TIMELINE = "monitor", "timeline.json"
"""Of a run; and the file that holds every point in time."""
LOOKS, MOST_POINTS = 10, 500
"""Times at which the monitor is looked at while a window passes, and in all at most."""


@dataclass
class Spell:
    """One alarm, from when it began until it ended."""

    kind: str
    what: str
    begins: Any
    text: str
    value: float
    limit: float
    ends: Any = None
    """None: it stands to the end."""


@dataclass
class Replay:
    """What the monitor said."""

    times: list[Any] = field(default_factory=list)
    columns: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Of each column, of all jointly and of each target's forecast its row at every time."""
    ratio: list[float | None] = field(default_factory=list)
    """Rolling error over what validation lets expect."""
    spells: list[Spell] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)
    """The summary at the end."""
    lacks: list[str] = field(default_factory=list)
    """What could not be watched, in words."""


class _Clock:
    """Seconds of the data."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def monitor_files(source: str, data: str | list[str], out: str = "") -> tuple[RunDir, str, replayed.Report]:
    """Replay the monitor over new data and keep what it said.

    Args:
        source: a run directory with an evaluated policy, or a policy's folder.
        data: as ``data.source``.
        out: folder to write; by default ``RUN/monitor/NAME``, the name being that of the first file.

    Returns:
        The folder that holds the answer's own, its name in there, and its report.

    Raises:
        InputError: no policy there, or data that it cannot be judged on.
    """
    started = time.perf_counter()
    found = find(source)
    holder, name = place(found, data, out, FOLDER, TIMELINE)
    settings = _asked(found.run, found.policy.config)
    policy = _with_reference(found.policy, found.run, settings)
    new = prepared(found.config, policy.schema, policy.scaler, data)
    told = replay(policy, new.segments)
    for column, share in new.missing.items():
        usual = policy.facts.get("reference", {}).get("columns", {}).get(column, {}).get("limits", {})
        if column not in policy.schema.target and share > usual.get("missing_share", 1.0):
            told.lacks.append(
                f"{share:.0%} of {column} is missing in these files, over the limit of {usual['missing_share']:.0%}; inputs "
                "are filled in before they are replayed, so no time can be named"
            )
    with holder.stage(name, hashlib.sha256(repr((data, policy.version)).encode()).hexdigest()) as work:
        work.write_json(TIMELINE, replayed.timeline(told))
        work.write_figures(replayed.figures(told, settings.worse))
        report = replayed.report(told, found.name, new.num_rows, settings, new.findings)
        report.wall_seconds = round(time.perf_counter() - started, 3)
        work.write_json(REPORT, report)
    tidy(holder)
    return holder, name, report


def replay(policy: Policy, segments: Segments) -> Replay:
    """Feed a monitor with segments in the order of time, and look at it after every block of rows.

    Args:
        policy: its facts hold a reference (``reference.of``).
        segments: unscaled.
    """
    clock, told = _Clock(), Replay()
    given = watched(policy)
    monitor = Monitor(given, clock)
    if policy.config.task != "forecast":
        told.lacks.append(
            f"task {policy.config.task}: its inputs are replayed; its answers are judged by lstm-ray evaluate --data"
        )
    value_RF = _values(policy, segments)
    by_time = segments.label is None
    tick_R = policy.schema.axis_start + segments.steps(np.arange(len(value_RF))) * policy.schema.step
    order = np.argsort(tick_R, kind="stable") if by_time else np.arange(len(value_RF))
    series_R = segments.series_of(np.arange(len(value_RF)))
    answers = _answers(policy, segments)
    size = max(given.settings.window // LOOKS, -(-len(order) // MOST_POINTS))
    standing: dict[tuple[str, str], Spell] = {}
    for first in range(0, len(order), size):
        block = order[first : first + size]
        rows = list(_by_series(segments, series_R, tick_R, value_RF, block))
        now = int(tick_R[block[-1]])
        clock.seconds = now / 1e6 if given.is_time and by_time else 60.0 * (first + size)
        due = [answers.pop() for _ in range(len(answers)) if answers[-1][0] <= now]
        monitor.merge(Tally(rows=rows, answers=[answer for _, answer in due]))
        for one in rows if answers or due else []:
            monitor.observe(one)
        at = policy.schema.times((np.array([now]) - policy.schema.axis_start) // policy.schema.step)[0]
        _look(told, monitor.summary(), at if by_time else first + len(block), standing)
    return told


def _look(told: Replay, summary: dict[str, Any], at: Any, standing: dict[tuple[str, str], Spell]) -> None:
    told.times.append(at)
    for row in summary["inputs"]["columns"]:
        told.columns.setdefault(row["column"], []).append(row)
    for row in summary["predictions"]:
        told.columns.setdefault(f"forecast of {row['column']}", []).append(row)
    told.ratio.append(summary["performance"]["ratio"])
    alarms = {(alarm["kind"], alarm["what"]): alarm for alarm in summary["alarms"]}
    for key in [key for key in standing if key not in alarms]:
        standing.pop(key).ends = at
    for key, alarm in alarms.items():
        if key not in standing:
            standing[key] = Spell(alarm["kind"], alarm["what"], at, alarm["text"], alarm["value"], alarm["limit"])
            told.spells.append(standing[key])
        elif alarm["value"] > standing[key].value:
            standing[key].value, standing[key].text = alarm["value"], alarm["text"]
    told.last = summary
    if lacks := summary["inputs"]["lacks"]:
        told.lacks = list(dict.fromkeys([*told.lacks, lacks]))


def _values(policy: Policy, segments: Segments) -> NDArray:
    """As columns of ``Watched``, [R, F]; NaN where not measured."""
    columns = reference.columns_of(segments)
    if segments.schema.label:
        label_R = segments.label_R if segments.label_R is not None else np.full(len(segments.past_RP), np.nan)
        columns = {segments.schema.label: label_R} | columns
    return np.column_stack([columns[name] for name in watched(policy).columns]).astype(np.float64)


def _answers(policy: Policy, segments: Segments) -> list[tuple[int, Answer]]:
    """Forecasts of every series, a horizon apart, each with the tick of its origin; the latest first, to be popped."""
    if policy.config.task != "forecast":
        return []
    window, schema = policy.config.window, policy.schema
    lengths = np.diff(segments.bounds)
    ends = [
        np.arange(first + window.history - 1, first + length, window.horizon)
        for first, length in zip(segments.bounds[:-1], lengths, strict=True)
    ]
    origin_M = np.concatenate([np.empty(0, np.int64), *ends]).astype(np.int64)
    # A window is cut with its truth; of those at the end, some of it is yet to come.
    last_M = segments.bounds[segments.series_of(origin_M) + 1] - window.horizon - 1
    origin_M = origin_M[origin_M <= last_M]
    value_MHCQ, median = policy.forecast_windows(segments, origin_M), policy.quantiles.index(0.5)
    step_M = segments.steps(origin_M)
    found = []
    for m in np.argsort(-step_M, kind="stable").tolist():
        name = segments.series[int(segments.series_of(origin_M[m : m + 1])[0])]
        tick = schema.axis_start + int(step_M[m]) * schema.step
        sides = (value_MHCQ[m, ..., 0], value_MHCQ[m, ..., -1]) if has_interval(policy) else (None, None)
        found.append((tick, Answer(name, tick + schema.step, value_MHCQ[m, ..., median], *sides)))
    return found


def _by_series(
    segments: Segments, series_R: NDArray, tick_R: NDArray, value_RF: NDArray, block: NDArray
) -> Iterator[Rows]:
    for s in np.unique(series_R[block]).tolist():
        own = block[series_R[block] == s]
        yield Rows(segments.series[s], tick_R[own], value_RF[own])


def _asked(run: RunDir | None, config: Config) -> MonitorConfig:
    """How the run's YAML has it watched."""
    tree = yaml.safe_load(run.read_bytes("config.yaml")) if run is not None and run.exists("config.yaml") else None
    return MonitorConfig.model_validate((tree or {}).get("monitor") or config.monitor.model_dump())


def _with_reference(policy: Policy, run: RunDir | None, settings: MonitorConfig) -> Policy:
    """With a reference made anew from the run's training part, as an older bundle's has no limits; a folder's policy has its
    own."""
    policy.config = policy.config.model_copy(update={"monitor": settings})
    if run is None:
        if "reference" not in policy.facts:
            raise InputError(f"the {POLICY} carries no picture of its training data; name the run's directory")
        return policy
    manifest = run.read_json(f"preprocess/{MANIFEST}") if run.exists(f"preprocess/{MANIFEST}") else {"missing": {}}
    missing = {name: number / manifest["rows"] for name, number in manifest["missing"].items()}
    segments, bounds = load_segments(run)
    made = reference.of(policy, segments, bounds, settings, missing)
    policy.facts = {**policy.facts, "reference": made}
    return policy
