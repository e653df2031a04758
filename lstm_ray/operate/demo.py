"""A policy at work, from its training to its rollback, unattended: real data replayed through HTTP, and what comes of it.

Trains a champion on the first months, serves it, replays what came next hour by hour while a client beside asks all the time,
lets the sensors go wrong at a known hour, and watches: the alarm, the challenger, the gate, the promotion. Then a policy that
learned nothing is offered to the gate, and forced in past it. Composes; measures nothing itself.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from lstm_ray.config import Config, with_values
from lstm_ray.config_file import load
from lstm_ray.data.lags import reach
from lstm_ray.errors import InputError
from lstm_ray.lifecycle import run_stages
from lstm_ray.model import stored
from lstm_ray.on_ray.serve import running
from lstm_ray.on_ray.update import Server, server
from lstm_ray.operate.bad import trained_on_shuffled
from lstm_ray.operate.offering import offer
from lstm_ray.operate.replay import TIMEOUT_SECONDS, Asker, Replay, Tape, load_beside, tape
from lstm_ray.operate.shift import Shift, shifted
from lstm_ray.operate.story import (
    ALARM,
    BACK,
    BAD,
    CHALLENGER,
    CHAMPION,
    DAY_STEPS,
    FORCED,
    PROMOTED,
    SHIFT,
    Look,
    Phase,
    Story,
    outcome,
)
from lstm_ray.operate.telling import FOLDER, written
from lstm_ray.registry.folder import REGISTRY
from lstm_ray.registry.ledger import Ledger
from lstm_ray.registry.probation import Probation
from lstm_ray.retrain.job import asked, retrain
from lstm_ray.retrain.triggers import DRIFT, PERFORMANCE
from lstm_ray.run_dir import RunDir
from lstm_ray.serving.bundle import Packed, find
from lstm_ray.serving.switching.change import Change

Say = Callable[[str], None]
KNOWN, LEARNED_NOTHING = "known.parquet", "trained on shuffled targets"
HEARD = (*DRIFT, *PERFORMANCE, "anomalies")
"""Kinds of alarms that tell of the data and of errors."""


@dataclass(frozen=True)
class Timeline:
    """Hours of the story's stretches."""

    calm: int = 183
    """A week, and up to the first hour that the shift changes."""
    learn: int = 700
    """From the shift until something asks for a challenger and there are rows enough for one, at most."""
    least_rows: int | None = None
    """In place of the config's."""
    after: int = 336
    trial: int = 240
    """Of the bad champion, at most."""
    end: int = 72
    look_every: int = 1
    """Hours from one look at the monitor to the next."""
    trial_pause_seconds: float = 0.1
    """Between two hours of the bad champion's: the register judges by the clock on the wall."""

    @property
    def longest(self) -> int:
        """Hours, at most."""
        return self.calm + self.learn + self.after + self.trial + self.end


QUICK = Timeline(calm=63, least_rows=1_250, after=96, end=24)


def perform(
    config_file: Path, overrides: Sequence[str], run_dir: str, quick: bool, say: Say
) -> tuple[str, dict[str, Any]]:
    """Play the story and tell it; returns the page's path and the outcome's numbers.

    Raises InputError as ``demo``, and for a config that cannot be read.
    """
    began = time.monotonic()
    config = load(config_file, overrides)
    run = RunDir(run_dir or Path("runs") / config.name)
    story = demo(config, run, QUICK if quick else Timeline(), say)
    seconds = round(time.monotonic() - began, 1)
    story.facts["seconds"] = seconds
    command = shlex.join(["python", "jobs/operate_demo.py", *(["--quick"] if quick else []), "--run-dir", "again"])
    page = written(story, run, seconds, command, config_file.read_text(encoding="utf-8"))
    return page, outcome(story)


def demo(config: Config, run: RunDir, timeline: Timeline, say: Say) -> Story:
    """Play the story in a run directory of its own.

    Raises InputError where the directory is in use, or on no local disk, or the data ends before the story.
    """
    if run.local is None:
        raise InputError(
            f"the demo keeps rows and policies on a local disk, not at '{run.uri}'; name a folder with --run-dir"
        )
    if run.exists(FOLDER) or run.exists(REGISTRY):
        raise InputError(f"'{run.uri}' holds a story already; name a new folder with --run-dir, or remove that one")
    if config.split.until is None:
        raise InputError("split.until is none, so nothing says where the replay begins; set it")
    whole = tape(config.data)
    first = whole.step_at(str(config.split.until))
    if first + timeline.longest > len(whole.tick_T):
        raise InputError(
            f"split.until is {config.split.until}, and from there on the data has {len(whole.tick_T) - first} hours; the "
            f"story may take {timeline.longest}: set it earlier"
        )
    shift = Shift(first + timeline.calm)
    if timeline.least_rows is not None:
        config = with_values(config, {"retrain.least_rows": timeline.least_rows})
    config = _trained(config, whole, first, run, say)
    with ExitStack() as stack:
        served = stack.enter_context(
            running(find(run.uri), config.deploy, source=run.uri, history=run.local / REGISTRY, asks=config.resources)
        )
        http = stack.enter_context(httpx.Client(base_url=served.url, timeout=TIMEOUT_SECONDS))
        replay = Replay(shifted(whole, shift), Asker(http), reach(config.window), first - 1)
        story = Story(
            replay.tape, config.name, "°F", shift.first, shift.words, errors=replay.errors, served=replay.served
        )
        beside = stack.enter_context(load_beside(served.url, "/v1/what-if", _what_if(config, replay)))
        stage = _Stage(config, run.local, replay, beside, story, server(), say)
        stage.play_all(timeline)
    story.failed = dict(replay.asker.failed + beside.failed)
    story.decisions = [entry.model_dump(mode="json") for entry in Ledger(run.local / REGISTRY).read()]
    return story


def _trained(config: Config, whole: Tape, first: int, run: RunDir, say: Say) -> Config:
    """Train, judge and bundle the champion on what is known before the replay; returns the config of that run."""
    assert run.local is not None, "asked before"
    folder = run.local / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    # What comes later must not lie in the run's table: a challenger's is made from it.
    whole.table(0, first, config.data).write_parquet(folder / KNOWN)
    config = with_values(config, {"data.source": str(folder / KNOWN)})
    run_stages(config, run, ["deploy"], on_end=lambda name, report, _: say(f"{name}: {report.summary}"))
    return config


def _what_if(config: Config, replay: Replay) -> dict[str, Any]:
    """The question of the client beside: an imagined one, so that nobody takes it for new data."""
    scenario = {"name": "asked beside", "column": config.data.past[0], "operation": "shift", "value": 1.0, "steps": 24}
    return {"series": replay.question(), "scenarios": [scenario]}


@dataclass
class _Stage:
    """Where the story is played."""

    config: Config
    folder: Path
    """The run's."""
    replay: Replay
    beside: Asker
    story: Story
    at: Server
    say: Say

    def play_all(self, timeline: Timeline) -> None:
        """Everything, in order."""
        story = self.story
        story.roles[self.champion()] = CHAMPION
        story.moments[SHIFT] = story.shift
        self.play("calm", timeline.calm, timeline.look_every)
        reasons: list[str] = []

        def enough() -> bool:
            if ALARM in story.moments and not (self.replay.now - story.shift) % DAY_STEPS:
                reasons[:] = asked(self.folder)
            return bool(reasons)

        self.play("after the shift", timeline.learn, timeline.look_every, enough)
        if not reasons:
            self.say("nothing asks for a challenger, and so nothing is there to judge one on: the story ends here")
            return
        self.learn(reasons)
        self.play("after the challenger's training", timeline.after, timeline.look_every)
        files = self.offer_a_bad_one()
        self.force(files, timeline)
        self.play("at the end", timeline.end, timeline.look_every)

    def learn(self, reasons: list[str]) -> None:
        """Have a challenger trained from the rows that the server kept, judged, and promoted where it passes."""
        # The data stands still meanwhile; the client beside goes on asking.
        with self.phase("a challenger learns"):
            before = self.champion()
            least = self.config.retrain.least_rows
            self.story.waited = (
                f"The challenger was asked for {self.replay.now - self.story.shift} hours after the shift: on the day before, "
                f"fewer new rows than retrain.least_rows: {least} were there to learn from and be judged on."
            )
            retrain(self.folder, reasons=reasons, say=self.say)
        if (now := self.champion()) != before:
            self.story.roles[now] = CHALLENGER
            self.story.moments[PROMOTED] = self.replay.now

    def offer_a_bad_one(self) -> Packed:
        """Have a policy that learned nothing judged against the champion; returns its files."""
        with self.phase("a bad challenger is offered"):
            files = trained_on_shuffled(self.config, self.folder / FOLDER / "bad")
            self.story.roles[stored.version(files)] = BAD
            verdict = offer(self.folder, files, LEARNED_NOTHING)
            self.story.facts["refused_bad_challenger"] = not verdict.promoted
        return files

    def force(self, files: Packed, timeline: Timeline) -> None:
        """Make it champion, past the gate, and let hours go by until probation puts the one before back."""
        before, retrain_config = self.champion(), self.config.retrain
        bounds = Probation(ratio=retrain_config.rollback_ratio, values=retrain_config.rollback_values, hours=1.0)
        why = {"why": "by hand, past the gate"}
        self.story.moments[FORCED] = self.replay.now
        self.at.change(Change("champion", files, LEARNED_NOTHING, force=True, probation=bounds, evidence=why))
        self.play("a bad champion", timeline.trial, 1, lambda: self.champion() == before, timeline.trial_pause_seconds)
        if self.champion() == before:
            self.story.moments[BACK] = self.replay.now

    def play(
        self, name: str, hours: int, every: int, ends: Callable[[], bool] = lambda: False, pause: float = 0.0
    ) -> None:
        """Let hours go by, with a look at the monitor now and then, until it ends."""
        with self.phase(name):
            for hour in range(hours):
                self.replay.step()
                time.sleep(pause)
                if hour % every == every - 1:
                    self.look()
                    if ends():
                        break

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A stretch of the story, in which the requests are counted."""
        before, began = self._counts(), time.monotonic()
        found = Phase(name, self.replay.now + 1)
        self.story.phases.append(found)
        yield
        found.end, found.seconds = self.replay.now + 1, time.monotonic() - began
        found.num_requests, found.num_failed = (now - then for now, then in zip(self._counts(), before, strict=True))
        error = self.story.error_in(found.first, found.end)
        told = "" if error is None else f", error {error:.3g} {self.story.unit}"
        self.say(
            f"{name}: {found.end - found.first} hours, {found.num_requests} requests, {found.num_failed} failed{told}"
        )

    def look(self) -> None:
        """See what the monitor says."""
        answer = self.replay.asker.ask("GET", "/v1/monitor")
        if answer is None:
            return
        inputs, predictions = (
            {row["column"]: row["over_limit"] for row in rows if row["over_limit"] is not None}
            for rows in (answer["inputs"]["columns"], answer["predictions"])
        )
        column = max(inputs, key=lambda name: inputs[name], default="")
        alarms = {one["kind"]: one["text"] for one in reversed(answer["alarms"]) if one["kind"] in HEARD}
        error, forecasts = answer["performance"], max(predictions.values(), default=None)
        look = Look(self.replay.now, inputs.get(column), column, forecasts, error["ratio"], error["limit"], alarms)
        self.story.looks.append(look)
        if alarms and look.step >= self.story.shift and ALARM not in self.story.moments:
            self.story.moments[ALARM] = look.step
            self.say(f"alarm: {next(iter(alarms.values()))}")

    def champion(self) -> str:
        """The version that is served now."""
        found: str = self.at.status()["lineup"]["champion"]
        return found

    def _counts(self) -> tuple[int, int]:
        askers = (self.replay.asker, self.beside)
        return sum(a.num_requests for a in askers), sum(a.failed.total() for a in askers)
