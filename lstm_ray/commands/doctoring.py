"""The sub-command that looks at a machine, a cluster and a storage."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from lstm_ray.commands.options import Address, escaped

if TYPE_CHECKING:
    from lstm_ray.doctor.checks import Check


def doctor(
    address: Address = "",
    run_dir: Annotated[
        str, typer.Option("--run-dir", metavar="DIR", help="where stages would write: a folder or a URI to try")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="one line of JSON in place of words")] = False,
) -> None:
    """Look at this machine, and at the cluster and the storage that are named; say what to mend. Exit code 1 where something
    is wrong."""
    from lstm_ray.doctor.checks import exit_code, summary

    checks = _checks(run_dir, address or os.environ.get("RAY_ADDRESS", ""))
    if as_json:
        found = list(checks)
        print(json.dumps({"exit_code": exit_code(found), "checks": [asdict(check) for check in found]}))
    else:
        console, found = Console(highlight=False), []
        for check in checks:
            console.print(_line(check), soft_wrap=True)
            found.append(check)
        console.print(escaped(summary(found)), soft_wrap=True)
    raise typer.Exit(exit_code(found))


def _checks(run_dir: str, address: str) -> Iterator[Check]:
    """Each as soon as it is known: a cluster or a storage may take its time."""
    from lstm_ray.doctor.examined import here

    yield from here(run_dir)
    if address:
        from lstm_ray.on_ray.doctor import cluster_checks

        # Ray tells of lost nodes on stdout, which is the checks' own.
        with redirect_stdout(sys.stderr):
            found = cluster_checks(address)
        yield from found


def _line(check: Check) -> str:
    from lstm_ray.doctor.checks import SIGNS

    colours = {"well": "green", "warning": "yellow", "wrong": "red"}
    return f"[{colours[check.verdict]}]{SIGNS[check.verdict]}[/] {escaped(check.line)}"
