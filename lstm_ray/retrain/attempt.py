"""One attempt to replace a champion, from the step that it came to: joined, trained, judged, and brought to the registry.

A step is written down once it is done. Until the registry takes the challenger, nothing that is served has changed; it takes
it once, however often the retrainer is killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstm_ray.errors import InputError
from lstm_ray.live.names import hashed, key_of
from lstm_ray.model import stored
from lstm_ray.registry.folder import at
from lstm_ray.registry.ledger import Ledger
from lstm_ray.registry.mirror import mirror
from lstm_ray.registry.probation import Probation
from lstm_ray.retrain import ground, registered, work
from lstm_ray.retrain.gate import OF_SERIES
from lstm_ray.retrain.ground import Ground
from lstm_ray.retrain.state import BUNDLE, CHAMPION, State, Step, folder_of, keep
from lstm_ray.run_dir import Report
from lstm_ray.sections.operate import RetrainConfig
from lstm_ray.serving import bundle

MOST_FAILURES = 2
"""A step that failed so often in a row ends its attempt."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt."""

    attempt: str
    folder: Path
    challenger: str
    """Its version; empty where none was trained."""
    verdict: dict[str, Any] | None
    """``gate.Verdict.evidence``; None where it did not come to one."""
    promoted: bool
    why: list[str]
    """For it or against it."""
    seconds: dict[str, float]
    """By step."""

    def told(self) -> dict[str, Any]:
        """As plain values for JSON."""
        verdict = "failed" if self.verdict is None else "promoted" if self.promoted else "refused"
        return {
            "attempt": self.attempt,
            "challenger": self.challenger,
            "verdict": verdict,
            "promoted": self.promoted,
            "why": self.why,
            "folder": str(self.folder),
            "seconds": self.seconds,
        }


class Attempt:
    """One attempt, from the step that it came to."""

    def __init__(self, run: Path, state: State, say: Say) -> None:
        self._run, self._state, self._say = run, state, say
        self._folder = folder_of(run) / state.name
        self._ledger = Ledger(at(run))

    def through(self) -> Outcome:
        steps: dict[Step, Callable[[Ground], tuple[Step, str]]] = {
            "asked": self._join,
            "joined": self._train,
            "trained": self._judge,
            "judged": self._decide,
        }
        stands = ground.of(self._run, stored.read(self._folder / CHAMPION), self._state.overrides)
        self._note(
            "asked", {"reasons": self._state.reasons, "champion": self._state.champion, "data": self._state.data}
        )
        while (step := self._state.step) != "ended":
            began = time.perf_counter()
            try:
                done, words = steps[step](stands)
            except InputError as error:
                self._failed(error)
                raise
            state = self._state
            state.seconds[done] = round(state.seconds.get(done, 0.0) + time.perf_counter() - began, 2)
            state.step, state.failures = done, 0
            keep(folder_of(self._run), state)
            self._say(words)
        return self._outcome()

    def _join(self, stands: Ground) -> tuple[Step, str]:
        found = self._state.joined = work.join(stands, self._folder, self._state)
        return "joined", (
            f"{found.old:,} old rows ({found.changed:,} told otherwise since) and {found.new + found.late:,} new ones joined; "
            f"a new one counts {found.new_weight:.3g} old ones"
        )

    def _train(self, stands: Ground) -> tuple[Step, str]:
        assert self._state.joined is not None, "rows are joined before training"

        def on_end(name: str, report: Report, skipped: bool) -> None:
            self._say(f"{name}: {report.summary}" + (" (done before)" if skipped else ""))

        self._state.challenger = version = work.train(self._folder, self._state.joined.cut, on_end)
        self._note("trained", {"policy": version, "champion": self._state.champion})
        return "trained", f"challenger {version[:12]} is trained and bundled"

    def _judge(self, stands: Ground) -> tuple[Step, str]:
        verdict = work.compare(stands, self._folder, self._state)
        self._state.verdict = verdict.evidence()
        told = _unnamed(verdict.evidence(), key_of(at(self._run)))
        self._note("judged", {"policy": self._state.challenger, "champion": self._state.champion, **told})
        return "judged", f"the gate says {'yes' if verdict.promoted else 'no'}: {'; '.join(verdict.reasons)}"

    def _decide(self, stands: Ground) -> tuple[Step, str]:
        """Bring the verdict to the registry, once, however often this was begun."""
        state, config = self._state, stands.config.retrain
        assert state.verdict is not None, "a verdict comes before a decision"
        # Ray takes a second to import, and a challenger that waits for its training needs none.
        from lstm_ray.on_ray import update

        files, source = bundle.pack(self._folder / BUNDLE), str(self._folder)
        told = _unnamed(state.verdict, key_of(at(self._run)))
        evidence = {"attempt": state.name, "reasons": state.reasons, "verdict": _short(told)}
        if state.verdict["promoted"] and not self._said("promoted"):
            present = stored.version(registered.champion(self._run))
            if present not in (state.champion, state.challenger):
                state.why = (
                    f"policy {present[:12]} became champion while it was trained beside {state.champion[:12]}; retrain"
                )
            elif present == state.champion:
                update.promote(self._run, files, source, evidence, _probation(config))
        state.promoted = state.verdict["promoted"] and not state.why
        if not state.promoted and not self._said("refused"):
            why = state.why or "; ".join(told["reasons"])
            update.challenge(self._run, files, source, "refused", {**evidence, "why": why})
        if config.mlflow and (failed := mirror(self._run, config.mlflow, state.challenger, *_measured(state.verdict))):
            self._say(failed)
        if state.promoted:
            return "ended", f"challenger {state.challenger[:12]} is champion"
        return "ended", f"challenger {state.challenger[:12]} is refused; {state.champion[:12]} stays champion"

    def _failed(self, error: InputError) -> None:
        """Count it; what fails again and again is given up, so that another attempt can begin.

        A verdict that cannot be brought to the registry waits for it, unless it was brought and a server refused the policy.
        """
        state = self._state
        state.failures += 1
        if state.failures >= MOST_FAILURES and (state.step != "judged" or self._said("refused")):
            self._note("ended", {"after": state.step, "why": str(error)})
            state.step, state.why = "ended", str(error)
        # On a full disk, what was kept before stands, and the step is done again.
        with suppress(OSError):
            keep(folder_of(self._run), state)

    def _note(self, event: str, evidence: dict[str, Any]) -> None:
        """Have the ledger say so, once."""
        if not self._said(event):
            self._ledger.append(event, {"attempt": self._state.name, **evidence})

    def _said(self, event: str) -> bool:
        return any(
            one.event == event and one.evidence.get("attempt") == self._state.name for one in self._ledger.read()
        )

    def _outcome(self) -> Outcome:
        state = self._state
        why = [state.why] if state.why else state.verdict["reasons"] if state.verdict else []
        return Outcome(
            state.name, self._folder, state.challenger, state.verdict, state.promoted, why, dict(state.seconds)
        )


def _probation(config: RetrainConfig) -> Probation | None:
    if not config.probation_hours:
        return None
    return Probation(ratio=config.rollback_ratio, values=config.rollback_values, hours=config.probation_hours)


def _unnamed(verdict: dict[str, Any], key: str) -> dict[str, Any]:
    """A verdict's evidence that tells series by a keyed hash of their names: no ledger could forget them."""
    names = [one["name"] for one in verdict["slices"] if one["name"].startswith(OF_SERIES)]
    instead = {name: f"series {hashed(name.removeprefix(OF_SERIES)[:-1], key)}" for name in names}

    def told(words: str) -> str:
        # The longest first: a name may be the beginning of another.
        for name in sorted(names, key=len, reverse=True):
            words = words.replace(name, instead[name])
        return words

    slices = [{**one, "name": instead.get(one["name"], one["name"])} for one in verdict["slices"]]
    return {**verdict, "reasons": [told(words) for words in verdict["reasons"]], "slices": slices}


def _short(verdict: dict[str, Any]) -> dict[str, Any]:
    """Without the slices: those stand with 'judged'."""
    return {name: verdict[name] for name in ("promoted", "reasons")}


def _measured(verdict: dict[str, Any]) -> tuple[dict[str, float], dict[str, str]]:
    """The gate's numbers and words, as a mirror shows them."""
    metrics = {
        f"gate.{one['stretch']}.{one['name']}.{key}": one[key]
        for one in verdict["slices"]
        for key in ("champion", "challenger", "p")
    }
    said = "promoted" if verdict["promoted"] else "refused"
    return metrics, {"verdict": said, "reasons": "; ".join(verdict["reasons"])[:500]}
