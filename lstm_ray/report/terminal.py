"""What a person at a terminal reads of a comparison, and of a policy on new data; the pages say more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lstm_ray.errors import InputError
from lstm_ray.report.single import write_comparison, write_monitor, write_unseen
from lstm_ray.run_dir import Finding


def compare_runs(places: Sequence[str], out: Path, baselines: bool) -> None:
    """Compare finished runs: a table, warnings, the verdict, and where the page is."""
    found = write_comparison(places, out, baselines)
    head, *rows = found.rows()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for at, name in enumerate(head):
        table.add_column(escape(name), justify="right" if at else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console(highlight=False)
    console.print(table)
    _say(console, found.findings, found.summary, f"page: {out}")


def judge_unseen(source: str, data: list[str], out: str) -> None:
    """Judge a policy on new data: the verdict, warnings, and where the page is."""
    if source.endswith((".yaml", ".yml")):
        raise InputError(f"'{source}' is a config; --data judges a trained policy: name a run directory")
    page, report = write_unseen(source, data[0] if len(data) == 1 else data, out)
    _say(Console(highlight=False), report.findings, report.summary, f"report: {page}")


def monitor_run(source: str, data: list[str], out: str, as_json: bool) -> None:
    """Replay the monitor over new data: what alarmed, and where the page is; with ``as_json`` one line of JSON, last."""
    page, report = write_monitor(source, data[0] if len(data) == 1 else data, out)
    _say(Console(highlight=False), report.findings, report.summary, f"report: {page}")
    if as_json:
        extra = report.model_extra or {}
        told = {name: extra[name] for name in ("num_rows", "num_alarms", "first_alarm", "error_ratio", "alarms")}
        print(json.dumps({"summary": report.summary, **told, "page": page}, allow_nan=False))


def _say(console: Console, findings: Sequence[Finding], summary: str, where: str) -> None:
    console.print(f"[green]✓[/] {escape(summary)}", soft_wrap=True)
    for finding in findings:
        if finding.severity == "warning":
            console.print(f"  [yellow]![/] {escape(finding.text)}", soft_wrap=True)
    console.print(escape(where), soft_wrap=True)
