"""The stages in order, what each depends on, and when one may be skipped. Knows nothing of what happens inside one.

Importing this imports no stage: a stage's module (and torch, Ray, Polars) is loaded when it has to run.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from importlib.util import find_spec
from operator import getitem

from lstm_ray import __version__, log, progress
from lstm_ray.config import Config
from lstm_ray.data.source.files import stamp
from lstm_ray.data.timeline.grid import resolved
from lstm_ray.errors import InputError, not_installed
from lstm_ray.run_dir import FULL, REPORT, Report, RunDir, StageDir, digest
from lstm_ray.sections.data import DataConfig
from lstm_ray.sections.evaluate import EvaluateConfig
from lstm_ray.sections.plan import PlanConfig
from lstm_ray.storage.faults import usable

StageFunction = Callable[[Config, RunDir, StageDir], Report]


@dataclass(frozen=True)
class Stage:
    """One stage: where its function is, which config sections and which earlier stages its result depends on."""

    function: str
    """``module:function`` with the signature StageFunction."""
    sections: tuple[str, ...]
    """Sections of the YAML, or single fields of them as SECTION.FIELD."""
    after: tuple[str, ...] = ()
    """Stages it needs; they run first where they are missing or stale."""
    uses: tuple[str, ...] = ()
    """Stages whose result it takes into account where they have run."""
    reads_data: bool = False
    further: Callable[[Config], dict[str, int | str]] = lambda config: {}
    """What else its result depends on, under some settings alone."""
    early: str = ""
    """``module:function`` of (config, run) that refuses, before training, what the data would have it refuse after."""


READ = tuple(f"data.{name}" for name in DataConfig.model_fields if name != "licence")
"""What a table is read by: under which licence it comes changes nothing in it."""
STAGES: Mapping[str, Stage] = {
    "environment": Stage("lstm_ray.environment:environment", tuple(Config.model_fields), reads_data=True),
    "explore": Stage(
        "lstm_ray.explore.stage:explore", ("task", "seed", *READ, "explore", "split", "window"), reads_data=True
    ),
    "preprocess": Stage(
        "lstm_ray.on_ray.ingest:preprocess",
        ("task", *READ, "preprocess", "split", "window.season"),
        reads_data=True,
        further=lambda config: _of_preprocess(config),
    ),
    "split": Stage("lstm_ray.data.stage:split", ("task", "split", "window"), after=("preprocess",)),
    "train": Stage(
        "lstm_ray.on_ray.train:train",
        ("seed", "model", "train"),
        after=("split",),
        further=lambda config: _of_start(config),
    ),
    "plan": Stage(
        "lstm_ray.on_ray.plan:plan",
        # By how many actors is a matter of speed: a stage that was killed may go on with fewer.
        tuple(f"plan.{name}" for name in PlanConfig.model_fields if name != "actors"),
        after=("train",),
        early="lstm_ray.on_ray.plan:require_possible_plan",
    ),
    "tune": Stage("lstm_ray.on_ray.tune:tune", ("tune",), after=("train",)),
    "evaluate": Stage(
        "lstm_ray.on_ray.evaluate:evaluate",
        tuple(f"evaluate.{name}" for name in EvaluateConfig.model_fields if name != "workers"),
        after=("train",),
        uses=("plan", "tune"),
        early="lstm_ray.on_ray.evaluate:require_possible",
    ),
    "deploy": Stage(
        "lstm_ray.on_ray.deploy:deploy", ("deploy", "monitor", "plan.decision", "data.licence"), after=("evaluate",)
    ),
}


def run_stages(
    config: Config,
    run: RunDir,
    names: list[str],
    *,
    force: bool = False,
    on_start: Callable[[str], None] = lambda name: None,
    on_end: Callable[[str, Report, bool], None] = lambda name, report, skipped: None,
    around: Callable[[str], AbstractContextManager[None]] = lambda name: nullcontext(),
) -> dict[str, Report]:
    """Run the named stages and whatever they need that is missing or stale; skip what still holds.

    Args:
        force: run the named stages even where their fingerprint still matches.
        on_start: called with a stage's name before it runs.
        on_end: called with the name, the report and whether the stage was skipped.
        around: entered while a stage of that name runs.
    """
    _require_private(config, names)
    config = resolved(config)
    _try_own_objective(config)
    data_stamp = stamp(config.data)
    reports: dict[str, Report] = {}
    with only_one_at_a_time(run), log.of_run(run_id(run)):
        for name in _with_needs(names):
            fingerprint = _fingerprint(name, config, run, data_stamp)
            # A forced stage's own report is not read: forcing it is how a damaged one is mended.
            report = None if force and name in names else run.report(name)
            skipped = report is not None and report.fingerprint == fingerprint
            if report is None or not skipped:
                if name == "train":
                    _ask_early(_with_needs(names), config, run)
                on_start(name)
                with around(name):
                    report = _run_one(name, fingerprint, config, run)
            else:
                log.say(f"stage {name} is unchanged and skipped")
            reports[name] = report
            on_end(name, report, skipped)
        return reports


def _require_private(config: Config, names: list[str]) -> None:
    """A search trains without the account of train.private, and what it finds may be chosen."""
    if config.train.private is not None and "tune" in names:
        raise InputError(
            "train.private is set, and the trials of tune would be trained without privacy; run the stages that keep it: "
            "'lstm-ray plan CONFIG' and 'lstm-ray deploy CONFIG', which run all but tune"
        )


def _try_own_objective(config: Config) -> None:
    """What the YAML's own function costs is asked once before any stage runs: planning comes late."""
    decision = config.plan.decision
    if decision is None or not any(term.kind == "own" for term in decision.objective):
        return
    objectives = import_module("lstm_ray.plan.decisions.objectives")
    known = [*config.data.known, *config.data.static]
    objectives.require_usable(decision, config.data.target, known, decision.steps or config.window.horizon)


def _ask_early(names: list[str], config: Config, run: RunDir) -> None:
    """Training may take hours: what cannot be done after it is told before."""
    if config.train.private is not None:
        spending = import_module("lstm_ray.model.spending")
        spending.require_installed()
    if "deploy" in names and "onnx" in config.deploy.export:
        for package in (name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None):
            raise not_installed(ModuleNotFoundError(name=package)) or InputError(
                f"deploy.export: no package '{package}'"
            )
    for early in filter(None, (STAGES[name].early for name in names)):
        module, _, function = early.partition(":")
        getattr(import_module(module), function)(config, run)


def _run_one(name: str, fingerprint: str, config: Config, run: RunDir) -> Report:
    module, function = STAGES[name].function.split(":")
    stage: StageFunction = getattr(import_module(module), function)
    started = time.perf_counter()
    with _room_on_disk(name, run), run.stage(name, fingerprint) as work, log.of_stage(name, work.path), _logged(name):
        report = stage(config, run, work)
        report.fingerprint = fingerprint
        report.wall_seconds = round(time.perf_counter() - started, 3)
        work.write_json(REPORT, report)
        for finding in report.findings:
            if finding.severity == "warning":
                log.say(finding.text, "warning", advice=finding.advice)
        log.say(f"stage {name} ends: {report.summary}", seconds=report.wall_seconds)
    return report


@contextmanager
def _logged(name: str) -> Iterator[None]:
    """A stage's log tells that it began, and why it did not end."""
    log.say(f"stage {name} begins", version=__version__)
    try:
        yield
    except BaseException as error:
        # What Python and libraries say may hold values of the data; what is meant for people is made for them.
        why = str(error) if isinstance(error, InputError) else type(error).__name__
        log.say(f"stage {name} failed: {why}", "error")
        raise


def run_id(run: RunDir) -> str:
    """By which every line and metric of a run directory is known: made once, whatever is run in it later."""
    try:
        return str(run.read_json(log.RUN_FILE)["run"])
    except (InputError, KeyError, TypeError):  # it is not there, or damaged
        run.write_json(log.RUN_FILE, {"run": (made := log.new_id())})
        return made


@contextmanager
def _room_on_disk(name: str, run: RunDir) -> Iterator[None]:
    """A disk without room becomes one clear error; what the run held before stays whole."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        where = error.filename or run.local or tempfile.gettempdir()
        larger = "--run-dir (and TMPDIR)" if run.local else "TMPDIR"
        raise InputError(
            f"the stage '{name}' found no room to write '{where}' ({error.strerror}); make room on that disk, or set {larger} "
            "to a larger one. What the run held before is whole, and the same command goes on from here"
        ) from None


def _with_needs(names: list[str]) -> list[str]:
    """The names and all they need, in the order of STAGES."""
    needed = {"environment", *names}
    for name in reversed(list(STAGES)):
        if name in needed:
            needed.update(STAGES[name].after)
    return [name for name in STAGES if name in needed]


def _fingerprint(name: str, config: Config, run: RunDir, data_stamp: list[list[str | int]]) -> str:
    """What the stage's result depends on: version, config sections, data files and the stages before it."""
    stage = STAGES[name]
    before = {other: report.fingerprint for other in (*stage.after, *stage.uses) if (report := run.report(other))}
    tree = config.model_dump(mode="json")
    sections = {path: reduce(getitem, path.split("."), tree) for path in stage.sections}
    data = data_stamp if stage.reads_data else None
    content = {"version": __version__, "sections": sections, "data": data, "before": before}
    return digest(content | stage.further(config))


def _of_start(config: Config) -> dict[str, int | str]:
    """The policy that a training starts from may be replaced where it is."""
    if config.train.start_from is None:
        return {}
    start = import_module("lstm_ray.on_ray.start")
    return {"start": start.version_of(config.train.start_from)}


def _of_preprocess(config: Config) -> dict[str, int | str]:
    """Groups are dealt by the seed; unseen series are told in units of a history; units are those of a policy to start from."""
    dealt: dict[str, int | str] = {"seed": config.seed} if config.split.by == "group" else {}
    dealt |= _of_start(config)
    return dealt | ({"history": config.window.history} if config.preprocess.scale_by == "series" else {})


@contextmanager
def only_one_at_a_time(run: RunDir) -> Iterator[None]:
    """Refuse a second process on the same run directory: by a lock that dies with its process, in storage by a lease."""
    if run.local is None:
        with run.leased(progress.note):
            yield
        return
    file = run.local / ".work" / "lock"
    with usable(f"'{run.local}'"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    with open(file, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another process is running in '{run.uri}'; wait for it or use --run-dir") from None
        except OSError as error:
            raise InputError(
                f"the file system of '{run.uri}' cannot lock files ({error.strerror}), so nothing would keep two processes "
                "apart; mount it with locks, or name another folder with --run-dir"
            ) from None
        lock.write(str(os.getpid()))
        run.put_back()
        yield
