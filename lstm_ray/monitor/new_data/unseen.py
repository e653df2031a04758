"""A policy judged on data that its run has not seen: later, or of other series. The stage's judges, and the shift beside.

Knows run directories and policies; fits nothing on the new data. Baselines that are fitted are fitted on the run's training
part, as they were in the run; with a policy's folder alone, only those that need no fitting are there.

Legend: M cases.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import yaml

from lstm_ray.config import Config, parse
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.preparing.append import MANIFEST
from lstm_ray.data.preparing.unseen import Unseen, after_training, alone, prepared
from lstm_ray.data.store import load_segments
from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.evaluate.stage import PREDICTIONS, WINDOW, judged
from lstm_ray.evaluate.told import CASES, METRICS, UNSEEN, Evaluation, Told
from lstm_ray.evaluate.words import number
from lstm_ray.model.policy import Policy
from lstm_ray.model.stored import POLICY
from lstm_ray.monitor.drift import drift
from lstm_ray.monitor.new_data import shift
from lstm_ray.monitor.new_data.then_and_now import Source, overlap, then_and_now
from lstm_ray.run_dir import REPORT, Finding, Report, RunDir

SHIFT = "What has shifted"
"""Topic."""


def evaluate_unseen(source: str, data: str | list[str], out: str = "") -> tuple[RunDir, str, Report]:
    """Judge a policy on new data and keep what was found, as the stage does for the test part.

    Args:
        source: a run directory with an evaluated policy, or a policy's folder.
        data: as ``data.source``.
        out: folder to write; by default ``RUN/unseen/NAME``, the name being that of the first file.

    Returns:
        The folder that holds the evaluation's own, its name in there, and its report.

    Raises:
        InputError: no policy there, or data that it cannot be judged on.
    """
    started = time.perf_counter()
    found = find(source)
    holder, name = place(found, data, out, UNSEEN, METRICS)
    new = prepared(found.config, found.policy.schema, found.policy.scaler, data)
    training = load_segments(found.run) if found.run is not None else None
    shared = overlap(found, new, *training) if training else 0
    segments, parts, reference = _beside(found, new, training)
    with holder.stage(name, hashlib.sha256(repr((data, found.policy.version)).encode()).hexdigest()) as work:
        shutil.rmtree(work.path / PREDICTIONS, ignore_errors=True)
        keep = work.path / PREDICTIONS / "part-00000.parquet" if found.config.evaluate.predictions else None
        answer = judged(found.config, found.stage, found.policy, segments, parts, out=keep)
        rows = shift.measure(segments, parts, reference, new.missing, _missing_before(found.run))
        who = shift.strangers(new.segments, _known_series(found))
        told = [then_and_now(found, new, answer, rows, shared), _shifted(rows, who, new, reference, segments, parts)]
        summary = _summary(found, answer, rows, shared)
        answer = replace(answer, told=[*told, *answer.told])
        metrics = {
            "task": found.config.task,
            "policy": found.stage,
            "split": "unseen",
            "source": data,
            "num_windows": answer.num_windows,
            "window": {field: getattr(found.config.window, field) for field in WINDOW},
            "metrics": answer.metrics,
            "baselines": answer.baselines,
            "scaled": answer.scaled,
            "shift": rows,
            "series": who,
        }
        work.write_json(METRICS, metrics | answer.details)
        work.write_figures(answer.figures)
        if answer.cases is not None:
            pq.write_table(answer.cases, work.path / CASES)
        report = Report(
            stage=UNSEEN,
            summary=summary,
            findings=answer.findings,
            run=found.name,
            headline=_headline(found, answer, rows),
            wall_seconds=round(time.perf_counter() - started, 3),
            num_rows=new.num_rows,
            num_windows=answer.num_windows,
            tables=answer.tables,
            topics=[part.topic for part in answer.told],
        )
        work.write_json(REPORT, report)
    tidy(holder)
    return holder, name, report


def find(source: str) -> Source:
    """The evaluated policy of a run, or the one in a folder. Raises InputError where there is none."""
    run = RunDir(source)
    name = run.uri.rstrip("/").split("/")[-1]
    if run.exists(f"evaluate/policy/{POLICY}"):
        with run.local_copy("evaluate/policy") as folder:
            policy = Policy.load(folder)
        stage = str(run.read_json(f"evaluate/{METRICS}")["policy"])
        return Source(name, policy, stage, _as_in(run, policy.config), run)
    if run.exists(POLICY):
        with run.local_copy("") as folder:
            policy = Policy.load(folder)
        if policy.config.task != "forecast":
            raise InputError(
                f"'{source}' is a policy's folder, and the baselines of task '{policy.config.task}' are fitted on the training "
                "part: name the run's directory"
            )
        return Source(name, policy, "bundle", policy.config, None)
    raise InputError(
        f"'{source}' holds no evaluated policy; name a run directory where the stage 'evaluate' has run, or a policy's folder"
    )


def _as_in(run: RunDir, config: Config) -> Config:
    """The policy's config with what the run's evaluation was asked."""
    tree = yaml.safe_load(run.read_bytes("config.yaml")) if run.exists("config.yaml") else {}
    asked = (tree or {}).get("evaluate")
    return parse(config.model_dump() | {"evaluate": asked}) if asked else config


def place(found: Source, data: str | list[str], out: str, folder: str, holds: str) -> tuple[RunDir, str]:
    """Where to write what is found of some data: the folder's own, and its name in there.

    Args:
        out: the folder that was asked for; empty: one named as the first file in the run's ``folder``.
        holds: a file by which an earlier one is known, which may be written over.
    """
    if out:
        path = Path(out).expanduser().absolute()
        if path.is_file() or (path.is_dir() and any(path.iterdir()) and not (path / holds).exists()):
            raise InputError(f"--out '{out}' holds other things; name a new folder")
        return RunDir(path.parent), path.name
    if found.run is None:
        raise InputError("a policy's folder has no place for what is found; say where with --out DIR")
    first = data if isinstance(data, str) else data[0]
    stem = re.sub(r"\.(gz|zst|bz2|xz)$", "", first.rstrip("/").split("/")[-1].split("?")[0])
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem.rsplit(".", 1)[0] if "." in stem else stem).strip("-.")
    return RunDir(f"{found.run.uri}/{folder}"), name or "data"


def _beside(
    found: Source, new: Unseen, training: tuple[Segments, Boundaries] | None
) -> tuple[Segments, Boundaries, dict[str, Any]]:
    """The new data as a test part, after the run's training and validation part where there are any; and what training
    looked like."""
    if training is None:
        return *alone(new.segments), found.policy.facts.get("reference", {})
    is_classify = found.config.task == "classify"
    both = after_training(*training, new.segments, found.config.window.history, is_classify)
    return *both, drift.reference(*training)


def _known_series(found: Source) -> set[str] | None:
    if found.run is None:
        own = found.policy.scaler.series
        return set(own.of) if own is not None else None
    with found.run.local_copy("preprocess") as path:
        return set(pl.read_parquet(path / "index.parquet", columns=["series"])["series"].to_list())


def _missing_before(run: RunDir | None) -> dict[str, float]:
    """Share of empty cells of each input in the run's own table."""
    if run is None or not run.exists(f"preprocess/{MANIFEST}"):
        return {}
    manifest = run.read_json(f"preprocess/{MANIFEST}")
    rows = manifest["rows"]
    columns = {*manifest["missing"], *manifest["present"]}
    return {name: manifest["missing"].get(name, 0) / rows for name in columns} if rows else {}


def _shifted(
    rows: list[shift.Row],
    who: dict[str, Any],
    new: Unseen,
    reference: dict[str, Any],
    segments: Segments,
    parts: Boundaries,
) -> Told:
    if not rows:
        text = "The policy carries no picture of its training data, so no shift can be told; name the run's directory."
        return Told(SHIFT, [Finding(severity="info", text=text), *shift.findings([], who)])
    drawn = shift.figures(rows, reference, segments, parts)
    return Told(SHIFT, shift.findings(rows, who), drawn, [shift.table(rows)])


def _summary(found: Source, answer: Evaluation, rows: list[shift.Row], shared: int) -> str:
    """One line for the terminal and the top of the page."""
    unit = {"forecast": "windows", "classify": "sequences", "label": "labelled steps"}[found.config.task]
    name = "mae" if "mae" in answer.metrics else "macro_f1"
    value, words = answer.metrics.get(name), "mean absolute error" if name == "mae" else "macro F1"
    text = (
        f"On {answer.num_windows:,} {unit} of new data the policy of '{found.stage}' has {words} {number(value or 0.0)}"
    )
    if (
        found.run is not None
        and (before := found.run.read_json(f"evaluate/{METRICS}")["metrics"].get(name)) is not None
    ):
        text += f", against {number(before)} on the run's test part"
    if shared:
        text += "; but it has learned from some of them"
    return f"{text}; {shift.in_a_line(rows)}." if rows else f"{text}."


def _headline(found: Source, answer: Evaluation, rows: list[shift.Row]) -> dict[str, Any]:
    """The run's own score by the metric that heads the page, and the column that moved most."""
    told: dict[str, Any] = {}
    if found.run is not None:
        before = found.run.read_json(f"evaluate/{METRICS}")["metrics"]
        told["before"] = before.get("mae" if "mae" in answer.metrics else "macro_f1")
    if rows and rows[0]["psi"] is not None:
        told |= {"most_shifted": rows[0]["column"], "psi": rows[0]["psi"]}
    return told


def tidy(holder: RunDir) -> None:
    """The folder of what is under way, where nothing else uses it."""
    if holder.local is not None:
        work = holder.local / ".work"
        if work.exists() and not any(work.iterdir()):
            work.rmdir()
