"""Sub-commands that use a finished policy: forecast, serve, update, export."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from lstm_ray.commands.options import Address, escaped, use
from lstm_ray.errors import InputError


def forecast(
    source: Annotated[str, typer.Argument(metavar="RUN", help="run directory, or a policy's folder")],
    data: Annotated[
        list[str],
        typer.Option("--data", metavar="SOURCE", help="table with the policy's columns, as data.source; repeatable"),
    ],
    out: Annotated[
        str,
        typer.Option("--out", metavar="OUT", help="folder to write Parquet files to, or one file named .parquet"),
    ],
    address: Address = "",
) -> None:
    """Forecast what follows each series of tables of any size: one row per series, step and target. What was killed goes on."""
    from lstm_ray.on_ray.forecast import forecast_files, words_of

    use(address)
    words = words_of(forecast_files(source, data[0] if len(data) == 1 else data, out))
    Console(highlight=False).print(f"[green]✓[/] {escaped(words)}", soft_wrap=True)


def serve(
    source: Annotated[str, typer.Argument(metavar="RUN", help="run directory, or a policy's folder")],
    overrides: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="SECTION.FIELD=VALUE",
            help="change a field of deploy or monitor, such as deploy.port or monitor.keep_days; repeatable; parsed as YAML",
        ),
    ] = [],  # noqa: B006
    address: Address = "",
) -> None:
    """Serve a policy over HTTP until Ctrl-C."""
    from lstm_ray.on_ray.serve import serve_forever

    use(address)
    serve_forever(source, overrides)


def update(
    source: Annotated[
        str,
        typer.Argument(
            metavar="[RUN]", help="run directory, or a policy's folder; with --rollback a version's beginning"
        ),
    ] = "",
    canary: Annotated[
        float | None,
        typer.Option(
            "--canary", metavar="SHARE", help="let it answer this share of predictions, 0 to 1; 0: none any more"
        ),
    ] = None,
    shadow: Annotated[
        bool | None,
        typer.Option(
            "--shadow/--no-shadow", help="give it copies of requests and compare its answers, unseen by callers"
        ),
    ] = None,
    promote: Annotated[bool, typer.Option("--promote", help="make the canary the champion")] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="back to the champion before this one, or to the version named")
    ] = False,
    probation: Annotated[
        bool,
        typer.Option(
            "--probation",
            help="a new champion is tried first: the one before answers beside it, unseen, for retrain.probation_hours, which "
            "doubles the work, and comes back by itself where the new one's errors breach retrain.rollback_ratio",
        ),
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="say what is served, and change nothing")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="also where it needs other inputs or answers otherwise than the champion")
    ] = False,
    address: Address = "",
    application: Annotated[
        str, typer.Option("--application", metavar="NAME", help="of the server, where a cluster has several")
    ] = "lstm-ray",
) -> None:
    """Put a policy into a server that runs, without a request lost: as champion, canary or shadow; or roll back."""
    from lstm_ray.on_ray.update import asked, server, told

    change = None if status else asked(source, canary, shadow, promote, rollback, force)
    running = server(address, application)
    if probation:
        if change is None:
            raise InputError("--status changes nothing; leave --probation out")
        change = running.on_probation(change)
    found = running.status() if change is None else running.change(change)
    console = Console(highlight=False)
    if change is not None:
        words = (
            f"loaded and warm in {found['ready_seconds']:.1f} s, swapped within {1000 * found['swap_seconds']:.0f} ms"
        )
        console.print(f"[green]✓[/] {words}", soft_wrap=True)
        if found["warning"]:
            console.print(f"  [yellow]![/] {escaped(found['warning'])}", soft_wrap=True)
    for line in told(found):
        console.print(f"  {escaped(line)}", soft_wrap=True)


def export(
    source: Annotated[str, typer.Argument(metavar="RUN", help="run directory, or a policy's folder")],
    kinds: Annotated[
        list[str], typer.Option("--format", metavar="FORM", help="onnx or torch; repeatable; default: both")
    ] = [],  # noqa: B006
    quantised: Annotated[
        list[str],
        typer.Option("--quantise", metavar="WEIGHTS", help="int8 (ONNX) or bf16 (torch) beside it; repeatable"),
    ] = [],  # noqa: B006
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="where to write; default: beside the policy")] = "",
) -> None:
    """Write a policy as ONNX and torch.export graphs from the data's units to its answer, each held against the policy."""
    from lstm_ray.serving.exports import export_run

    export_run(source, kinds, quantised, out)
