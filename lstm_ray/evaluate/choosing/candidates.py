"""Which policy goes on: the best on the validation part. Knows reports and policies; never looks at the test part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.schema import Scaler
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.evaluate.choosing.validation import common_origins, validation_metrics
from lstm_ray.evaluate.names import metric as told_of
from lstm_ray.evaluate.names import ordered
from lstm_ray.evaluate.words import number, percent
from lstm_ray.model.policy import Policy
from lstm_ray.model.spending import PRIVACY
from lstm_ray.run_dir import Finding, Report, RunDir
from lstm_ray.sections.prepare import WindowConfig

STAGES = ("train", "plan", "tune")
"""Stages that may leave a policy, the simplest first: on a tie the earlier one goes on."""
POLICY = "policy"


@dataclass(frozen=True)
class Candidate:
    """A stage's policy and what it scored on the validation part."""

    stage: str
    validation: dict[str, float]
    window: WindowConfig
    version: str = "unsaved"
    """Of its policy."""
    preferred_to: str | None = None
    """The version of a policy that its stage compared it with, case by case, and set aside for it."""
    num_cases: int | None = None
    """Windows it was measured on, where they are not all of its own."""

    @property
    def folder(self) -> str:
        """Where the policy lies in the run directory."""
        return f"{self.stage}/{POLICY}"


def metric_of(answers: str) -> str:
    """What candidates are compared by; ``answers`` are those of the config, classes or values."""
    return "mae" if answers == "values" else "macro_f1"


def cost(validation: Mapping[str, float], answers: str) -> float:
    """The deciding metric as something to keep low."""
    value = validation[metric_of(answers)]
    return value if answers == "values" else -value


def find(config: Config, run: RunDir, scaler: Scaler) -> tuple[list[Candidate], list[Finding]]:
    """The candidates of a run, simplest first, and a finding for each that had to be left out.

    A policy of plan or tune left over from other windows, inputs or training data cannot be compared and is left out.
    Raises InputError where train has no policy, or a report lacks the metric that decides.
    """
    candidates: list[Candidate] = []
    left_out: list[Finding] = []
    for stage in STAGES:
        report = run.report(stage)
        if report is None or not run.exists(f"{stage}/{POLICY}"):
            if stage == "train":
                raise InputError(f"'{run.uri}' has no train/{POLICY}; run the stage 'train' first")
            continue
        if (report.validation or {}).get(metric := metric_of(config.answers)) is None:
            raise InputError(
                f"'{run.uri}/{stage}/report.json' has no validation.{metric}, found "
                f"{sorted(report.validation or {}) or 'none'}; run the stage '{stage}' again with --force"
            )
        assert report.validation is not None
        with run.local_copy(f"{stage}/{POLICY}") as path:
            policy = Policy.load(path)
        if reason := _mismatch(config, report, policy, scaler):
            if stage == "train":
                raise InputError(f"the policy of 'train' {reason}; run the stage 'train' again")
            text = f"The policy of '{stage}' {reason}, so it was not compared."
            left_out.append(Finding(severity="warning", text=text, advice=f"Run the stage '{stage}' again."))
            continue
        told = policy.facts.get("preferred_to")
        candidates.append(Candidate(stage, report.validation, policy.config.window, policy.version, told))
    return candidates, left_out


def on_common_origins(
    candidates: list[Candidate], run: RunDir, segments: Segments, bounds: Boundaries
) -> list[Candidate]:
    """The candidates measured on the validation windows that all of their histories can answer; as they are where they
    have one history."""
    if len({candidate.window.history for candidate in candidates}) == 1:
        return candidates
    origins_M = common_origins(segments, bounds, [candidate.window for candidate in candidates])
    measured = []
    for candidate in candidates:
        with run.local_copy(candidate.folder) as path:
            found = validation_metrics(Policy.load(path), segments, bounds, origins_M)
        measured.append(replace(candidate, validation=found, num_cases=len(origins_M)))
    return measured


def choose(candidates: list[Candidate], answers: str) -> Candidate:
    """The best on validation; on a tie the earlier, simpler one. One that a later stage has compared with its own and set
    aside is not asked again."""
    set_aside = _set_aside(candidates)
    return min(
        (candidate for candidate in candidates if candidate.version not in set_aside),
        key=lambda candidate: cost(candidate.validation, answers),
    )


def _set_aside(candidates: list[Candidate]) -> set[str | None]:
    return {candidate.preferred_to for candidate in candidates} - {None}


def compared(candidates: list[Candidate], chosen: Candidate, answers: str) -> Finding:
    """How the candidates did, in a sentence."""
    metric, name = metric_of(answers), "MAE" if answers == "values" else "macro F1"
    best = number(chosen.validation[metric])
    if len(candidates) == 1:
        text = f"'{chosen.stage}' is the only candidate, with validation {name} {best}."
        return Finding(severity="info", text=text)
    set_aside = _set_aside(candidates)
    others = [
        f"'{c.stage}' has {number(c.validation[metric])} ({_gap(c.validation[metric], chosen.validation[metric])})"
        for c in candidates
        if c is not chosen and c.version not in set_aside
    ]
    beaten = [f"'{c.stage}' ({number(c.validation[metric])})" for c in candidates if c.version in set_aside]
    place = "best of those left on validation" if beaten else "best on validation"
    text = f"'{chosen.stage}' goes on, {place} with {name} {best}{': ' if others else ''}{', '.join(others)}."
    if beaten:
        text += (
            f" {beaten[0]} was set aside before: 'tune' compared its own with it case by case and took the simplest that lies "
            "within one standard error of the best."
        )
    return Finding(severity="info", text=text)


def table(candidates: list[Candidate], chosen: Candidate, answers: str) -> dict[str, object]:
    """The candidates' validation metrics as rows."""
    first = metric_of(answers)
    names = sorted(ordered(name for one in candidates for name in one.validation), key=lambda name: name != first)
    rows = [[c.stage, *(c.validation.get(name) for name in names)] for c in candidates]
    but = ", but for one that 'tune' set aside" if _set_aside(candidates) else ""
    return {
        "title": "Candidates on the validation part",
        "columns": ["policy of", *(told_of(name).label for name in names)],
        "rows": rows,
        "caption": f"The policy with the best validation {told_of(first).label} goes on{but}; the test part has no say in it."
        f"{_over(candidates)}",
        "best": candidates.index(chosen),
    }


def _gap(value: float, best: float) -> str:
    if value == best:
        return "a tie, so the simpler goes on"
    return f"{'+' if value > best else ''}{percent(value / best - 1)}" if best else f"{value - best:+.3g}"


def _over(candidates: list[Candidate]) -> str:
    """What they were measured on, where their histories differ."""
    num = candidates[0].num_cases
    if num is None:
        return ""
    longest = max(candidate.window.history for candidate in candidates)
    return f" All are measured on the {num:,} windows that a history of {longest} steps can answer."


def _mismatch(config: Config, report: Report, policy: Policy, scaler: Scaler) -> str | None:
    """Why a policy does not fit the run's windows and data, or None. A tuned one may have a window of its own."""
    tuned = (report.model_extra or {}).get("best_config") or {}
    own = {path.split(".")[1]: value for path, value in tuned.items() if path.startswith("window.")}
    if policy.config.window != config.window.model_copy(update=own):
        return f"was trained with {_words(policy.config)}, and this run has {_words(config)}"
    if policy.scaler != scaler:
        return "was trained on another training part than this run's"
    if config.train.private is not None and PRIVACY not in policy.facts:
        return "was trained without privacy (train.private)"
    return None


def _words(config: Config) -> str:
    window = config.window
    return f"window.history {window.history}, horizon {window.horizon}, patch {window.patch}, season {window.season}"
