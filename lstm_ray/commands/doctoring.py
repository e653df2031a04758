"""The sub-command that looks at a machine, a cluster and a storage."""

from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from lstm_ray.commands.options import Address, escaped


def doctor(
    address: Address = "",
    run_dir: Annotated[
        str, typer.Option("--run-dir", metavar="DIR", help="where stages would write: a folder or a URI to try")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="one line of JSON in place of words")] = False,
) -> None:
    """Look at this machine, and at the cluster and the storage that are named; say what to mend. Exit code 1 where something
    is wrong."""
    from lstm_ray.doctor.checks import SIGNS, exit_code, summary
    from lstm_ray.doctor.examined import here

    found = here(run_dir)
    if address := address or os.environ.get("RAY_ADDRESS", ""):
        from lstm_ray.on_ray.doctor import cluster_checks

        # Ray tells of lost nodes on stdout, which is the checks' own.
        with redirect_stdout(sys.stderr):
            found += cluster_checks(address)
    if as_json:
        print(json.dumps({"exit_code": exit_code(found), "checks": [asdict(check) for check in found]}))
    else:
        console, colours = Console(highlight=False), {"well": "green", "warning": "yellow", "wrong": "red"}
        for check in found:
            sign = f"[{colours[check.verdict]}]{SIGNS[check.verdict]}[/]"
            console.print(f"{sign} {escaped(check.line)}", soft_wrap=True)
        console.print(escaped(summary(found)), soft_wrap=True)
    raise typer.Exit(exit_code(found))
