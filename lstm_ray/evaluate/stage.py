"""The evaluate stage: choose a policy on the validation part, then read the test part once. Knows the run directory."""

from __future__ import annotations

import shutil

from lstm_ray.config import Config
from lstm_ray.data.store import load_scaler, load_segments
from lstm_ray.evaluate import candidates as candidates_of
from lstm_ray.evaluate.forecast import Evaluation, evaluate_forecast
from lstm_ray.model.policy import Policy
from lstm_ray.run_dir import Report, RunDir, StageDir

METRICS = "metrics.json"


def evaluate(config: Config, run: RunDir, work: StageDir) -> Report:
    """Choose the best candidate on validation and score it, with baselines, on the test part.

    Leaves ``metrics.json``, ``figures.json`` and a copy of the chosen policy in ``policy/``.
    Raises InputError where no policy was trained, or the test part holds nothing to score.
    """
    candidates, left_out = candidates_of.find(config, run, load_scaler(run))
    chosen = candidates_of.choose(candidates, config.answers)
    with run.local_copy(chosen.folder) as path:
        shutil.rmtree(work.path / candidates_of.POLICY, ignore_errors=True)
        shutil.copytree(path, work.path / candidates_of.POLICY)
    policy = Policy.load(work.path / candidates_of.POLICY)
    found = _evaluate(config, run, chosen.stage, policy)
    findings = [found.findings[0], candidates_of.compared(candidates, chosen, config.answers), *left_out]
    metrics = {
        "task": config.task,
        "policy": chosen.stage,
        "split": "test",
        "num_windows": found.num_windows,
        "metrics": found.metrics,
        "baselines": found.baselines,
        "scaled": found.scaled,
    }
    work.write_json(METRICS, metrics | found.details)
    work.write_figures(found.figures)
    return Report(
        stage="evaluate",
        summary=found.summary,
        findings=findings + found.findings[1:],
        validation=chosen.validation,
        policy=chosen.stage,
        metrics=found.metrics,
        baselines=found.baselines,
        scaled=found.scaled,
        num_windows=found.num_windows,
        num_parameters=policy.num_parameters,
        skill=found.skill,
        tables=[candidates_of.table(candidates, chosen, config.answers)],
    )


def _evaluate(config: Config, run: RunDir, name: str, policy: Policy) -> Evaluation:
    segments, parts = load_segments(run)
    if config.task == "forecast":
        return evaluate_forecast(config, name, policy, policy.scaler, segments, parts)
    # scikit-learn takes a second to import and a forecast does not need it.
    if config.task == "label":
        from lstm_ray.evaluate.label import evaluate_labels

        return evaluate_labels(config, name, policy, policy.scaler, segments, parts)
    from lstm_ray.evaluate.classify import evaluate_classes

    return evaluate_classes(config, name, policy, policy.scaler, segments, parts)
