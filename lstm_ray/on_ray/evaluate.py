"""Evaluating as a stage: the test part in this process. Starts Ray only where it is asked to share the work."""

from __future__ import annotations

from lstm_ray.config import Config
from lstm_ray.evaluate.stage import evaluate as evaluate_here
from lstm_ray.run_dir import Report, RunDir, StageDir


def evaluate(config: Config, run: RunDir, work: StageDir) -> Report:
    """``evaluate.stage.evaluate``."""
    return evaluate_here(config, run, work)
