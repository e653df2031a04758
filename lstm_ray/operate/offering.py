"""A policy from elsewhere, offered to the gate: judged beside the champion on what the newest challenger was judged on."""

from __future__ import annotations

from pathlib import Path

from lstm_ray.errors import InputError
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray.update import challenge, promote
from lstm_ray.retrain.gate import Verdict
from lstm_ray.retrain.ground import of
from lstm_ray.retrain.state import attempts, folder_of
from lstm_ray.retrain.work import held_against
from lstm_ray.serving.bundle import Packed, find


def offer(run: Path, files: Packed, source: str) -> Verdict:
    """Promote it where it passes, else keep it as the challenger that was refused.

    Raises InputError where no challenger of the run was judged before.
    """
    ground, judged = of(run, find(run)), [one for one in attempts(folder_of(run)) if one.verdict is not None]
    if not judged:
        raise InputError(
            f"no challenger of '{run}' was judged before, so nothing is held out to judge on; retrain it first"
        )
    verdict = held_against(ground, ground.champion, Policy.of(files), folder_of(run) / judged[-1].name)
    if verdict.promoted:
        promote(run, files, source, verdict.evidence())
    else:
        challenge(run, files, source, "refused", verdict.evidence())
    return verdict
