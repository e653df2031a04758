"""The command line: one sub-command per stage, and those that use a policy. Knows how errors become exit codes.

Only light modules are imported here; a command imports what it needs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from lstm_ray import log
from lstm_ray.commands import demonstrating, doctoring, operating, submitting, using
from lstm_ray.commands.options import Address, Profile, escaped, named, use
from lstm_ray.errors import InputError, not_installed

if TYPE_CHECKING:
    from lstm_ray.run_dir import Report, RunDir

app = typer.Typer(
    name="lstm-ray",
    help="From raw sequences to a served, monitored LSTM policy: one YAML, one process or a Ray cluster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
config_app = typer.Typer(help="Look at and check configurations.", no_args_is_help=True)
app.add_typer(config_app, name="config")

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file, such as configs/quickstart.yaml")]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="change a field; repeatable; parsed as YAML")
]
RunDirOption = Annotated[str, typer.Option("--run-dir", metavar="DIR", help="where stages write; default runs/NAME")]
Force = Annotated[bool, typer.Option("--force", help="run even where nothing has changed")]
EXPLAINED = {
    "explore": "Look at the raw table: trends, seasonality, gaps, outliers, drift, lags.",
    "preprocess": "Raw table to segments on a regular grid, and the scaler of the training part.",
    "split": "Cut the time axis into training, validation and test parts.",
    "train": "Train the base LSTM.",
    "plan": "Roll out what-if scenarios in parallel; keep synthetic experience where it helps.",
    "tune": "Search better settings with Ray Tune, from the trained weights.",
    "evaluate": "Choose on validation, read the test part once, set baselines beside.",
    "deploy": "Bundle the chosen policy, serve it on loopback, check and load it.",
}


def _stage_command(name: str) -> Callable[..., None]:
    def command(
        config: ConfigPath,
        overrides: Overrides = [],  # noqa: B006 - typer reads the default, nothing mutates it
        run_dir: RunDirOption = "",
        force: Force = False,
        address: Address = "",
        profile: Profile = "",
    ) -> None:
        run_names([name], config, overrides, run_dir, force, address, profile)

    command.__doc__ = EXPLAINED[name] + " Runs the stages it needs first where they are missing or stale."
    return command


def _explore(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="YAML file; with --suggest the table: a file, folder or glob")
    ],
    overrides: Overrides = [],  # noqa: B006
    run_dir: RunDirOption = "",
    force: Force = False,
    address: Address = "",
    profile: Profile = "",
    suggest: Annotated[
        bool,
        typer.Option(
            "--suggest", help="write a config to start from for a table that has none; a reason on every line"
        ),
    ] = False,
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help="where --suggest writes; default: the terminal")
    ] = "",
) -> None:
    if suggest:
        _suggest(config, out, force)
    elif out:
        raise InputError(f"--out {out} is for --suggest, which writes a config; a run writes into --run-dir")
    else:
        run_names(["explore"], Path(config), overrides, run_dir, force, address, profile)


def _evaluate(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="YAML file; with --data a run directory or a policy's")
    ],
    overrides: Overrides = [],  # noqa: B006
    run_dir: RunDirOption = "",
    force: Force = False,
    address: Address = "",
    profile: Profile = "",
    data: Annotated[
        list[str],
        typer.Option(
            "--data", metavar="SOURCE", help="judge a run's policy on these files, as data.source; repeatable"
        ),
    ] = [],  # noqa: B006
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="where --data writes; default RUN/unseen/NAME")] = "",
    audit: Annotated[
        bool,
        typer.Option("--audit", help="then look for leaks in the finished run; exit code 1 where a check fails"),
    ] = False,
) -> None:
    if data and audit:
        raise InputError("--audit looks at the run that trained the policy, not at --data: ask for one of them")
    if data and (overrides or run_dir):
        raise InputError("--data judges a policy as it was trained, in its own run: leave --set and --run-dir out")
    if data:
        from lstm_ray.report.terminal import judge_unseen

        judge_unseen(config, data, out)
    elif out:
        raise InputError(f"--out {out} is for --data, which judges a run on new files; a run writes into --run-dir")
    elif "://" in config or Path(config).is_dir():
        raise InputError(
            f"'{config}' is a directory: name the YAML of the run, or judge the run on new files with --data"
        )
    else:
        run_names(["evaluate"], Path(config), overrides, run_dir, force, address, profile)
    if audit:
        _audit(Path(config), overrides, run_dir)


def _audit(path: Path, overrides: list[str], run_dir: str) -> None:
    """Say what each check found; exit code 1 where one failed."""
    from lstm_ray.config_file import load
    from lstm_ray.evaluate.audit.auditing import audit
    from lstm_ray.report.card.model_card import write_card
    from lstm_ray.run_dir import RunDir
    from lstm_ray.serving.api import plans

    config = load(path, overrides)
    directory = RunDir(run_dir or Path("runs") / config.name)
    console, signs = Console(highlight=False), {"passed": "[green]✓[/]", "failed": "[red]✗[/]", "left out": "[dim]·[/]"}
    found = audit(config, directory)
    write_card(directory, plans)
    for check in found:
        advice = f" Advice: {check.advice}" if check.advice else ""
        console.print(
            f"{signs[check.verdict]} {check.name} ({check.verdict}): {escaped(check.text + advice)}", soft_wrap=True
        )
    _write_report(directory, True, console)
    if any(check.verdict == "failed" for check in found):
        raise typer.Exit(1)


_evaluate.__doc__ = (
    EXPLAINED["evaluate"]
    + " With --audit: then checks for leaks. With --data: a finished run's policy on data that it has not seen."
)
_explore.__doc__ = EXPLAINED["explore"] + " With --suggest: from a table to a config to start from."

_OWN: dict[str, Callable[..., None]] = {"explore": _explore, "evaluate": _evaluate}
for _name in EXPLAINED:
    app.command(_name)(_OWN.get(_name) or _stage_command(_name))


@app.command()
def run(
    config: ConfigPath,
    overrides: Overrides = [],  # noqa: B006
    run_dir: RunDirOption = "",
    force: Force = False,
    address: Address = "",
    profile: Profile = "",
) -> None:
    """Run every stage in order; stages whose inputs have not changed are skipped."""
    run_names(["environment", *EXPLAINED], config, overrides, run_dir, force, address, profile)


@app.command()
def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN RUN ...", help="directories of evaluated runs, at least two")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="HTML page to write; comparison.json goes beside it")
    ] = Path("comparison.html"),
    baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="the first run's baselines join in")
    ] = True,
) -> None:
    """Hold finished runs against each other on the test cases that all of them answered: tests, ranks, a verdict."""
    from lstm_ray.report.terminal import compare_runs

    compare_runs(runs, out, baselines)


for _command in (
    using.forecast,
    using.serve,
    using.update,
    using.export,
    operating.monitor,
    operating.retrain,
    operating.registry,
    operating.lineage,
    operating.stress,
    operating.forget,
    doctoring.doctor,
    demonstrating.operate_demo,
):
    app.command()(_command)
app.command(context_settings=submitting.PASSED_ON)(submitting.submit)


@app.command()
def benchmark(
    suite: Annotated[
        str,
        typer.Option(
            "--suite",
            metavar="SUITE",
            help="what to measure: accuracy, training, data, plan, evaluate, serve, chaos or scale",
        ),
    ],
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="folder that holds the data files")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="about a minute; rougher figures")] = False,
    only: Annotated[
        list[str], typer.Option("--only", metavar="NAME", help="of the suite's configs or parts, this one; repeatable")
    ] = [],  # noqa: B006
    source: Annotated[
        list[str], typer.Option("--source", metavar="NAME=FILE[,FILE]", help="run a config on another set; repeatable")
    ] = [],  # noqa: B006
    soak: Annotated[
        float | None, typer.Option("--soak", metavar="MINUTES", help="length of the long load (suite serve); else 30")
    ] = None,
    peers: Annotated[
        Path | None,
        typer.Option("--peers", metavar="PYTHON", help="a Python with neuralforecast and darts to measure beside"),
    ] = None,
) -> None:
    """Measure what the project claims on this machine: a table and, last, one line of JSON."""
    from lstm_ray.benchmark.options import Options, parse_sources
    from lstm_ray.benchmark.suites import run_suite

    run_suite(suite, Options(data, quick, only, parse_sources(source), soak, peers))


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of the YAML: every field with its meaning, unit and default."""
    import json

    from lstm_ray.config import Config

    print(json.dumps(Config.model_json_schema(), indent=2))


@config_app.command("check")
def config_check(config: ConfigPath, overrides: Overrides = []) -> None:  # noqa: B006
    """Validate a YAML and its columns against the data's files, and tell how these differ; nothing is run."""
    from lstm_ray.config_file import load
    from lstm_ray.data.source.files import also_read, findings, header
    from lstm_ray.data.timeline.grid import resolved

    loaded = resolved(load(config, overrides))
    also = also_read(loaded)
    columns = header(loaded.data, also)
    words = f"{config}: task {loaded.task}, {len(columns)} columns in the source"
    console = Console(highlight=False)
    console.print(f"[green]ok[/] {escaped(words)}", soft_wrap=True)
    for finding in findings(loaded.data, also):
        sign, advice = ("[yellow]![/]" if finding.severity == "warning" else "·"), finding.advice
        console.print(f"  {sign} {escaped(finding.text + (f' Advice: {advice}.' if advice else ''))}", soft_wrap=True)


def _suggest(source: str, out: str, force: bool) -> None:
    """Write the config, or print it; doubts go to the terminal, beside the text where that is a pipe."""
    from lstm_ray.explore.suggest import suggest

    if source.endswith((".yaml", ".yml")):
        raise InputError(f"'{source}' is a config; --suggest reads a table and writes one: give the table's path")
    if out and Path(out).exists() and not force:
        raise InputError(f"'{out}' exists; name another file with --out, or add --force to write over it")
    found = suggest(source)
    if not out:
        print(found.text, end="")
    else:
        try:
            Path(out).write_text(found.text, encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write '{out}': {error.strerror}; name a file in a folder that exists") from None
    console = Console(stderr=True, highlight=False)
    for doubt in found.unsure:
        console.print(f"  [yellow]?[/] {escaped(doubt)}", soft_wrap=True)
    if out:
        console.print(f"[green]✓[/] {escaped(out)}; look at it, then: lstm-ray explore {escaped(out)}", soft_wrap=True)


def run_names(
    names: list[str],
    path: Path,
    overrides: list[str],
    run_dir: str,
    force: bool,
    address: str,
    profile: str = "",
) -> None:
    """Run stages for a person: say what happens, write the report page, name where it is."""
    from lstm_ray.config_file import load
    from lstm_ray.lifecycle import run_stages
    from lstm_ray.run_dir import RunDir

    use(address)
    config = load(path, overrides)
    directory = RunDir(run_dir or Path("runs") / config.name)
    console = Console(highlight=False, quiet=log.is_json())
    changed = False

    def on_end(name: str, report: Report, skipped: bool) -> None:
        nonlocal changed
        changed = changed or not skipped
        took = "[dim]unchanged, skipped[/]" if skipped else f"{report.wall_seconds:6.1f} s"
        console.print(f"[green]✓[/] {name:<12} {took}  {escaped(report.summary)}", soft_wrap=True)
        if not skipped:
            for finding in report.findings:
                if finding.severity == "warning":
                    console.print(f"  [yellow]![/] {escaped(finding.text)}", soft_wrap=True)

    run_stages(
        config,
        directory,
        names,
        force=force,
        on_start=lambda name: console.print(f"[dim]→ {name}[/]"),
        on_end=on_end,
        around=_profiling(profile, directory),
    )
    _write_report(directory, changed, console)


def _profiling(kind: str, run: RunDir) -> Callable[[str], AbstractContextManager[None]]:
    """What is entered while a stage runs."""
    if not kind:
        return lambda stage: nullcontext()
    from lstm_ray.on_ray.profiling import profiled, require_kind

    require_kind(kind)
    return lambda stage: profiled(kind, stage, run)


def _write_report(directory: RunDir, changed: bool, console: Console) -> None:
    from lstm_ray.report.page import PAGE, write_report

    page = write_report(directory) if changed or not directory.exists(PAGE) else f"{directory.uri}/{PAGE}"
    console.print(f"report: {escaped(page)}", soft_wrap=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit 2 with one message where the user's input is wrong."""
    guarded(lambda: app(named(sys.argv[1:] if arguments is None else arguments), standalone_mode=True))


def guarded(work: Callable[[], Any]) -> None:
    """Do the work; what the user can mend becomes one message and exit code 2, being stopped one line and 128 + the signal."""
    received, in_json = list[int](), False
    try:
        in_json = log.is_json()
        with _stopped_by(received):
            try:
                work()
            except ModuleNotFoundError as error:
                raise not_installed(error) or error from None
    except InputError as error:
        if in_json:
            log.join({})
            log.say(str(error), "error")
        else:
            Console(stderr=True, highlight=False).print(f"[bold red]error:[/] {escaped(error)}", soft_wrap=True)
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as leaving:
        # Typer makes an exit with 130 of every interruption; an exit with another code has said its own words.
        if not received or getattr(leaving, "code", 130) != 130:
            raise
        Console(stderr=True).print("stopped; the same command goes on from here")
        sys.exit(128 + received[0])


@contextmanager
def _stopped_by(received: list[int]) -> Iterator[None]:
    """Ctrl-C and SIGTERM, which ends a job or a container, unwind the work alike, so that what it began is put away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        received.append(number)
        # No class of our own: Ray's waiting, in C++, lets this one through alone.
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def job(name: str | None) -> None:
    """What every file in ``jobs/`` runs: one stage, or with None all of them, from ``--config`` and the options above."""
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    @single.command(help=EXPLAINED[name] if name else "Every stage of the lifecycle, in order.")
    def command(
        config: Annotated[Path, typer.Option("--config", help="YAML file, such as configs/quickstart.yaml")],
        overrides: Overrides = [],  # noqa: B006
        run_dir: RunDirOption = "",
        force: Force = False,
        address: Address = "",
        profile: Profile = "",
    ) -> None:
        names = [name] if name else ["environment", *EXPLAINED]
        run_names(names, config, overrides, run_dir, force, address, profile)

    guarded(lambda: single(named(sys.argv[1:])))
