"""Retraining a run: a challenger from the champion, judged, and promoted where it is better; one shot, or a watch.

An attempt goes through steps (asked, joined, trained, judged, ended), each written down once it is done, so a retrainer that
was killed goes on where it was. Until the registry takes the challenger, nothing that is served has changed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lstm_ray.errors import InputError
from lstm_ray.live.reading import newest
from lstm_ray.model import stored
from lstm_ray.retrain import ground, registered, triggers
from lstm_ray.retrain.attempt import Attempt, Outcome, Say
from lstm_ray.retrain.since import Since
from lstm_ray.retrain.state import CHAMPION, State, attempts, folder_of, keep, only_one, tidy
from lstm_ray.run_dir import FULL

BY_HAND = "by hand"


def retrain(
    run: str | Path,
    data: Sequence[str] = (),
    reasons: Sequence[str] = (BY_HAND,),
    overrides: Sequence[str] = (),
    say: Say = lambda words: None,
) -> Outcome:
    """Train a challenger of a run's champion on its table and on rows that are new, judge it, and promote it where it holds.

    An attempt that was cut off is gone on with instead; it keeps its own reasons and files.

    Args:
        data: files with the run's columns, beside the rows that its server kept.
        reasons: what asks for it, in words.
        overrides: ``retrain.FIELD=VALUE``.
        say: told a line for each step.

    Raises:
        InputError: there is too little that is new, another process retrains the run, or a step failed; what is served goes
            on as it was.
    """
    run = _local(run)
    with only_one(folder_of(run)), _room(run):
        state = next((one for one in attempts(folder_of(run)) if one.step != "ended"), None)
        if state is None:
            state = _begun(run, data, reasons, overrides)
        elif list(data) != state.data or state.step != "asked":
            say(f"going on with attempt {state.name}, which was cut off after '{state.step}'")
        try:
            return Attempt(run, state, say).through()
        finally:
            if state.step == "ended":
                Since(folder_of(run)).mark()
                tidy(run)


def watch(
    run: str | Path,
    data: Sequence[str] = (),
    overrides: Sequence[str] = (),
    say: Say = lambda words: None,
    *,
    rounds: int | None = None,
) -> Iterator[Outcome]:
    """Look at the run's server and rows now and then, and retrain whenever something asks for it; for ever, or so many rounds.

    A server that is away, or a challenger that fails, is told once, and looked at again.
    """
    run, told = _local(run), ""
    since = Since(folder_of(run))
    while rounds is None or rounds > 0:
        pause = 1.0
        try:
            asked, config = _asked(run, overrides, since)
            pause = config.retrain.poll_seconds
            if asked:
                say("; ".join(asked))
                yield retrain(run, data, asked, overrides, say)
                since.read()
            told = ""
        except InputError as error:
            if str(error) != told:
                say(f"not now: {error}")
            told = str(error)
        rounds = None if rounds is None else rounds - 1
        if rounds != 0:
            time.sleep(pause)


def asked(run: str | Path, overrides: Sequence[str] = ()) -> list[str]:
    """What asks for a challenger now, in words; empty: nothing does."""
    run = _local(run)
    return _asked(run, overrides, Since(folder_of(run)))[0]


def _asked(run: Path, overrides: Sequence[str], since: Since) -> tuple[list[str], Any]:
    stands = ground.of(run, registered.champion(run), overrides)
    before = attempts(folder_of(run))
    if before and before[-1].step != "ended":
        return before[-1].reasons, stands.config
    seen = triggers.Seen(
        alarms=registered.monitor(run, stands.config.deploy).get("alarms", ()),
        new_rows=stands.num_new(before[-1].sequence if before else 0),
        rows=stands.num_new(),
        since_seconds=since.seconds(),
        had_one=bool(before),
    )
    return triggers.reasons(stands.config.retrain, seen), stands.config


def _begun(run: Path, data: Sequence[str], why: Sequence[str], overrides: Sequence[str]) -> State:
    """A new attempt, once it is sure that there is enough to learn from."""
    files = registered.champion(run)
    stands = ground.of(run, files, overrides)
    new, _, _ = stands.new(data)
    if new.height < stands.config.retrain.least_rows:
        raise InputError(
            f"there are {new.height:,} new rows, and retrain.least_rows asks for {stands.config.retrain.least_rows:,}; bring "
            "more with --data, or lower it with --set"
        )
    state = State(
        number=max((one.number for one in attempts(folder_of(run))), default=0) + 1,
        reasons=list(why),
        data=[str(Path(one).absolute()) if Path(one).exists() else one for one in data],
        overrides=list(overrides),
        champion=stored.version(files),
        origin=stands.origin.name if stands.origin else None,
        sequence=newest(stands.store),
        pace=stands.pace,
    )
    folder = folder_of(run) / state.name
    stored.write(folder / CHAMPION, files)
    keep(folder_of(run), state)
    return state


def _local(run: str | Path) -> Path:
    if "://" in str(run):
        raise InputError(
            f"'{run}' is on no disk of this machine; a registry, and so a retrainer, needs one: copy the run"
        )
    found = Path(run).expanduser().absolute()
    if not (found / "config.yaml").exists():
        raise InputError(f"'{run}' is no run directory; name one that 'lstm-ray run' wrote")
    return found


@contextmanager
def _room(run: Path) -> Iterator[None]:
    """A disk without room becomes one clear error; what is served goes on."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise InputError(
            f"there is no room to write '{error.filename or folder_of(run)}' ({error.strerror}); make room on that disk. The "
            "champion stays, and the same command goes on from here"
        ) from None
