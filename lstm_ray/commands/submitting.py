"""The sub-command that has the others run on a cluster, as jobs. Knows which of their options name places that a cluster's
machines must see."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from lstm_ray import progress
from lstm_ray.commands.options import escaped
from lstm_ray.errors import InputError, nearest, without_credentials

if TYPE_CHECKING:
    from lstm_ray.on_ray.submit import Jobs

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
"""What is no option of submit is the other command's."""
WRITTEN = {"run_dir": "--run-dir", "source": "RUN", "run": "RUN", "out": "--out"}
"""Parameters of commands that name what a job writes, or goes on from."""


def submit(
    context: typer.Context,
    command: Annotated[str, typer.Argument(metavar="COMMAND", help="run, a stage, or any other command")] = "",
    address: Annotated[
        str,
        typer.Option("--address", metavar="URL", help="the cluster's dashboard; default http://127.0.0.1:8265"),
    ] = "",
    detach: Annotated[bool, typer.Option("--detach", help="do not follow the log")] = False,
    working_dir: Annotated[
        Path, typer.Option("--working-dir", metavar="DIR", help="what the job gets a copy of, CONFIG in it")
    ] = Path("."),
    follow: Annotated[str, typer.Option("--follow", metavar="JOB", help="show the log of a job that runs")] = "",
    stop: Annotated[
        str, typer.Option("--stop", metavar="JOB", help="end a job; its run goes on when asked again")
    ] = "",
) -> None:
    """Run a command as a job on a Ray cluster: lstm-ray submit COMMAND, its arguments and options. Follows the log; exits
    with the job's exit code.

    Such as: lstm-ray submit run configs/quickstart.yaml --run-dir s3://BUCKET/runs/first

    What a COMMAND takes: lstm-ray COMMAND --help."""
    if sum(map(bool, (command, follow, stop))) != 1:
        raise InputError("name one: a COMMAND to run, --follow JOB or --stop JOB; lstm-ray submit --help")
    from lstm_ray.on_ray.submit import Jobs

    console = Console(highlight=False)
    if stop:
        with _lost():
            console.print(f"{escaped(stop)} is {Jobs(address).stop(stop).lower()}", soft_wrap=True)
        return
    if follow:
        _follow(Jobs(address), follow, console)
    folder = working_dir.resolve()
    if not folder.is_dir():
        raise InputError(f"--working-dir '{working_dir}' is no folder")
    parameters = _parsed(context, command)
    arguments, metadata = _for_a_cluster(command, context.args, parameters, folder)
    jobs = Jobs(address)
    name = jobs.submit([command, *arguments], folder, (command, metadata["run"]), metadata)
    console.print(f"[green]✓[/] job {escaped(name)}\n  {escaped(jobs.page(name))}", soft_wrap=True)
    if not detach:
        _follow(jobs, name, console)


def _follow(jobs: Jobs, name: str, console: Console) -> None:
    at = f"--address {jobs.url}"
    try:
        with _lost():
            code = jobs.follow(name, lambda text: print(text, end="", flush=True), progress.note)
    except KeyboardInterrupt:
        console.print(
            f"\nno longer followed; the job goes on. See it: lstm-ray submit --follow {name} {at}; end it: lstm-ray submit "
            f"--stop {name} {at}",
            soft_wrap=True,
        )
        raise typer.Exit(1) from None
    raise typer.Exit(code)


@contextmanager
def _lost() -> Iterator[None]:
    """A job that is lost is nobody's fault: one message, and the exit code of what is not the user's to mend."""
    from lstm_ray.on_ray.submit import JobLostError

    try:
        yield
    except JobLostError as lost:
        Console(stderr=True, highlight=False).print(f"[bold red]error:[/] {escaped(lost)}", soft_wrap=True)
        raise typer.Exit(1) from None


def _parsed(context: typer.Context, command: str) -> Mapping[str, Any]:
    """The command's parameters, so that what it would refuse there is refused here."""
    known = {name: one for name, one in context.parent.command.commands.items() if name != "submit"}  # type: ignore
    if command not in known:
        raise InputError(f"no command '{command}' to submit{nearest(command, known)}")
    with known[command].make_context(command, list(context.args)) as inner:
        return inner.params


def _for_a_cluster(
    command: str, given: Sequence[str], parameters: Mapping[str, Any], folder: Path
) -> tuple[list[str], dict[str, str]]:
    """The command's arguments as they hold in the job's copy of the folder, and words about the job.

    Raises InputError where one names a place that the job loses, or does not see.
    """
    from lstm_ray import __version__
    from lstm_ray.config_file import load

    arguments, metadata = list(given), {"command": command, "lstm_ray": __version__, "user": getpass.getuser()}
    places = {option: parameters[name] for name, option in WRITTEN.items() if name in parameters}
    read = parameters.get("data") or []
    run = ""
    if "config" in parameters:
        config = load(Path(parameters["config"]), parameters["overrides"])
        inside = _inside(Path(parameters["config"]), folder)
        arguments[_place_of(arguments, Path(parameters["config"]))] = inside
        metadata["config"], run = inside, config.name
        places["--run-dir"] = places["--run-dir"] or f"runs/{config.name}"
        sources = config.data.source
        read = [sources] if isinstance(sources, str) else sources
    read = read if isinstance(read, list) else [str(read)]
    for word in arguments:
        _require_no_secret(word)
    for option, place in places.items():
        if place:
            metadata[option.strip("-").replace("-", "_").lower()] = str(place)
            _require_lasting(option, str(place), folder)
    _require_seen(read, folder)
    return arguments, metadata | {"run": run or Path(str(places.get("RUN") or "job")).name}


def _place_of(arguments: Sequence[str], config: Path) -> int:
    """Where it stands among the words: as it was typed, which need not be how a path is written again."""
    return next(number for number, word in enumerate(arguments) if not word.startswith("-") and Path(word) == config)


def _inside(config: Path, folder: Path) -> str:
    try:
        return str(config.resolve().relative_to(folder))
    except ValueError:
        raise InputError(
            f"the config '{config}' lies outside of '{folder}', which the job gets a copy of; add --working-dir {config.parent}"
        ) from None


def _local(place: str) -> bool:
    return "://" not in place and not place.startswith("example:")


def _require_no_secret(word: str) -> None:
    """Of an argument, or a place: `s3://KEY:SECRET@...`, alone or after `--set data.source=`."""
    shown = without_credentials(word)
    if shown != word:
        raise InputError(
            f"the secret in '{shown}' would be shown to whoever sees the dashboard; leave it out, and set it on the cluster's "
            "machines, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )


def _require_lasting(option: str, place: str, folder: Path) -> None:
    if _local(place) and not Path(place).is_absolute():
        raise InputError(
            f"{option} '{place}' would lie in the job's own copy of '{folder}' and be lost with it; name storage that every "
            f"machine of the cluster sees: {option} s3://BUCKET/{place}, or the whole path of a shared folder"
        )


def _require_seen(sources: Iterable[str], folder: Path) -> None:
    """A relative path is read from the job's copy, so it must travel with it."""
    from lstm_ray.on_ray.submit import shipped

    travelling: set[Path] = set()
    for source in sources:
        if not _local(source) or Path(source).is_absolute():
            continue
        travelling = travelling or set(shipped(folder))
        fits = [path for path in travelling if path.match(source) or Path(source) in path.parents]
        if not fits:
            raise InputError(
                f"'{source}' does not travel with the job: it is not in '{folder}', or left out by .gitignore or .rayignore; "
                "name it by the path or address where every machine of the cluster sees it"
            )
