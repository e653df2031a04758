"""``report.html`` and ``report.json`` of a stress test, and what a person at a terminal reads of it."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from lstm_ray.errors import InputError, without_credentials
from lstm_ray.model.policy import Policy
from lstm_ray.model.stored import POLICY
from lstm_ray.report import page, words
from lstm_ray.report.page import Tile
from lstm_ray.run_dir import REPORT, Report, RunDir, to_json
from lstm_ray.stress import findings, pictures
from lstm_ray.stress.outcome import Outcome
from lstm_ray.stress.stressing import stress

FOLDER = "stress"
QUESTION = "The server under steps, a spike and steady load, with slow and hostile clients and a replica killed"


def stress_run(
    source: str, overrides: Sequence[str] = (), url: str = "", token_variable: str = "", out: str = ""
) -> bool:
    """Put a run's policy under load, write the page and tell a person; the last line is JSON.

    Args:
        token_variable: environment variable that holds the token of the server at ``url``; none: what the policy's
            ``deploy.token_variable`` names, where it is set.
        out: folder to write to; none: ``RUN/stress``.

    Returns: whether the server held together (a slow one does).
    Raises InputError as ``stressing.stress``, and where the page cannot be written.
    """
    if token_variable and not url:
        raise InputError(
            "--token-variable names the token of the server at --url; one that is started here makes its own"
        )
    run, folder = _place(source, out)
    began = time.perf_counter()
    policy, outcome = stress(source, overrides, url, token_variable)
    report = report_of(policy, outcome, time.perf_counter() - began)
    command = _command(source, overrides, url, out)
    try:
        run.write_bytes(f"{folder}{REPORT}", to_json(report.model_dump()))
        run.write_bytes(f"{folder}{page.PAGE}", page_of(report, outcome, policy, command).encode())
    except OSError as error:
        raise InputError(f"cannot write to '{run.uri}/{folder}': {error}; name another folder with --out") from None
    where = f"{run.uri}/{folder}{page.PAGE}"
    _say(report, where)
    print(json.dumps(last_line(outcome, where)), flush=True)
    return not outcome.broken


def _place(source: str, out: str) -> tuple[RunDir, str]:
    """Where to write; checked before anything takes long."""
    if out:
        return RunDir(out), ""
    run = RunDir(source)
    if run.exists(POLICY):
        raise InputError(
            f"'{source}' is a policy's folder, whose files are hashed; name a folder to write to with --out"
        )
    if run.local is not None and run.local.exists() and not os.access(run.local, os.W_OK):
        raise InputError(f"'{source}' cannot be written; name a folder to write to with --out")
    return run, f"{FOLDER}/"


def report_of(policy: Policy, outcome: Outcome, seconds: float) -> Report:
    """What was found, in words and tables."""
    return Report(
        stage=FOLDER,
        summary=findings.summary_of(outcome),
        findings=findings.findings_of(outcome),
        wall_seconds=round(seconds, 3),
        name=policy.config.name,
        policy_version=policy.version,
        tables=pictures.tables_of(outcome),
        topics=findings.TOPICS,
        outcome=outcome.as_dict(),
    )


def page_of(report: Report, outcome: Outcome, policy: Policy, command: str) -> str:
    """The page as text."""
    view = page.section(FOLDER, QUESTION, report, pictures.figures_of(outcome), None, RunDir("."))
    return page.filled(
        kind="Stress test",
        name=policy.config.name,
        task=policy.config.task,
        verdict_text=report.summary,
        tiles=_tiles(outcome),
        stages={FOLDER: QUESTION},
        views={FOLDER: view},
        command=command,
        config_text="",
        environment=[],
    )


def _tiles(outcome: Outcome) -> list[Tile]:
    capacity, target = outcome.capacity, f"p99 within {outcome.config.p99_ms:g} ms"
    told = {
        "found": lambda: f"{capacity.per_second or 0:,.0f} / s",
        "not reached": lambda: f"> {capacity.per_second or 0:,.0f} / s",
        "never held": lambda: "none",
    }[capacity.state]()
    note = f"{findings.clients(capacity.users)}, {target}" if capacity.users else target
    tiles = [
        Tile("Capacity", told, note, "bad" if capacity.state == "never held" else ""),
        Tile("Knee", findings.knee_words(outcome.knee), "clients, where latency turns upwards"),
    ]
    shed = outcome.shedding
    tone = {"unbounded": "bad", "failed": "bad", "bounded": "good"}.get(shed.state, "")
    at = f"at {findings.clients(shed.users)}: {shed.state}"
    if shed.p99_ms is not None:
        at = f"at {findings.clients(shed.users)}, p99 of the accepted {shed.p99_ms:,.0f} ms: {shed.state}"
    tiles.append(Tile("Turned away", findings.shed_words(outcome), at, tone))
    if outcome.recovery is not None:
        seconds = outcome.recovery.seconds
        told = words.NOTHING if seconds is None else f"{seconds:.1f} s"
        tiles.append(Tile("Recovery", told, "after the spike" if seconds is not None else "not while watched"))
    if outcome.outage is not None:
        note = f"without an answer, {outcome.outage.failed:,} requests failed, a replica killed"
        tiles.append(Tile("Outage", f"{outcome.outage.silent_seconds:.1f} s", note))
    if outcome.growths:
        leaks = [one for one in outcome.growths if one.state == "leaks"]
        tiles.append(Tile("Leaks", str(len(leaks)), "memory and open files", "bad" if leaks else "good"))
    return tiles


def _command(source: str, overrides: Sequence[str], url: str, out: str) -> str:
    named = [word for one in overrides for word in ("--set", one)]
    return shlex.join(
        [
            "lstm-ray",
            "stress",
            without_credentials(source),
            *named,
            *(["--url", url] if url else []),
            *(["--out", out] if out else []),
        ]
    )


def _say(report: Report, where: str) -> None:
    console = Console(highlight=False)
    console.print(f"[green]✓[/] {escape(report.summary)}", soft_wrap=True)
    signs = {"warning": "[yellow]![/]", "advice": "·", "info": "·"}
    for finding in report.findings:
        advice = f" Advice: {finding.advice}" if finding.advice else ""
        console.print(f"  {signs[finding.severity]} {escape(finding.text + advice)}", soft_wrap=True)
    console.print(f"report: {escape(where)}", soft_wrap=True)


def last_line(outcome: Outcome, where: str) -> dict[str, Any]:
    """The figures that programs read."""
    recovery, outage, shed = outcome.recovery, outcome.outage, outcome.shedding
    return {
        "report": where,
        "broken": outcome.broken,
        "p99_target_ms": outcome.config.p99_ms,
        "capacity": outcome.capacity.state,
        "capacity_users": outcome.capacity.users,
        "capacity_per_second": outcome.capacity.per_second,
        "knee_users": None if outcome.knee is None else outcome.knee.users,
        "first": outcome.first,
        "shedding": shed.state,
        "shed_share": shed.share,
        "accepted_p99_ms": shed.p99_ms,
        "recovery_seconds": None if recovery is None else recovery.seconds,
        "outage_seconds": None if outage is None else outage.silent_seconds,
        "outage_failed": None if outage is None else outage.failed,
        "back_seconds": None if outage is None else outage.back_seconds,
        "leaks": [f"{one.role}: {one.what}" for one in outcome.growths if one.state == "leaks"],
        "hostile_requests": sum(one.asked for one in outcome.refused),
        "hostile_wrong": sum(one.wrong for one in outcome.refused),
        "generator_share": outcome.generator,
    }
