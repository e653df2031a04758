"""The evaluate stage: choose a policy on the validation part, then read the test part once. Knows the run directory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.store import load_scaler, load_segments
from lstm_ray.data.windows import Segments, origins
from lstm_ray.evaluate.choosing import candidates as candidates_of
from lstm_ray.evaluate.explain import told as explained
from lstm_ray.evaluate.forecasts.evaluation import Scoring, evaluate_forecast
from lstm_ray.evaluate.forecasts.score import score
from lstm_ray.evaluate.intervals.calibrating import calibrated
from lstm_ray.evaluate.told import CASES, METRICS, Evaluation, Told
from lstm_ray.model.policy import Policy
from lstm_ray.run_dir import Finding, Report, RunDir, StageDir

PREDICTIONS = "predictions"
CHOICE = "The choice among candidates"
"""Topic of what validation decided."""
WINDOW = ("history", "horizon", "patch", "season")
"""Fields of the window that the metrics are told with."""
Further = Callable[[Config, str, Evaluation], list[Told]]
"""Given the config that the chosen policy was trained by, its stage and what was found of it, what else there is to tell."""


def evaluate(
    config: Config,
    run: RunDir,
    work: StageDir,
    score_with: Scoring = score,
    further: Further = lambda config, stage, found: [],
) -> Report:
    """Choose the best candidate on validation and score it, with baselines, on the test part.

    Leaves ``metrics.json``, ``figures.json``, each case's errors in ``cases.parquet``, what was answered in ``predictions/``
    and a copy of the chosen policy, its intervals calibrated on validation, in ``policy/``.

    Args:
        score_with: what scores forecasts, in this process or shared by several.
        further: what is told beside, such as a backtest.

    Raises:
        InputError: no policy was trained, or the test part holds nothing to score.
    """
    candidates, left_out = candidates_of.find(config, run, load_scaler(run))
    segments, parts = load_segments(run)
    candidates = candidates_of.on_common_origins(candidates, run, segments, parts)
    chosen = candidates_of.choose(candidates, config.answers)
    with run.local_copy(chosen.folder) as path:
        shutil.rmtree(work.path / candidates_of.POLICY, ignore_errors=True)
        shutil.copytree(path, work.path / candidates_of.POLICY)
    policy = Policy.load(work.path / candidates_of.POLICY)
    policy.calibration = calibrated(policy, segments, parts, config.evaluate.conformal, config.evaluate.batch)
    if policy.calibration is not None:
        policy.version = policy.save(work.path / candidates_of.POLICY)
    # A tuned policy may read other windows in another way than the YAML says: it is judged by its own.
    own = config.model_copy(
        update={section: getattr(policy.config, section) for section in ("window", "model", "train")}
    )
    shutil.rmtree(work.path / PREDICTIONS, ignore_errors=True)
    out = work.path / PREDICTIONS / "part-00000.parquet" if config.evaluate.predictions else None
    found = judged(own, chosen.stage, policy, segments, parts, score_with, out)
    findings = [candidates_of.compared(candidates, chosen, config.answers), *left_out]
    findings += _of_window(config, own, found.num_windows, segments, parts)
    choice = Told(CHOICE, findings, tables=[candidates_of.table(candidates, chosen, config.answers)])
    more = [*explained.told(own, policy, segments, parts), *further(own, chosen.stage, found)]
    found = replace(found, told=[found.told[0], choice, *found.told[1:], *more])
    metrics = {
        "task": config.task,
        "policy": chosen.stage,
        "split": "test",
        "num_windows": found.num_windows,
        "window": {field: getattr(own.window, field) for field in WINDOW},
        "metrics": found.metrics,
        "baselines": found.baselines,
        "scaled": found.scaled,
    }
    work.write_json(METRICS, metrics | found.details)
    work.write_figures(found.figures)
    if found.cases is not None:
        pq.write_table(found.cases, work.path / CASES)
    return Report(
        stage="evaluate",
        summary=found.summary,
        findings=found.findings,
        validation=chosen.validation,
        policy=chosen.stage,
        metrics=found.metrics,
        baselines=found.baselines,
        scaled=found.scaled,
        num_windows=found.num_windows,
        num_parameters=policy.num_parameters,
        skill=found.skill,
        tables=found.tables,
        topics=[part.topic for part in found.told],
    )


def _of_window(config: Config, own: Config, num: int, segments: Segments, parts: Boundaries) -> list[Finding]:
    """What the policy's own window means for what it is scored on, where it is not the YAML's."""
    if own.window == config.window:
        return []
    given, read = config.window, own.window
    text = (
        f"The policy reads a history of {read.history} steps in patches of {read.patch}, as tuned; the YAML has "
        f"{given.history} and {given.patch}. Test metrics, baselines and everything after are of its own window."
    )
    if config.task == "forecast":
        before = len(origins(segments, parts, "test", given))
        text += f" It answers {num:,} test windows" + (", as many." if before == num else f", the YAML's {before:,}.")
    return [Finding(severity="info", text=text)]


def judged(
    config: Config,
    name: str,
    policy: Policy,
    segments: Segments,
    parts: Boundaries,
    score_with: Scoring = score,
    out: Path | None = None,
) -> Evaluation:
    """A policy on the test part of some segments, by its task.

    Args:
        name: where it comes from, such as train.
        out: Parquet file for all that it answers.
    """
    if config.task == "forecast":
        return evaluate_forecast(config, name, policy, policy.scaler, segments, parts, score_with=score_with, out=out)
    # scikit-learn takes a second to import and a forecast does not need it.
    if config.task == "label":
        from lstm_ray.evaluate.labels.evaluation import evaluate_labels

        return evaluate_labels(config, name, policy, policy.scaler, segments, parts, out)
    from lstm_ray.evaluate.classes.evaluation import evaluate_classes

    return evaluate_classes(config, name, policy, policy.scaler, segments, parts, out)
