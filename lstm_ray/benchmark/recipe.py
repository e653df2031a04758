"""A config run from its files to its test figure, once for each seed, and what that cost. Knows no targets."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lstm_ray.benchmark import m4
from lstm_ray.benchmark.results import say
from lstm_ray.benchmark.sets import SETS, Measure
from lstm_ray.config import Config
from lstm_ray.config_file import load
from lstm_ray.data.store import load_scaler, load_segments
from lstm_ray.data.windows import origins, sequences
from lstm_ray.errors import InputError
from lstm_ray.evaluate.forecasts.baselines import fit_baselines
from lstm_ray.lifecycle import run_stages
from lstm_ray.model.policy import Policy
from lstm_ray.run_dir import RunDir

HERE = ("preprocess.engine=polars", "train.workers=0", "train.threads=1", "evaluate.workers=0")
"""One process and one thread, whatever the config says."""
SCORES_ALONE = ("evaluate.damage=[]", "evaluate.explain=none", "evaluate.statistical_windows=0")
"""What an evaluation tells beside its scores, and nobody reads here."""
SHORT = ("train.max_epochs=2",)


@dataclass(frozen=True)
class Trained:
    """One seed's outcome on the test part."""

    seed: int
    value: float
    """The set's measure."""
    others: dict[str, float]
    """More measures, such as what the OWA is made of."""
    baselines: dict[str, float]
    """The measure, by baseline."""
    num_windows: int
    num_parameters: int
    training_seconds: float
    """The whole train stage: reading, training, validation and checkpoints."""
    epochs: int
    best_epoch: int
    best_seconds: float
    """Seconds of optimiser steps up to the epoch that validation chose."""


def run_config(
    path: Path, source: Sequence[str], measure: Measure, seeds: Sequence[int], num_windows: int | None, quick: bool
) -> list[Trained]:
    """Preprocess and split once, then train and evaluate with each seed, in a temporary run directory.

    Args:
        source: files in place of the config's own.
        num_windows: test windows there must be; None: any number.
        quick: train for few epochs only.

    Raises:
        InputError: the config or the data is wrong, or gives another number of test windows.
    """
    found = []
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(folder)
        for seed in seeds:
            overrides = [
                f"data.source={json.dumps(list(source))}",
                f"seed={seed}",
                *HERE,
                *SCORES_ALONE,
                *(SHORT if quick else ()),
            ]
            config = load(path, overrides)
            run_stages(config, run, ["split"])
            count = _num_test(config, run)
            if num_windows is not None and count != num_windows:
                raise InputError(
                    f"{path.stem} has {count:,} test windows in {', '.join(source)}, and the published protocol has "
                    f"{num_windows:,}: these are other files or another split, so the figures could not be compared"
                )
            run_stages(config, run, ["evaluate"])
            found.append(_read(config, run, measure))
            say(f"  {path.stem}, seed {seed}: {measure} {found[-1].value:.4f}, {found[-1].training_seconds:.0f} s")
    return found


def one(name: str, path: str, source: list[str], seed: int) -> dict[str, Any]:
    """``run_config`` with one seed, to be called in a process of its own."""
    [found] = run_config(Path(path), source, SETS[name].measure, [seed], None, False)
    return asdict(found)


def _num_test(config: Config, run: RunDir) -> int:
    segments, parts = load_segments(run)
    if config.task == "classify":
        return len(sequences(segments, parts, "test"))
    return len(origins(segments, parts, "test", config.window))


def _read(config: Config, run: RunDir, measure: Measure) -> Trained:
    metrics = json.loads(run.read_bytes("evaluate/metrics.json"))
    train, report = run.report("train"), run.report("evaluate")
    assert train is not None, "evaluate needs train"
    assert report is not None, "run_stages leaves a report"
    others: dict[str, float] = {}
    if measure == "mse":
        value, beside = metrics["scaled"]["mse"], {n: m["mse"] for n, m in metrics["baselines_scaled"].items()}
        others = {"mae": metrics["scaled"]["mae"]}
    elif measure == "accuracy":
        value, beside = metrics["metrics"]["accuracy"], {n: m["accuracy"] for n, m in metrics["baselines"].items()}
    else:
        scores = _m4_scores(config, run)
        own = scores.pop("policy")
        value, others = own.owa, {"smape": own.smape, "mase": own.mase}
        beside = {name: score.owa for name, score in scores.items()}
    records = [json.loads(line) for line in run.read_bytes("train/metrics.jsonl").splitlines()]
    best = min(range(len(records)), key=lambda index: records[index]["validation_loss"])
    return Trained(
        seed=config.seed,
        value=value,
        others=others,
        baselines=beside,
        num_windows=metrics["num_windows"],
        num_parameters=(report.model_extra or {})["num_parameters"],
        training_seconds=train.wall_seconds,
        epochs=len(records),
        best_epoch=best + 1,
        best_seconds=sum(record["seconds"] for record in records[: best + 1]),
    )


def _m4_scores(config: Config, run: RunDir) -> dict[str, m4.M4Score]:
    segments, parts = load_segments(run)
    with run.local_copy("evaluate/policy") as folder:
        policy = Policy.load(folder)
    forecasters = {"policy": policy, **fit_baselines(segments, parts, config.window, load_scaler(run))}
    origins_M = origins(segments, parts, "test", config.window)
    return m4.score_forecasters(forecasters, segments, origins_M, config.window.horizon)
