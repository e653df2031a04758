"""Requests that never stop, each with an answer that is known, and what came of them while something broke.

Knows HTTP and the shape of forecasts; breaks nothing.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

import httpx
import numpy as np
from numpy.typing import NDArray

from lstm_ray.benchmark import untrained
from lstm_ray.benchmark.chaos.outcome import Fault, Missed
from lstm_ray.benchmark.tables import VALUE
from lstm_ray.model.policy import Policy

CLIENTS, PAUSE_SECONDS = 4, 0.03
CALM_SECONDS, RECOVERED_SECONDS = 2.0, 90.0
"""Errors are over once there were none for so long; and they must be within so long."""
CALM_ANSWERS = 3
"""Right answers that every client must have had in that time: who waits for one has none."""
ANSWER_SECONDS = 15.0
TOLERANCE = 1e-4
Kind = Literal["ok", "refused", "lost", "wrong"]


@dataclass(frozen=True)
class Question:
    """A request and the answer that the policy itself gives."""

    series: dict[str, Any]
    median_H: NDArray


def questions(policy: Policy, number: int = 16) -> list[Question]:
    """Some of which every answer is another."""
    inputs = [untrained.series(policy.config, one) for one in range(number)]
    at = policy.quantiles.index(0.5)
    told = [np.asarray(one.values_HCQ)[:, 0, at] for one in policy.predict(inputs)]  # type: ignore[union-attr]
    return [Question(untrained.plain(item), median_H) for item, median_H in zip(inputs, told, strict=True)]


@dataclass(frozen=True)
class Asked:
    """One request that ended."""

    client: int
    kind: Kind
    """refused: answered with another status than 200; lost: not answered; wrong: answered with what is not its answer."""
    ended_seconds: float
    words: str = ""


@dataclass(eq=False)
class Steady:
    """The clients of a server, while they ask."""

    url: str
    questions: Sequence[Question]
    asked: list[Asked] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    """Names of series of which an observation was answered as kept."""
    over: threading.Event = field(default_factory=threading.Event)

    def calm(self, fault: Fault, seconds: float = RECOVERED_SECONDS) -> float:
        """Wait until errors are over; returns for how long after the fault there were any. Raises Missed where they go on."""
        while True:
            since = [one for one in list(self.asked) if one.ended_seconds >= fault.at_seconds]
            bad = [one for one in since if one.kind != "ok"]
            last = max((one.ended_seconds for one in bad), default=fault.at_seconds)
            right = Counter(one.client for one in since if one.kind == "ok" and one.ended_seconds > last)
            calm = all(right[client] >= CALM_ANSWERS for client in range(CLIENTS))
            if calm and time.monotonic() - last > CALM_SECONDS:
                return last - fault.at_seconds
            if fault.seconds() > seconds:
                raise Missed(f"requests fail {seconds:g} s after the fault: {self.told(fault)}, such as {bad[-1:]}")
            time.sleep(0.05)

    def wrong(self) -> list[str]:
        """What no fault excuses."""
        return [f"a wrong answer: {one.words}" for one in self.asked if one.kind == "wrong"][:1]

    def told(self, fault: Fault) -> str:
        """How requests went from the fault on, in words."""
        kinds = Counter(one.kind for one in self.asked if one.ended_seconds >= fault.at_seconds)
        bad = kinds.total() - kinds["ok"]
        share = bad / max(1, kinds.total())
        return (
            f"{bad} of {kinds.total()} requests failed ({share:.1%}: {kinds['refused']} refused, {kinds['lost']} lost)"
        )

    def ask(self, client: int) -> None:
        """Forecasts without a pause but a short one; every fourth time an observation."""
        number = client
        with httpx.Client(timeout=ANSWER_SECONDS) as http:
            while not self.over.wait(PAUSE_SECONDS):
                number += 1
                try:
                    kind, words = self._observe(http) if number % 4 == 0 else self._forecast(http, number)
                except httpx.TransportError as error:
                    kind, words = "lost", f"{type(error).__name__}: {error}"
                self.asked.append(Asked(client, kind, time.monotonic(), words))

    def _forecast(self, http: httpx.Client, number: int) -> tuple[Kind, str]:
        question, own = self.questions[number % len(self.questions)], uuid4().hex
        answer = http.post(f"{self.url}/v1/forecast", json={"series": [question.series]}, headers={"x-request-id": own})
        if answer.status_code != 200:
            return "refused", f"{answer.status_code} {answer.text[:200]}"
        found_H = answer.json()["forecasts"][0]["targets"][VALUE]["median"]
        if answer.headers["x-request-id"] != own or not np.allclose(found_H, question.median_H, rtol=TOLERANCE):
            return "wrong", f"{found_H} instead of {question.median_H.tolist()}"
        return "ok", ""

    def _observe(self, http: httpx.Client) -> tuple[Kind, str]:
        name = uuid4().hex
        series = {"name": name, "times": [self.questions[0].series["times"][0]], "columns": {VALUE: [1.0]}}
        answer = http.post(f"{self.url}/v1/observations", json={"series": [series]})
        if answer.status_code != 200:
            return "refused", f"{answer.status_code} {answer.text[:200]}"
        told = answer.json()
        # Told twice where the first answer was lost on its way: it is kept once.
        if (told["new"] or 0) + (told["duplicates"] or 0) == 1:
            self.acknowledged.append(name)
            return "ok", ""
        return "refused", f"not kept: {told}"


@contextmanager
def asking(url: str, asked: Sequence[Question]) -> Iterator[Steady]:
    """Clients that ask until the block ends, once each has been answered."""
    steady = Steady(url, asked)
    threads = [threading.Thread(target=steady.ask, args=(client,), daemon=True) for client in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        steady.calm(Fault.now())
        yield steady
    finally:
        steady.over.set()
        for thread in threads:
            thread.join()
