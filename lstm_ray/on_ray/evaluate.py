"""Evaluating as a stage: the test part in this process, or its windows shared by actors, and a backtest where one is asked for.

Forecasts alone are shared: sequences to classify and steps to label are told in this process, whatever evaluate.workers says.
Starts Ray only where work is to be shared.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.store import SplitFile, load_index
from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.backtest.folds import require_folds
from lstm_ray.evaluate.choosing.candidates import POLICY
from lstm_ray.evaluate.explain.told import require_installed
from lstm_ray.evaluate.forecasts.score import Scores, Yardstick, join, score
from lstm_ray.evaluate.gather import Forecaster
from lstm_ray.evaluate.stage import evaluate as evaluate_here
from lstm_ray.evaluate.told import METRICS, Evaluation, Told
from lstm_ray.model.policy import Policy
from lstm_ray.model.stored import CARD
from lstm_ray.report.card.facts import facts_of
from lstm_ray.report.card.model_card import EVALUATED, model_card
from lstm_ray.run_dir import Report, RunDir, StageDir
from lstm_ray.sections.resources import NOTHING_SAID, ResourcesConfig

FEWEST_PIECES, MOST_BATCHES = 64, 16
"""A piece is as many batches as leave so many pieces, at most MOST_BATCHES: its forecasts are held at a time."""
MEND = "lower evaluate.workers or evaluate.batch, or give each node more memory; the same command starts over"


def require_possible(config: Config, run: RunDir) -> None:
    """Raises InputError where the stage could not do, after training, what it is asked."""
    require_installed(config)
    require_possible_backtest(config, run)


def require_possible_backtest(config: Config, run: RunDir) -> None:
    """Raises InputError where the prepared data do not hold the folds of ``evaluate.backtest``; asks no policy."""
    if config.evaluate.backtest is not None:
        require_folds(config, load_index(run), run.read_model("split/boundaries.json", SplitFile).parts)


def evaluate(config: Config, run: RunDir, work: StageDir) -> Report:
    """``evaluate.stage.evaluate``, its windows scored and its backtest trained by ``evaluate.workers`` actors; leaves the
    policy's card beside its metrics."""
    require_possible_backtest(config, run)
    score_with = shared(config.evaluate.workers, config.resources) if config.evaluate.workers else score

    def further(own: Config, stage: str, found: Evaluation) -> list[Told]:
        if config.evaluate.backtest is None:
            return []
        # Not before there is something to train: it brings Ray Train's modules along.
        from lstm_ray.on_ray.backtest import backtest

        return [backtest(config, own, stage, found, run, work.path)]

    started = time.perf_counter()
    report = evaluate_here(config, run, work, score_with, further)
    facts = facts_of(run, json.loads((work.path / METRICS).read_bytes()), evaluating=time.perf_counter() - started)
    policy = Policy.load(work.path / POLICY)
    (work.path / CARD).write_text(model_card(policy, facts, folder=EVALUATED), encoding="utf-8")
    return report


@dataclass(frozen=True)
class Given:
    """What every actor reads."""

    forecasters: Mapping[str, Forecaster]
    segments: Segments
    yardstick: Yardstick
    keeps: bool
    """Forecasts are answered beside the scores."""


def shared(workers: int, asks: ResourcesConfig = NOTHING_SAID) -> Callable[..., dict[str, Scores]]:
    """``score`` by so many actors."""

    def score_with(
        forecasters: Mapping[str, Forecaster],
        segments: Segments,
        origins_M: NDArray,
        given: Yardstick,
        advance: Callable[[str], None] = lambda words: None,
        out: Path | None = None,
    ) -> dict[str, Scores]:
        # Ray takes a second to import, which an evaluation in this process need not wait for.
        from lstm_ray.on_ray.pool import actor_pool

        pieces = _pieces(origins_M, given.batch)
        world = Given(forecasters, segments, given, out is not None)
        scores = _Joined()
        with actor_pool(None, world, min(workers, len(pieces)), mend=MEND, asks=asks, stage="evaluate") as pool:
            for number, (found, content) in pool.each(scored, [(piece,) for piece in pieces]):
                if out is not None:
                    _write(out.with_name(f"part-{number:05d}.parquet"), content)
                scores.add(number, found)
                for _ in range(0, len(pieces[number]), given.batch):
                    advance(f"{len(pieces[number])} windows")
        return scores.whole()

    return score_with


def scored(policy: None, given: Given, origins_M: NDArray) -> tuple[dict[str, Scores], bytes]:
    """What an actor does: some windows' scores and, as a Parquet file, their forecasts."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "part.parquet" if given.keeps else None
        found = score(given.forecasters, given.segments, origins_M, given.yardstick, out=out)
        return found, b"" if out is None else out.read_bytes()


class _Joined:
    """Scores of pieces, which may come in any order, joined in their own: the sums are the same whoever answered when.

    Neighbours of a size are joined first: group sums are as large as the series are many, and few of them are kept."""

    def __init__(self) -> None:
        self._waiting: dict[int, dict[str, Scores]] = {}
        self._next = 0
        self._running: dict[str, list[Scores]] = {}

    def add(self, number: int, found: dict[str, Scores]) -> None:
        self._waiting[number] = found
        while (following := self._waiting.pop(self._next, None)) is not None:
            self._next += 1
            for name, one in following.items():
                running = self._running.setdefault(name, [])
                running.append(one)
                while len(running) > 1 and len(running[-1].absolute_M) >= len(running[-2].absolute_M):
                    running[-2:] = [join(running[-2:])]

    def whole(self) -> dict[str, Scores]:
        assert not self._waiting, "a piece is missing"
        return {name: join(running) for name, running in self._running.items()}


def _pieces(origins_M: NDArray, batch: int) -> list[NDArray]:
    """Windows next to each other, whole batches but for the last: the same pieces for any number of actors."""
    size = batch * max(1, min(MOST_BATCHES, -(-len(origins_M) // batch) // FEWEST_PIECES))
    return np.split(origins_M, range(size, len(origins_M), size))


def _write(file: Path, content: bytes) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".{uuid4().hex[:8]}.tmp")
    temporary.write_bytes(content)
    temporary.rename(file)
