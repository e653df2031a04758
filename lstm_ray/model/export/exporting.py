"""A policy written in forms that other programs run, each held against ``Policy.predict``. Knows no run directory.

Forms: ONNX (``policy.onnx``, with ``policy.onnx.json`` that tells its inputs) and torch.export (``policy.pt2``). A graph takes
any number of series and, from the policy's history on, any number of whole patches.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lstm_ray.errors import InputError
from lstm_ray.model.example import example
from lstm_ray.model.export import describing, writing
from lstm_ray.model.export.feeds import BATCH, STEPS, feeds, inputs_of
from lstm_ray.model.export.graph import graph
from lstm_ray.model.export.lengths import least, padded, traced, trials
from lstm_ray.model.export.writing import Answers
from lstm_ray.model.policy import Policy
from lstm_ray.model.request import SeriesInput
from lstm_ray.model.threads import threads

FILES = {"onnx": "policy.onnx", "torch": "policy.pt2"}
"""By kind."""
REPORT = "export.json"
TOLERANCE = 1e-4
"""Training deviations, or probability, that a graph may answer apart from its policy."""
ROUNDS = 30
"""Requests of which the middle one's time is told."""
OPENERS: dict[str, Callable[[Path], Answers]] = {"onnx": writing.open_onnx, "torch": writing.open_torch}


@dataclass(frozen=True)
class Parity:
    """A form that a policy was written in, and how far it answers from the policy."""

    kind: str
    file: str
    size_bytes: int
    sha256: str
    largest: float
    """Difference from ``Policy.predict`` over all trials: training deviations, or probability."""
    mean: float
    ms: float
    """Of one request of the policy's history, the graph alone."""
    ms_policy: float
    """Of the same by ``Policy.predict``, which also reads, checks and fills."""
    batches: list[int]
    """Sizes of the requests tried."""
    steps: list[int]
    """Lengths of the histories (sequences) tried."""
    unit: str

    @property
    def holds(self) -> bool:
        return self.largest <= TOLERANCE


def export(policy: Policy, folder: Path, kinds: Sequence[str], series: Sequence[SeriesInput] = ()) -> list[Parity]:
    """Write a policy's graph in some forms into a folder, and hold each against the policy.

    Args:
        kinds: of FILES.
        series: that graph and policy are asked, at several lengths and in several batches; none: the made-up example.

    Returns:
        In the order of ``kinds``; ``export.json`` says the same.

    Raises InputError for a policy that no graph holds, for a missing package, and where a graph answers otherwise than the
    policy: its file is then removed.
    """
    if unknown := [kind for kind in kinds if kind not in FILES]:
        raise InputError(f"there is no form '{unknown[0]}' to export to; known: {', '.join(FILES)}")
    if "onnx" in kinds:
        for name in ("onnx", "onnxscript", "onnxruntime"):
            writing.package(name)
    folder.mkdir(parents=True, exist_ok=True)
    asked = list(series) or [example(policy)]
    inputs, output, shape = inputs_of(policy), *output_of(policy)
    found = program(policy)
    made = []
    for kind in dict.fromkeys(kinds):
        file = folder / FILES[kind]
        if kind == "onnx":
            writing.save_onnx(found, file, inputs, output, shape)
            describing.write(policy, file, inputs, output, shape)
        else:
            writing.save_torch(found, file)
        parity = compared(policy, kind, file, asked)
        if not parity.holds:
            file.unlink()
            raise InputError(
                f"{file.name} answers {parity.largest:.3g} {parity.unit} from Policy.predict, more than {TOLERANCE:g}, and "
                "was removed; deploy.export without it serves the policy as it is"
            )
        made.append(parity)
    write_report(folder, policy, made)
    return made


def program(policy: Policy, dtype: torch.dtype = torch.float32) -> Any:
    """What torch.export makes of a policy, its LSTM layers of a type of their own."""
    window = policy.config.window
    given = traced(policy, example(policy))
    return writing.program(graph(policy, dtype), inputs_of(policy), given, window.patch, least(policy), window.horizon)


def output_of(policy: Policy) -> tuple[str, tuple[str | int, ...]]:
    """Name and shape of what a graph answers."""
    schema, window = policy.schema, policy.config.window
    if policy.config.task == "forecast":
        return "forecast", (BATCH, window.horizon, len(schema.target), len(policy.quantiles))
    if policy.config.task == "classify":
        return "probabilities", (BATCH, len(schema.classes))
    return "labels", (BATCH, STEPS, len(schema.classes) or 1)


def in_turns(*works: Callable[[], Any], rounds: int = ROUNDS) -> list[float]:
    """Median milliseconds of each, by the wall; in turns, so that a busy machine is as busy for one as for another."""
    taken = np.empty((rounds + 1, len(works)))
    for turn, work in product(range(rounds + 1), range(len(works))):
        begin = time.perf_counter()
        works[work]()
        taken[turn, work] = time.perf_counter() - begin
    found: list[float] = (1000 * np.median(taken[1:], axis=0)).tolist()
    return found


# As where a policy is served: what is timed side by side shares no threads, and small products gain none by them.
@threads(1)
def compared(policy: Policy, kind: str, file: Path, series: Sequence[SeriesInput]) -> Parity:
    """A file, opened again, against the policy."""
    ask = OPENERS[kind](file)
    scale, unit = _scale(policy)
    gaps, batches, steps = [], set(), set()
    for trial in trials(policy, series):
        told = ask(trial.feeds)
        batches.add(len(trial.answers))
        steps.add(trial.steps)
        for own, answer in zip(told, trial.answers, strict=True):
            gaps.append(np.abs(_cut(own, answer, trial.feeds, policy) - answer) / scale)
    fed, asked = padded(feeds(policy, series[:1]), policy), list(series[:1])
    content = file.read_bytes()
    ms, ms_policy = in_turns(lambda: ask(fed), lambda: policy.predict(asked))
    return Parity(
        kind=kind,
        file=file.name,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        largest=float(max(gap.max() for gap in gaps)),
        mean=float(np.concatenate([gap.ravel() for gap in gaps]).mean()),
        ms=ms,
        ms_policy=ms_policy,
        batches=sorted(batches),
        steps=sorted(steps),
        unit=unit,
    )


def write_report(folder: Path, policy: Policy, made: Sequence[Any]) -> None:
    """``export.json``: what lies beside, for this version of the policy; forms that another call wrote stay told."""
    file, before = folder / REPORT, dict[str, Any]()
    if file.exists():
        told = json.loads(file.read_text())
        before = told["files"] if told["policy"] == policy.version else {}
    files = before | {one.file: asdict(one) for one in made}
    file.write_text(json.dumps({"policy": policy.version, "files": files}, indent=1, allow_nan=False))


def _cut(own: NDArray, answer: NDArray, fed: dict[str, NDArray], policy: Policy) -> NDArray:
    """A graph's answer for the steps that the policy answered: those of the series, without padding."""
    if policy.config.task != "label":
        return own
    lead = -len(answer) % policy.config.window.patch
    return own[lead : lead + len(answer)]


def _scale(policy: Policy) -> tuple[NDArray | float, str]:
    """What differences are told in."""
    if policy.config.task == "forecast":
        return policy.scaler.target_deviation[:, None], "training deviations"
    if policy.scaler.label is not None:
        return policy.scaler.label.deviation[0], "training deviations"
    return 1.0, "probability"
