"""Pages of one section: runs compared, and a policy on unseen data. The template, style and script are the run report's."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lstm_ray.errors import InputError, without_credentials
from lstm_ray.evaluate.comparing.comparison import Comparison, compare
from lstm_ray.evaluate.names import Metric, best_of
from lstm_ray.evaluate.told import METRICS
from lstm_ray.figure import Figure
from lstm_ray.monitor.drift.drift import SHIFTED
from lstm_ray.monitor.new_data.replay import monitor_files
from lstm_ray.monitor.new_data.unseen import evaluate_unseen
from lstm_ray.report import page, scores, tables, words
from lstm_ray.report.page import Tile
from lstm_ray.run_dir import Report, RunDir, to_json

SIDE = "Side by side"
UNSEEN = "New data"
QUESTION = "The policy on data that its run has not seen"
REPLAY = "What the monitor would have said"


def write_comparison(places: Sequence[str], out: Path, baselines: bool) -> Comparison:
    """Compare finished runs and write the page, and ``comparison.json`` beside it.

    Raises InputError for runs that cannot be compared, and where the page cannot be written.
    """
    if out.suffix != ".html":
        raise InputError(f"--out '{out}' is no page; name a file such as comparison.html")
    started = time.perf_counter()
    found = compare(places, baselines=baselines)
    told = found.as_dict()
    topics = [SIDE, *dict.fromkeys(one["topic"] for one in found.tables)]
    facts: dict[str, Any] = {"tables": found.tables, "topics": topics}
    facts["wall_seconds"] = round(time.perf_counter() - started, 3)
    report = Report(stage="comparison", summary=found.summary, findings=found.findings, **facts)
    command = shlex.join(
        [
            "lstm-ray",
            "compare",
            *map(without_credentials, places),
            *([] if baselines else ["--no-baselines"]),
            "--out",
            str(out),
        ]
    )
    text = comparison_page(told, report, found.figures, command)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
        out.with_suffix(".json").write_bytes(to_json(told))
    except OSError as error:
        raise InputError(f"cannot write '{out}': {error.strerror}; name another file with --out") from None
    return found


def comparison_page(told: Mapping[str, Any], report: Report, figures: Sequence[Figure], command: str) -> str:
    """Runs side by side.

    Args:
        told: ``Comparison.as_dict()``.
        report: what was found, in words and tables.
    """
    runs, errors = told["runs"], told["errors"]
    names = [run["name"] for run in runs]
    view = page.section("comparison", "Which run is better, and whether by luck", report, figures, None, RunDir("."))
    view.topics.insert(0, page.Topic(SIDE, "comparison-side-by-side", [], [side_by_side(told)], []))
    best, *others = errors
    rivals = scores.Verdict("error", best, errors[best], {name: errors[name] for name in others}, None)
    clear = sum(pair["adjusted"] < 0.05 for pair in told["pairs"])
    tiles = [
        Tile("Least error", words.number(errors[best]), best),
        Tile(
            "Common cases",
            words.number(told["num_cases"]),
            f"answered by {'both' if len(runs) == 2 else f'all {len(runs)}'} runs",
        ),
        Tile("Clear of luck", f"{clear} of {len(told['pairs'])}", "pairs, at 5 % after Holm's correction"),
    ]
    return page.filled(
        kind="Comparison of runs",
        name=" · ".join(names),
        task=told["task"],
        verdict=rivals,
        badge=False,
        part="",
        metric=Metric(f"{told['error']}, common cases".capitalize(), "lower"),
        verdict_text=report.summary,
        tiles=tiles,
        stages={"comparison": view.question},
        views={"comparison": view},
        command=command,
        config_text="",
        environment=[],
    )


def side_by_side(told: Mapping[str, Any]) -> tables.Table:
    """A row for each run: its error on the common cases, its own test metrics, its size; the best of each are starred."""
    runs, errors = told["runs"], told["errors"]
    metrics = {run["name"]: run["metrics"] for run in runs}
    shared = [
        name
        for name in scores.ordered(name for values in metrics.values() for name in values)
        if all(values.get(name) is not None for values in metrics.values())
    ]
    stars: dict[str, list[str]] = best_of(metrics)
    least = min(errors[name] for name in metrics)
    columns = [
        tables.Column("run", numeric=False),
        tables.Column(f"{told['error']}, common cases", True, "lower is better"),
        *(
            tables.Column(found.label, True, f"{found.better} is better" if found.better else "")
            for found in map(scores.metric, shared)
        ),
        *(tables.Column(name, True) for name in ("parameters", "training seconds", "own test cases")),
    ]
    sizes = ("num_parameters", "training_seconds", "num_windows")
    values = [
        [run["name"], errors[run["name"]], *(run["metrics"][name] for name in shared), *(run[size] for size in sizes)]
        for run in runs
    ]
    rows = []
    for run, cells in zip(runs, tables.cells(values), strict=True):
        name = run["name"]
        best = [False, errors[name] == least, *(name in stars.get(metric, ()) for metric in shared)]
        best += [False] * (len(cells) - len(best))
        rows.append(tables.Row([replace(cell, best=star) for cell, star in zip(cells, best, strict=True)]))
    caption = (
        f"On {told['num_cases']:,} cases that every run answered, each counting once however many of its steps were measured; "
        "the other metrics are of each run's own test part. The best are starred."
    )
    return tables.Table("The runs side by side", caption, columns, rows)


def write_unseen(source: str, data: str | list[str], out: str = "") -> tuple[str, Report]:
    """Judge a policy on data that its run has not seen and write the page.

    Returns: the page's path, and what was found. Raises InputError as ``monitor.unseen.evaluate_unseen``.
    """
    holder, name, report = evaluate_unseen(source, data, out)
    named = [word for one in ([data] if isinstance(data, str) else data) for word in ("--data", one)]
    command = shlex.join(
        ["lstm-ray", "evaluate", without_credentials(source), *named, *(["--out", out] if out else [])]
    )
    holder.write_bytes(f"{name}/{page.PAGE}", unseen_page(holder, name, report, command).encode())
    run = RunDir(source)
    if not out and run.exists(page.PAGE):
        page.write_report(run)
    return f"{holder.uri}/{name}/{page.PAGE}", report


def unseen_page(folder: RunDir, name: str, report: Report, command: str) -> str:
    """A policy on unseen data, as ``monitor.unseen`` left it in ``folder/NAME``."""
    test = page.scores_of(folder, f"{name}/{METRICS}")
    verdict = scores.verdict(test)
    view = page.section("unseen", QUESTION, report, folder.figures(name), test, folder)
    extra = report.model_extra or {}
    facts = extra["headline"]
    tiles = []
    if verdict and (then := facts.get("before")) is not None:
        label = scores.metric(verdict.name).label
        tiles = [
            Tile(
                f"{label} on new data",
                words.number(float(verdict.value)),
                f"{words.number(then)} on the run's test part",
            ),
        ]
    if (top := facts.get("most_shifted")) is not None:
        tiles.append(
            Tile("Most shifted", top, f"PSI {words.number(facts['psi'])}", "bad" if facts["psi"] > SHIFTED else "")
        )
    tiles.append(Tile(scores.UNITS[test.task].capitalize(), words.number(test.num_windows), "of new data"))
    return page.filled(
        kind=f"{UNSEEN}: {name}",
        name=extra["run"],
        task=test.task,
        verdict=verdict,
        part="new",
        verdict_text=report.summary,
        tiles=tiles,
        stages={"unseen": QUESTION},
        views={"unseen": view},
        command=command,
        config_text="",
        environment=[],
    )


def write_monitor(source: str, data: str | list[str], out: str = "") -> tuple[str, Report]:
    """Replay the monitor over new data and write the page.

    Returns: the page's path, and what was found. Raises InputError as ``monitor.replay.monitor_files``.
    """
    holder, name, report = monitor_files(source, data, out)
    named = [word for one in ([data] if isinstance(data, str) else data) for word in ("--data", one)]
    command = shlex.join(["lstm-ray", "monitor", without_credentials(source), *named, *(["--out", out] if out else [])])
    holder.write_bytes(f"{name}/{page.PAGE}", monitor_page(holder, name, report, command).encode())
    return f"{holder.uri}/{name}/{page.PAGE}", report


def monitor_page(folder: RunDir, name: str, report: Report, command: str) -> str:
    """The monitor over some files, as ``monitor.replay`` left it in ``folder/NAME``."""
    view = page.section("monitor", REPLAY, report, folder.figures(name), None, folder)
    extra = report.model_extra or {}
    first, ratio, count = extra["first_alarm"], extra["error_ratio"], extra["num_alarms"]
    tiles = [Tile("Alarms", words.number(count), f"over {extra['num_rows']:,} rows", "bad" if count else "good")]
    if first is not None:
        tiles.append(Tile("First alarm", str(first["at"]), f"{first['kind']}: {first['what'] or 'all'}"))
    if ratio is not None:
        note = "times validation's, at the end"
        tiles.append(Tile("Live error", words.number(ratio), note, "bad" if ratio >= extra["worse"] else ""))
    return page.filled(
        kind=f"Monitor: {name}",
        name=extra["run"],
        task="",
        verdict=None,
        part="",
        verdict_text=report.summary,
        tiles=tiles,
        stages={"monitor": REPLAY},
        views={"monitor": view},
        command=command,
        config_text="",
        environment=[],
    )
