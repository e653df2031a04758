"""Sub-commands that operate a policy: monitor, retrain, stress, forget."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from lstm_ray.commands.options import Address, escaped, use


def monitor(
    source: Annotated[str, typer.Argument(metavar="RUN", help="run directory, or a policy's folder")],
    data: Annotated[
        list[str],
        typer.Option("--data", metavar="SOURCE", help="table with the policy's columns, as data.source; repeatable"),
    ],
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="where to write; default RUN/monitor/NAME")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="last, one line of JSON")] = False,
) -> None:
    """Replay a server's monitor over new files in the order of time: which column alarmed when, how the errors went."""
    from lstm_ray.report.terminal import monitor_run

    monitor_run(source, data, out, as_json)


def retrain(
    run: Annotated[str, typer.Argument(metavar="RUN", help="run directory, on a disk of this machine")],
    data: Annotated[
        list[str],
        typer.Option("--data", metavar="SOURCE", help="new rows, with the run's columns, as data.source; repeatable"),
    ] = [],  # noqa: B006
    watch: Annotated[
        bool, typer.Option("--watch", help="go on looking at the run's server, and retrain whenever something asks")
    ] = False,
    by_hand: Annotated[
        bool, typer.Option("--by-hand", "--force", help="train a challenger though nothing asks for one")
    ] = False,
    overrides: Annotated[
        list[str],
        typer.Option("--set", metavar="retrain.FIELD=VALUE", help="change a field of the section retrain; repeatable"),
    ] = [],  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", help="last, one line of JSON")] = False,
    address: Address = "",
) -> None:
    """Learn on: a challenger from the champion and new rows, judged beside it, and promoted where it is better and nowhere
    much worse. Interrupted at any point, it leaves the champion, and goes on when it is called again."""
    from lstm_ray.retrain.terminal import retrain_run

    use(address)
    retrain_run(run, data, by_hand, watch, overrides, as_json)


def registry(
    source: Annotated[str, typer.Argument(metavar="RUN", help="run directory on this machine, or a policy's folder")],
    entries: Annotated[
        int,
        typer.Option("--ledger", metavar="N", min=0, help="print the ledger's last N entries, each with its evidence"),
    ] = 0,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="hold every line of the ledger against the next; exit code 2 where one was altered"
        ),
    ] = False,
) -> None:
    """Tell which policies a run has, which of them is champion, challenger and previous, and who changed that, and why."""
    from lstm_ray.registry.showing import entry_lines, policy_lines, verified

    console = Console(highlight=False)
    for line in policy_lines(source) if not (entries or verify) else ():
        console.print(escaped(line), soft_wrap=True)
    for line in entry_lines(source, entries):
        console.print(escaped(line), soft_wrap=True)
    if verify:
        console.print(f"[green]✓[/] {escaped(verified(source))}", soft_wrap=True)


def lineage(
    source: Annotated[str, typer.Argument(metavar="RUN", help="run directory on this machine, or a policy's folder")],
    version: Annotated[
        str, typer.Argument(metavar="[VERSION]", help="how it begins, as an answer names it; default: the champion")
    ] = "",
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="read the files of its data that are still there, and hash them")
    ] = True,
) -> None:
    """Lead from a policy back to what it was made from: its parents, and their data by hash, configuration and code."""
    from lstm_ray.registry.lineage import ancestry, lines

    for line in lines(ancestry(source, version, check)):
        Console(highlight=False).print(escaped(line), soft_wrap=True)


def stress(
    source: Annotated[str, typer.Argument(metavar="RUN", help="run directory, or a policy's folder")],
    overrides: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="SECTION.FIELD=VALUE",
            help="change a field of stress or deploy; repeatable; parsed as YAML",
        ),
    ] = [],  # noqa: B006
    url: Annotated[
        str,
        typer.Option("--url", metavar="URL", help="load this running server in place of one that is started here"),
    ] = "",
    token_variable: Annotated[
        str,
        typer.Option(
            "--token-variable", metavar="NAME", help="variable with the token of --url; default: deploy.token_variable"
        ),
    ] = "",
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="where to write; default RUN/stress")] = "",
    address: Address = "",
) -> None:
    """Put a policy's server under load: steps, a spike, a soak, bad clients, a killed replica. Exit code 1 where it breaks."""
    from lstm_ray.stress.page import stress_run

    use(address)
    if not stress_run(source, overrides, url, token_variable, out):
        raise typer.Exit(1)


def forget(
    source: Annotated[str, typer.Argument(metavar="RUN", help="run directory on this machine")],
    series: Annotated[
        str, typer.Option("--series", metavar="ID", help="name of the series, as tables and requests tell it")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="do not ask first")] = False,
) -> None:
    """Delete a series from all that a run stores, and flag the policies that learned from it. It cannot be undone."""
    import sys

    from rich.console import Console

    from lstm_ray.errors import InputError
    from lstm_ray.forget.forgetting import forget as forget_series
    from lstm_ray.forget.forgetting import told

    if not yes:
        if not sys.stdin.isatty():
            raise InputError("deleting cannot be undone, and nobody is here to ask: add --yes")
        typer.confirm(f"Delete all that '{source}' stores of series '{series}'?", abort=True)
    found = forget_series(source, series)
    console = Console(highlight=False)
    first, *others = told(found)
    mark = "[green]✓[/]" if found.anything else "[yellow]![/]"
    console.print(f"{mark} {escaped(first)}", soft_wrap=True)
    for line in others:
        console.print(f"  {escaped(line)}", soft_wrap=True)
