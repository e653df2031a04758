"""The streams of one process: those used last in memory, all of them in a store. Knows no HTTP and no Ray."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lstm_ray.errors import InputError
from lstm_ray.model import streaming
from lstm_ray.model.policy import Policy
from lstm_ray.model.stream_state import State
from lstm_ray.serving import bodies, fallback
from lstm_ray.serving.bundle import unpack
from lstm_ray.serving.streams.messages import Ahead, Steps, StreamAnswer, UnknownStreamError
from lstm_ray.serving.streams.store import Store

SNAPSHOT_STEPS = 32
"""Steps from one snapshot to the next: what is read again at most after a lost process."""
MEMORY_BYTES = 256_000_000
"""Of states held in memory, about."""
SWEEPS = 10
"""How often idle streams are looked for in the time after which they are forgotten."""


@dataclass
class _Live:
    state: State
    snapshot_steps: int
    """Steps of the state that the store's snapshot holds."""
    num_bytes: int = 0
    """As they were counted last."""


class Keeper:
    """Begins, advances and reads streams. What it has answered is in the store.

    Args:
        most: streams kept; the one idle longest makes room.
        idle_seconds: after which a stream is forgotten.
        clock: seconds that go on where a process restarts.
    """

    def __init__(
        self,
        store: Store,
        most: int,
        idle_seconds: float,
        clock: Callable[[], float] = time.time,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._store, self._most, self._idle_seconds, self._clock = store, most, idle_seconds, clock
        self._memory_bytes = memory_bytes
        self._live: OrderedDict[str, _Live] = OrderedDict()
        self._held = 0
        self._swept = float("-inf")
        self._policy = unpack(store.policy)

    @property
    def policy(self) -> Policy:
        return self._policy

    def put(self, stream: str, series: bodies.Series) -> StreamAnswer:
        """Begin a stream with a history, in place of any that has this id."""
        self._sweep()
        [item] = bodies.to_inputs([series], self._policy.schema)
        if item.future:
            raise InputError(f"stream '{stream}': future belongs to its forecast (POST .../forecast); leave it out")
        state = streaming.begin(self._policy, replace(item, name=item.name or stream))
        self._store.begin(stream, state.to_bytes(), self._clock())
        self._hold(stream, _Live(state, state.steps))
        for crowded in self._store.oldest(self._most):
            self._drop(crowded)
        return self._told(stream, state)

    def observe(self, stream: str, steps: Steps) -> StreamAnswer:
        """Advance a stream; the answer says what it has read."""
        live = self._find(stream)
        times, columns = steps.told()
        rows_TF = streaming.heard(self._policy, live.state, times, columns)
        state = streaming.advanced(self._policy, live.state, rows_TF)
        self._store.append(stream, live.state.steps, rows_TF, self._clock())
        live.state = state
        if state.steps - live.snapshot_steps >= SNAPSHOT_STEPS:
            self._snapshot(stream, live)
        return self._told(stream, state)

    def forecast(self, stream: str, ahead: Ahead) -> bodies.ForecastAnswer:
        """The next steps, from the state."""
        chosen = bodies.chosen_quantiles(ahead.quantiles, self._policy)
        state = self._find(stream).state
        future = ahead.told(self._policy.schema, state.tick, f"stream '{stream}'")
        with np.errstate(over="ignore", invalid="ignore"):
            found = streaming.forecast(self._policy, state, future, chosen)
        if not fallback.is_finite(found):
            target_RC = state.given_RF[:, : len(self._policy.schema.target)].astype(np.float64)
            found = fallback.forecast(self._policy, target_RC, found)
        self._store.touch(stream, self._clock())
        answer = bodies.forecast_answer(state.name, found, self._policy, chosen)
        return bodies.ForecastAnswer(policy=self._policy.version, forecasts=[answer])

    def facts(self, stream: str) -> StreamAnswer:
        return self._told(stream, self._find(stream).state)

    def forget(self, stream: str) -> None:
        """Raises UnknownStreamError where it is not there."""
        self._let_go(stream)
        if not self._store.forget(stream):
            raise _unknown(stream)

    def forget_series(self, series: str) -> int:
        """Forget every stream with this id or of a series with this name; returns how many there were."""
        found = self._store.forget_series(series)
        for stream in found:
            self._let_go(stream)
        return len(found)

    def use(self, files: dict[str, bytes]) -> None:
        """Read streams with another policy from now on: each is begun again from its newest rows when it is next asked for."""
        self._policy = unpack(files)
        self._store.policy = files

    def close(self) -> None:
        """Write what is only in memory, and let go of the file."""
        for stream, live in self._live.items():
            if live.state.steps > live.snapshot_steps:
                self._snapshot(stream, live)
        self._store.close()

    def _find(self, stream: str) -> _Live:
        """A stream as the present policy reads it, in memory."""
        self._sweep()
        live = self._live.get(stream)
        if live is None:
            live = self._recovered(stream)
        elif live.state.version != self._policy.version:
            live = self._begun_again(stream, live.state)
        self._hold(stream, live)
        return live

    def _recovered(self, stream: str) -> _Live:
        kept = self._store.read(stream)
        if kept is None:
            raise _unknown(stream)
        if kept.snapshot is None:
            raise UnknownStreamError(kept.why)
        try:
            state = State.of_bytes(kept.snapshot)
        except InputError as error:
            raise self._lost(stream, str(error)) from None
        steps = state.steps
        if state.version == self._policy.version:
            return _Live(streaming.advanced(self._policy, state, kept.row_TF), steps)
        if len(kept.row_TF):
            tick = state.tick + len(kept.row_TF) * state.axis[0]
            state = replace(state, given_RF=np.concatenate([state.given_RF, kept.row_TF]), tick=tick)
        return self._begun_again(stream, state)

    def _begun_again(self, stream: str, state: State) -> _Live:
        try:
            state = streaming.again(self._policy, state)
        except InputError as error:
            raise self._lost(stream, f"the policy was changed, and {error}") from None
        self._store.begin(stream, state.to_bytes(), self._clock())
        return _Live(state, state.steps)

    def _lost(self, stream: str, why: str) -> UnknownStreamError:
        """Keeps the reason in the stream's place."""
        words = f"stream '{stream}' was forgotten: {why}. Begin it again: PUT /v1/streams/{stream} with its history"
        self._let_go(stream)
        self._store.forget(stream, words)
        return UnknownStreamError(words)

    def _hold(self, stream: str, live: _Live) -> None:
        """In memory, where those used longest ago make room."""
        self._let_go(stream)
        self._live[stream] = live
        live.num_bytes = live.state.num_bytes
        self._held += live.num_bytes
        while self._held > self._memory_bytes and len(self._live) > 1:
            oldest, out = next(iter(self._live.items()))
            self._let_go(oldest)
            if out.state.steps > out.snapshot_steps:
                self._snapshot(oldest, out)

    def _let_go(self, stream: str) -> None:
        if (live := self._live.pop(stream, None)) is not None:
            self._held -= live.num_bytes

    def _snapshot(self, stream: str, live: _Live) -> None:
        self._store.snapshot(stream, live.state.to_bytes())
        live.snapshot_steps = live.state.steps

    def _drop(self, stream: str) -> None:
        self._let_go(stream)
        self._store.forget(stream)

    def _sweep(self) -> None:
        now = self._clock()
        if now - self._swept >= self._idle_seconds / SWEEPS:
            self._swept = now
            for idle in self._store.unused_since(now - self._idle_seconds):
                self._drop(idle)

    def _told(self, stream: str, state: State) -> StreamAnswer:
        schema = self._policy.schema
        return StreamAnswer(
            id=stream,
            name=state.name,
            policy=state.version,
            steps=state.steps,
            time=bodies.time_words(schema.of_ticks(np.array([state.tick])), schema)[0],
            num_bytes=state.num_bytes,
        )


def _unknown(stream: str) -> UnknownStreamError:
    return UnknownStreamError(
        f"no stream '{stream}' is kept: it was never begun, was deleted, or made room for others after a time unused. Begin "
        f"it: PUT /v1/streams/{stream} with its history"
    )
