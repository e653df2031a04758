"""A policy's errors on new data beside those on its run's test part: how far apart, whether by luck, and whose fault.

Knows errors of cases and run directories; judges nothing itself. Legend: M cases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.preparing.unseen import Unseen
from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.names import metric
from lstm_ray.evaluate.skill import standard_error
from lstm_ray.evaluate.told import CASES, METRICS, Evaluation, Told
from lstm_ray.evaluate.words import number, percent
from lstm_ray.figure import Figure
from lstm_ray.model.policy import Policy
from lstm_ray.monitor.new_data import shift
from lstm_ray.run_dir import Finding, RunDir

THEN = "Against the run's test part"
"""Topic."""
ERROR = {"forecast": "mean absolute error", "classify": "share told wrong", "label": "mean error"}
NORMAL_95 = 1.96
KEY = ("series_id", "time")


@dataclass(frozen=True)
class Source:
    """What is judged."""

    name: str
    policy: Policy
    stage: str
    """Where the policy comes from."""
    config: Config
    run: RunDir | None
    """The run that it was chosen in; None where a policy's folder alone was named."""


@dataclass(frozen=True)
class Interval:
    """A mean error and how far its standard error reaches; None where the cases span too few blocks of time."""

    mean: float
    deviation: float | None

    @property
    def words(self) -> str:
        return number(self.mean) + ("" if self.deviation is None else f" ± {number(NORMAL_95 * self.deviation)}")


def then_and_now(found: Source, new: Unseen, answer: Evaluation, rows: list[shift.Row], shared: int) -> Told:
    """The errors on the new data beside those on the run's own test part.

    Args:
        rows: ``shift.measure``.
        shared: ``overlap``.
    """
    assert answer.cases is not None, "every judge tells its cases"
    now = _means(pl.DataFrame(answer.cases), found)
    if found.run is None or not found.run.exists(f"evaluate/{CASES}"):
        text = f"The policy's {ERROR[found.config.task]} on the new data is {now['policy'].words}."
        return Told(THEN, [Finding(severity="info", text=f"{text} There is no test part to hold it against.")])
    with found.run.local_copy("evaluate") as folder:
        before = pl.read_parquet(folder / CASES)
    then = _means(before, found)
    findings = [
        *_compared(found, then, now, rows),
        *_learned_from(shared, new),
        *new.findings,
    ]
    return Told(
        THEN,
        findings,
        [_error_bars(found, then, now)],
        [_error_table(found, then, now), _metric_table(found, answer)],
        {
            "error_then": {who: one.mean for who, one in then.items()},
            "error_now": {who: one.mean for who, one in now.items()},
        },
    )


def _means(cases: pl.DataFrame, found: Source) -> dict[str, Interval]:
    """Mean error of every model that answered every case that the policy did, and its standard error from blocks of time."""
    cases = cases.drop_nulls("policy")
    names = [name for name in cases.columns if name not in KEY and not cases[name].null_count()]
    step_M, reach = _steps(cases, found)
    told = {}
    for name in names:
        error_M = cases[name].to_numpy()
        mean, deviation, _ = standard_error(np.divide, [error_M, np.ones_like(error_M)], step_M, reach)
        told[name] = Interval(float(mean), None if deviation is None else float(deviation))
    return told


def _steps(cases: pl.DataFrame, found: Source) -> tuple[NDArray, int]:
    """Step of each case, and how far apart cases share what they are told from."""
    window = found.config.window
    if found.config.task == "classify":
        return np.arange(cases.height), 1
    schema = found.policy.schema
    ticks = schema.ticks(cases["time"].to_numpy())
    reach = max(window.horizon, window.season) if found.config.task == "forecast" else window.history
    return (ticks - schema.axis_start) // schema.step, reach


def _compared(
    found: Source, then: dict[str, Interval], now: dict[str, Interval], rows: list[shift.Row]
) -> list[Finding]:
    """Whether the policy does worse than on its test part, and whether the new data is harder or the policy further off."""
    what, mine, own = ERROR[found.config.task], then["policy"], now["policy"]
    change = own.mean - mine.mean
    share = f" ({percent(abs(change) / mine.mean)} {'more' if change > 0 else 'less'})" if mine.mean > 0 else ""
    text = f"The policy's {what} is {own.words} on the new data, against {mine.words} on the run's test part{share}"
    clear = None
    if mine.deviation is not None and own.deviation is not None:
        reach = NORMAL_95 * float(np.hypot(mine.deviation, own.deviation))
        clear = abs(change) > reach
        text += f"; the difference lies between {number(change - reach)} and {number(change + reach)}, "
        text += "clear of luck" if clear else "which includes zero"
    worst = next((row for row in rows if row["state"] == "shifted" and shift.is_beyond(row)), None)
    if worst is not None:
        text += f". {worst['column']} has shifted (PSI {worst['psi']:.2f})"
    worse = change > 0 and clear is not False
    advice = "Train anew with the new data, or watch whether the shift stays." if worse else ""
    told = [Finding(severity="warning" if worse and clear else "info", text=f"{text}.", advice=advice)]
    rivals = [who for who in then if who in now and who != "policy"]
    if rivals:
        rival = min(rivals, key=lambda who: then[who].mean)
        if then[rival].mean > 0 and now[rival].mean > 0:
            before, after = (1 - means["policy"].mean / means[rival].mean for means in (then, now))
            said = rival.replace("_", " ")
            verdict = "less of a lead than it had" if after < before else "as much of a lead as it had, or more"
            text = (
                f"Against the {said} its skill is {percent(after)} on the new data and {percent(before)} on the test part; the "
                f"{said}'s own error went from {number(then[rival].mean)} to {number(now[rival].mean)}: {verdict}."
            )
            lost = before > 0 >= after
            told.append(Finding(severity="warning" if lost else "info", text=text))
    return told


def overlap(found: Source, new: Unseen, training: Segments, parts: Boundaries) -> int:
    """Steps of the new data that lie in the run's training or validation part: nothing new to the policy."""
    data = found.config.data
    if data.time is None or data.irregular == "time_delta":
        # Rows are counted from 0 in every table: equal numbers are not equal times.
        return 0
    seen: dict[str, list[tuple[int, int]]] = {}
    learned_S = training.held_by("train") | training.held_by("validation")
    for s in np.flatnonzero(learned_S).tolist():
        begins = int(training.first_step[s]), int(np.diff(training.bounds)[s])
        seen.setdefault(training.series[s], []).append(begins)
    first, end = parts["train"][0], parts["validation"][1]
    shared = 0
    for s, name in enumerate(new.segments.series):
        own = range(int(new.segments.first_step[s]), int(new.segments.first_step[s] + np.diff(new.segments.bounds)[s]))
        for start, length in seen.get(name, []):
            shared += max(0, min(own.stop, start + length, end) - max(own.start, start, first))
    return shared


def _learned_from(shared: int, new: Unseen) -> list[Finding]:
    if not shared:
        return []
    text = (
        f"{shared:,} of {int(new.segments.bounds[-1]):,} steps lie in the run's training or validation part: the policy has "
        "learned from them, and errors there are too small."
    )
    return [Finding(severity="warning", text=text, advice="Leave rows out that the run was trained on.")]


def _error_table(found: Source, then: dict[str, Interval], now: dict[str, Interval]) -> dict[str, Any]:
    rows = []
    for who in then:
        if who in now:
            change = 100 * (now[who].mean / then[who].mean - 1) if then[who].mean > 0 else None
            rows.append([_called(who, found), then[who].words, now[who].words, change])
    return {
        "title": "Then and now",
        "columns": ["who", "test part", "new data", "change %"],
        "rows": rows,
        "caption": f"{ERROR[found.config.task].capitalize()} by case, with 95 % intervals from blocks of time.",
        "best": 0,
        "mark": "policy",
    }


def _metric_table(found: Source, answer: Evaluation) -> dict[str, Any]:
    assert found.run is not None
    before = found.run.read_json(f"evaluate/{METRICS}")["metrics"]
    rows: list[list[Any]] = []
    for name, value in answer.metrics.items():
        old = before.get(name)
        change = 100 * (value / old - 1) if value is not None and old else None
        then, now = ("" if one is None else number(one) for one in (old, value))
        rows.append([metric(name).label, then, now, change])
    caption = "Every metric of the policy, on the run's test part and on the new data."
    if found.config.task == "forecast":
        caption += " The scaled ones, such as MASE, are in units of a series' training part; of a new series, of all its steps."
    return {
        "title": "By every metric",
        "columns": ["metric", "test part", "new data", "change %"],
        "rows": rows,
        "caption": caption,
    }


def _error_bars(found: Source, then: dict[str, Interval], now: dict[str, Interval]) -> Figure:
    names = [who for who in then if who in now]
    traces = []
    for label, means in (("test part", then), ("new data", now)):
        reach = [NORMAL_95 * (means[who].deviation or 0.0) for who in names]
        trace = {"type": "bar", "x": [_called(who, found) for who in names], "y": [means[who].mean for who in names]}
        traces.append(trace | {"name": label, "error_y": {"type": "data", "array": reach}})
    what = ERROR[found.config.task]
    caption = (
        f"{what.capitalize()} with 95 % intervals: the policy's went from {number(then['policy'].mean)} on the run's test part "
        f"to {number(now['policy'].mean)} on the new data."
    )
    layout = {"yaxis": {"title": {"text": what}}, "xaxis": {"title": {"text": ""}}}
    return Figure(id="then-and-now", title="Then and now", caption=caption, traces=traces, layout=layout)


def _called(who: str, found: Source) -> str:
    return f"policy ({found.stage})" if who == "policy" else who.replace("_", " ")
