"""What was seen of a policy at work, and the numbers that come of it. Knows no server; draws nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lstm_ray.operate.replay import Errors, Tape

DAY_STEPS = 24
SHIFT, ALARM, PROMOTED, FORCED, BACK = "shift", "alarm", "challenger promoted", "bad policy forced in", "rolled back"
"""What may happen."""
CHAMPION, CHALLENGER, BAD = "champion", "challenger", "bad policy"
"""What a policy may be."""


@dataclass(frozen=True)
class Look:
    """The monitor's account at a step."""

    step: int
    inputs: float | None
    """The largest measure of the inputs' drift over its limit: above 1 it raises an alarm."""
    column: str
    """That it is of."""
    predictions: float | None
    """The same of the forecasts."""
    ratio: float | None
    """The rolling error over the one on the validation part."""
    limit: float | None
    """The ratio that raises an alarm, of the whole rolling stretch."""
    alarms: Mapping[str, str]
    """What is told of each, by its kind."""


@dataclass
class Phase:
    """A stretch of the story, and the requests in it."""

    name: str
    first: int
    end: int = 0
    num_requests: int = 0
    num_failed: int = 0
    seconds: float = 0.0


@dataclass
class Story:
    """All that was seen, by step of the tape."""

    tape: Tape
    name: str
    unit: str
    """Of the error, for axes."""
    shift: int
    """Step of the shift."""
    shift_words: str
    roles: dict[str, str] = field(default_factory=dict)
    """What each policy is in the story, by its version."""
    moments: dict[str, int] = field(default_factory=dict)
    """Steps at which something happened, by what."""
    phases: list[Phase] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    errors: Errors = field(default_factory=Errors)
    served: dict[int, str] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    """Requests that failed, by status or what broke the connection."""
    decisions: list[dict[str, Any]] = field(default_factory=list)
    """The ledger's entries."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Numbers of the outcome, as the last line of output gives them."""
    waited: str = ""
    """What the challenger waited for, in words."""

    def error_in(self, first: int, end: int) -> float | None:
        """Of the policy that answered most of a stretch; None where nothing was asked."""
        answered = Counter(self.served[step] for step in range(first, end) if step in self.served)
        return self.errors.mean(first, end, answered.most_common(1)[0][0]) if answered else None

    def hour(self, step: int) -> str:
        """For people, UTC."""
        return self.tape.time(step)[:16].replace("T", " ")

    @property
    def first(self) -> int:
        return self.phases[0].first

    @property
    def end(self) -> int:
        return self.phases[-1].end


def outcome(story: Story) -> dict[str, Any]:
    """The numbers of the story, all of them from what was seen: None where it did not come to that."""
    moments, errors = story.moments, story.errors
    alarm, promoted, back = (moments.get(name) for name in (ALARM, PROMOTED, BACK))
    until = moments.get(FORCED, story.end)
    new = next((version for version, role in story.roles.items() if role == CHALLENGER), None)
    during = errors.mean(story.shift, (promoted if promoted is not None else until) + 1)
    after = None if promoted is None else errors.mean(promoted + 1, until + 1, new)
    events, on_trial = [entry["event"] for entry in story.decisions], _on_trial(story, new)
    return {
        "failed_requests": sum(phase.num_failed for phase in story.phases),
        "requests": sum(phase.num_requests for phase in story.phases),
        "detection_delay_steps": None if alarm is None else alarm - story.shift,
        "false_alarms": sum(bool(look.alarms) for look in story.looks if look.step < story.shift),
        "error_before": rounded(errors.mean(story.first, story.shift)),
        "error_during": rounded(during),
        "error_after": rounded(after),
        "on_probation": on_trial,
        "promoted": promoted is not None,
        "refused_bad_challenger": False,
        "rolled_back": back is not None,
        "rollback_delay_steps": None if back is None else back - moments[FORCED],
        "ledger": {event: events.count(event) for event in dict.fromkeys(events)},
        "steps": story.end - story.first,
    } | story.facts


def _on_trial(story: Story, challenger: str | None) -> dict[str, Any] | None:
    """The challenger's and the old champion's errors on the same values, as the register's probation had them; None where it
    has not ended."""
    for entry in story.decisions:
        told = entry["evidence"].get("probation", entry["evidence"])
        if entry["evidence"].get("role") == "probation" and told.get("policy") == challenger and told["values"]:
            new, before = (float(np.mean(told[name])) for name in ("errors", "errors_before"))
            return {"values": told["values"], "challenger": rounded(new), "champion_before": rounded(before)}
    return None


def rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")
