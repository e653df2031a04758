"""Figures and tables of a server under load. Plain data; draws nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstm_ray import figure
from lstm_ray.figure import Figure
from lstm_ray.stress.findings import CLIENTS, KILLED, OVER_TIME, OVERLOAD, STEPS, clients
from lstm_ray.stress.outcome import NO_ANSWER, Outcome, Refused
from lstm_ray.stress.overload import Timeline

LAW_POINTS = 60


def figures_of(outcome: Outcome) -> list[Figure]:
    """All that there is something to draw of."""
    found = [_latency(outcome), _throughput(outcome)]
    found += [_used(outcome)] if any(used.machine is not None for used in outcome.used) else []
    if outcome.spike_time is not None and outcome.spike is not None:
        caption = (
            f"{clients(outcome.spike.users)} come at once; {outcome.spike.per_second:,.0f} requests a second are answered, "
            f"{100 * outcome.spike.shed:.3g} % turned away."
        )
        found += _over_time("spike", "A spike", caption, OVERLOAD, outcome.spike_time)
    if outcome.soak_samples:
        found += [_held(outcome, "memory"), _held(outcome, "files")]
    if outcome.outage_time is not None and outcome.outage is not None:
        caption = (
            f"{outcome.outage.failed:,} of {outcome.outage.asked:,} requests fail after the kill; the longest time without an "
            f"answer is {outcome.outage.silent_seconds:.1f} s."
        )
        found += _over_time("kill", "A replica is killed", caption, KILLED, outcome.outage_time)
    return found


def _latency(outcome: Outcome) -> Figure:
    steps, target = outcome.steps, outcome.config.p99_ms
    x = [step.users for step in steps]
    low, high = ([getattr(step, name) for step in steps] for name in ("p99_low_ms", "p99_high_ms"))
    traces = figure.shaded(x, low, high, "p99, 95 % interval", of="p99") if None not in [*low, *high] else []
    for name in ("p50", "p95", "p99"):
        traces.append(
            figure.line(x, [getattr(step, f"{name}_ms") for step in steps], name, "lines+markers", banded=name == "p99")
        )
    traces.append(figure.line([x[0], x[-1]], [target, target], "target"))
    told = [step for step in steps if step.p99_ms is not None]
    caption = "Nobody was answered."
    if told:
        caption = (
            f"The p99 goes from {told[0].p99_ms:.1f} ms with {clients(told[0].users)} to {told[-1].p99_ms:.1f} ms with "
            f"{clients(told[-1].users)}; the target is {target:g} ms."
        )
    marks = {}
    if outcome.knee is not None and outcome.knee.reached:
        marks["knee"] = outcome.knee.users
    if outcome.capacity.state == "found" and outcome.capacity.users is not None:
        marks["capacity"] = outcome.capacity.users
    layout = {
        "xaxis": {"title": {"text": "clients"}, "type": "log", "tickvals": x, "ticktext": [str(users) for users in x]},
        "yaxis": {"title": {"text": "ms"}, "type": "log", "dtick": 1},
        **_marked(marks, is_log=True),
    }
    return Figure(
        id="latency", title="How long an answer takes", caption=caption, topic=STEPS, traces=traces, layout=layout
    )


def _throughput(outcome: Outcome) -> Figure:
    steps, knee = outcome.steps, outcome.knee
    x = [step.users for step in steps]
    traces = [figure.line(x, [step.per_second for step in steps], "answered", "lines+markers")]
    best = max(steps, key=lambda step: step.per_second)
    caption = f"At most {best.per_second:,.0f} requests a second are answered, to {clients(best.users)}"
    if any(step.shed for step in steps):
        traces.append(
            figure.line(x, [_shed_rate(step.per_second, step.shed) for step in steps], "turned away", "lines+markers")
        )
    if knee is not None:
        law = np.linspace(x[0], x[-1], LAW_POINTS)
        expected = knee.per_second_of(law)
        traces.append(figure.line(law, expected, "Universal Scalability Law"))
        caption += f"; the law fitted to all loads allows {knee.peak_per_second:,.0f}"
    layout = {
        "xaxis": {"title": {"text": "clients"}},
        "yaxis": {"title": {"text": "requests per second"}, "rangemode": "tozero"},
    }
    return Figure(
        id="throughput", title="How many are answered", caption=f"{caption}.", topic=STEPS, traces=traces, layout=layout
    )


def _shed_rate(answered: float, shed: float) -> float | None:
    return answered * shed / (1 - shed) if shed < 1 else None


def _used(outcome: Outcome) -> Figure:
    names = [str(step.users) for step in outcome.steps]
    cores = {
        "replicas": [used.replicas for used in outcome.used],
        "proxy": [used.proxy for used in outcome.used],
        "generator": [step.generator for step in outcome.steps],
        "other programs": [used.others for used in outcome.used],
    }
    most = max((used.machine for used in outcome.used if used.machine is not None), default=0.0)
    caption = f"Cores that the server's processes and the clients used; the whole machine was at most {100 * most:.0f} % busy."
    made = figure.bars("cores", "Who uses the machine", caption, names, cores, x_title="clients", y_title="cores")
    return made.model_copy(update={"topic": STEPS})


def _over_time(id: str, title: str, caption: str, topic: str, time: Timeline) -> list[Figure]:
    rates = {"answered": time.answered, "turned away": time.away, "failed": time.failed}
    told = {name: values for name, values in rates.items() if name == "answered" or any(values)}
    counted = figure.lines(
        f"{id}-rates",
        f"{title}: what clients get",
        caption,
        time.seconds,
        told,
        x_title="seconds",
        y_title="requests per second",
    )
    highest = max((value for value in time.p95_ms if value is not None), default=0.0)
    waited = figure.lines(
        f"{id}-latency",
        f"{title}: how long they wait",
        f"95 % of the accepted requests of each half second were answered within {highest:,.0f} ms at the worst.",
        time.seconds,
        {"p95": time.p95_ms},
        x_title="seconds",
        y_title="ms",
    )
    marks = _marked(time.marks)
    return [one.model_copy(update={"topic": topic, "layout": one.layout | marks}) for one in (counted, waited)]


def _held(outcome: Outcome, what: str) -> Figure:
    unit = 1e6 if what == "memory" else 1.0
    traces = []
    for role in dict.fromkeys(sample.role for sample in outcome.soak_samples):
        mine = [sample for sample in outcome.soak_samples if sample.role == role]
        traces.append(figure.line([s.time for s in mine], [getattr(s, what) / unit for s in mine], role))
    told = [growth for growth in outcome.growths if growth.what == what]
    most = max(told, key=lambda growth: growth.growth / max(growth.start, 1.0), default=None)
    caption = f"{'Memory' if what == 'memory' else 'Open files'} of each process over the soak."
    if most is not None:
        share = 100 * most.growth / max(most.start, 1.0)
        caption = f"The {most.role} grew most, by {share:.1f} % over {most.seconds:.0f} s, the first quarter left out."
        if most.state == "steady":
            caption = f"Nothing grew for sure over {most.seconds:.0f} s, the first quarter left out."
    title = "Memory of their own" if what == "memory" else "Open files"
    layout = {
        "xaxis": {"title": {"text": "seconds"}},
        "yaxis": {"title": {"text": "MB" if what == "memory" else "open files"}, "rangemode": "tozero"},
    }
    return Figure(id=f"soak-{what}", title=title, caption=caption, topic=OVER_TIME, traces=traces, layout=layout)


def _marked(marks: dict[str, float], is_log: bool = False) -> dict[str, Any]:
    """Upright lines with words, by their place on x. On an axis of logarithms plotly takes values for lines, and their
    logarithms for words."""
    return {
        "shapes": [
            {"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "line": {"dash": "dot", "width": 1}}
            for at in marks.values()
        ],
        "annotations": [
            {
                "x": float(np.log10(at)) if is_log else at,
                "yref": "paper",
                "y": 1,
                "yanchor": "top",
                "xanchor": "left",
                "text": name,
                "showarrow": False,
            }
            for name, at in marks.items()
        ],
    }


def tables_of(outcome: Outcome) -> list[dict[str, Any]]:
    """As ``report.tables.TableData``."""
    found = [_steps(outcome)]
    if outcome.growths:
        found.append(_growths(outcome))
    if outcome.refused:
        found.append(_refused(outcome.refused))
    return found


def _steps(outcome: Outcome) -> dict[str, Any]:
    loads = [(str(step.users), step, used.machine) for step, used in zip(outcome.steps, outcome.used, strict=True)]
    if outcome.spike is not None:
        loads.append((f"{outcome.spike.users} (spike)", outcome.spike, None))
    if outcome.soak is not None:
        loads.append((f"{outcome.soak.users} (soak)", outcome.soak, None))
    rows = [
        [
            name,
            step.answered,
            round(step.per_second, 1),
            *(_rounded(value) for value in (step.p50_ms, step.p95_ms, step.p99_ms)),
            100 * step.shed,
            100 * step.failed,
            None if step.generator is None else round(100 * step.generator),
            None if machine is None else round(100 * machine),
            "yes" if step.holds(outcome.config.p99_ms) else "no",
        ]
        for name, step, machine in loads
    ]
    columns = ["clients", "answered", "per second", "p50 ms", "p95 ms", "p99 ms", "turned away %", "failed %"]
    config = outcome.config
    return {
        "title": "Every load",
        "caption": (
            "Valid requests alone: each client asks again as soon as it is answered, so clients, not arrivals, "
            "are the load; opening a connection counts. "
            f"Of the clients {100 * config.slow:g} % are slow and {100 * config.hostile:g} % hostile."
        ),
        "columns": [*columns, "generator's core %", "machine %", "target kept"],
        "rows": rows,
        "topic": STEPS,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _growths(outcome: Outcome) -> dict[str, Any]:
    rows = []
    for one in outcome.growths:
        unit = 1e6 if one.what == "memory" else 1.0
        values = [
            round(value / unit, 2) for value in (one.start, one.growth, one.low, one.high, one.limit, one.per_hour)
        ]
        rows.append([f"{one.role}, {'memory MB' if one.what == 'memory' else 'open files'}", *values, one.state])
    return {
        "title": "What grew over the soak",
        "caption": (
            "A straight line by least squares, without the first quarter; the 95 % interval allows for samples that follow "
            "each other (Newey and West). By the hour only if it went on as it did."
        ),
        "columns": ["of", "at first", "growth", "low", "high", "allowed", "by the hour", "verdict"],
        "rows": rows,
        "topic": OVER_TIME,
    }


def _refused(refused: list[Refused]) -> dict[str, Any]:
    rows = [
        [
            one.name,
            " or ".join("none" if status == 0 else str(status) for status in one.right),
            _got(one),
            one.away,
            one.wrong,
        ]
        for one in refused
    ]
    return {
        "title": "What hostile requests got",
        "caption": "Under the steps, the spike and the soak. Turned away: 503 with Retry-After, before they were read.",
        "columns": ["request with", "right", "got", "turned away", "wrong"],
        "rows": rows,
        "topic": CLIENTS,
    }


def _got(one: Refused) -> str:
    told = {("none" if status == "0" else status): number for status, number in one.statuses.items()}
    return ", ".join(f"{status}: {number:,}" for status, number in told.items()) or NO_ANSWER.replace("answer", "turn")
