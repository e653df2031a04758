"""The deploy stage: bundle the chosen policy, serve it on loopback, hold HTTP against Python, load it, stop it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np

from lstm_ray import figure, progress
from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.store import load_segments
from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.words import listed
from lstm_ray.figure import Figure
from lstm_ray.model import smoke, stored
from lstm_ray.model.policy import Policy
from lstm_ray.monitor.drift import drift, reference
from lstm_ray.on_ray.serve import running
from lstm_ray.plan.decisions.worth import ranges_in_training
from lstm_ray.plan.futures.residuals import errors_of
from lstm_ray.registry.lineage import LINEAGE
from lstm_ray.report.card.facts import Facts, facts_of
from lstm_ray.report.card.model_card import BUNDLE, model_card
from lstm_ray.run_dir import Finding, Report, RunDir, StageDir
from lstm_ray.serving import bundle, fallback
from lstm_ray.serving.api import plans
from lstm_ray.serving.planning import RANGES
from lstm_ray.serving.proof import READY_SECONDS, SAMPLES, Proof, Sample, answer, prove, prove_plan, route, sample
from lstm_ray.serving.stress import Load, closed_loop

CARRIED_WINDOWS, CARRIED_VALUES = 1_000, 2_000_000
"""Validation windows whose errors a bundle carries, at most, and numbers (8 MB) in them."""
EXPORTS = "export"
"""Folder of a bundle that holds what deploy.export asks for. No policy is read from it."""
LONE_SECONDS = 0.5
"""Length of the load by one client alone."""


def deploy(config: Config, run: RunDir, work: StageDir) -> Report:
    """Write the run's ``policy/`` bundle after its server has proved itself.

    Raises:
        InputError: there is no evaluated policy, or deploy.export asks for a form that it cannot be written in.
        SmokeError: read again, the bundle does not answer its smoke input as the policy did.
        ServedWronglyError: HTTP and Python disagree, or a bad request is not refused.
    """
    with run.local_copy("evaluate/policy") as folder:
        policy = Policy.load(folder)
    # Trained under an older plan, perhaps: what is decided, and how it is watched, is the run's.
    policy.config = policy.config.model_copy(update={"plan": config.plan, "monitor": config.monitor})
    if config.data.licence:
        policy.facts["licence"] = config.data.licence
    segments, bounds = load_segments(run)
    facts = facts_of(run, run.read_json("evaluate/metrics.json"))
    samples = sample(segments, bounds, policy.config)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / BUNDLE
        files = write_bundle(folder, policy, segments, bounds, facts)
        smoked = smoke.check(bundle.unpack(files)) or 0.0
        exported = _exported(policy, folder / EXPORTS, config.deploy.export, samples) if config.deploy.export else []
        settings = config.deploy.model_copy(update={"host": "127.0.0.1", "port": 0, "token_file": None})
        name = f"lstm-ray-check-{uuid4().hex[:8]}"
        with (
            progress.bar("deploy", 4) as advance,
            running(files, settings, name, f"/{name}", asks=config.resources) as served,
        ):
            advance("the server answers")
            with httpx.Client(base_url=served.url, timeout=READY_SECONDS) as client:
                proof = prove(client, policy, samples, settings.max_body_bytes)
                planned_seconds = prove_plan(client, policy)
                advance("answers are right")
                url = f"{served.url}{route(policy)}"
                bodies = [json.dumps(item.body(named=False)).encode() for item in samples]
                lone = closed_loop(url, bodies, 1, min(LONE_SECONDS, settings.load_seconds))
                loaded = closed_loop(url, bodies, settings.load_connections, settings.load_seconds)
                advance("load was borne")
                monitor = answer(client.get("/v1/monitor"))
        advance("stopped")
        run.publish(folder, BUNDLE)
    work.write_json("load.json", {"lone": lone.as_dict(), "loaded": loaded.as_dict()})
    work.write_json("monitor.json", monitor)
    work.write_figures(_figures(lone, loaded, monitor))
    report = _report(policy, proof, lone, loaded, monitor, files)
    unit = "training deviations" if policy.config.answers == "values" else "probability"
    again = f"to {smoked:.1g} {unit}" if smoked else "exactly"
    text = f"Read from its files again, the bundle answers its smoke input as before, {again}."
    report.findings[1:1] = [Finding(severity="info", text=text), *exported]
    if planned_seconds is not None:
        text = (
            f"POST /v1/plan answers the documented example in {planned_seconds:.1f} s, with the plan found in Python."
        )
        report.findings.insert(1, Finding(severity="info", text=text))
    return report


def write_bundle(
    folder: Path,
    policy: Policy,
    segments: Segments,
    bounds: Boundaries,
    facts: Facts,
    watched: Boundaries | None = None,
) -> bundle.Packed:
    """A policy with its drift reference, what futures are sampled from, its smoke input and its model card; returns its files,
    read again.

    Args:
        watched: what a monitor is to take for the training part; None: all of it.
    """
    monitor = policy.config.monitor
    policy.facts["reference"] = reference.of(policy, segments, watched or bounds, monitor, facts.missing)
    if policy.config.task == "forecast":
        policy.facts[RANGES] = ranges_in_training(segments, bounds)
        policy.residuals = errors_of(policy, segments, bounds).thinned(CARRIED_WINDOWS, CARRIED_VALUES)
    if policy.schema.classes:
        policy.facts[fallback.SHARES_KEY] = fallback.shares_of(segments, bounds)
    if facts.lineage:
        policy.facts[LINEAGE] = dict(facts.lineage)
    policy.smoke = smoke.smoke_of(policy)
    files = policy.files()
    policy.version = stored.version(files)
    stored.write(folder, stored.with_card(files, model_card(policy, facts, served=plans(policy))))
    return bundle.pack(folder)


def _exported(policy: Policy, folder: Path, kinds: Sequence[str], samples: Sequence[Sample]) -> list[Finding]:
    """Write the policy in the forms that deploy.export asks for, and tell how far each answers from it."""
    from lstm_ray.model.export.exporting import export

    found = []
    for one in export(policy, folder, kinds, [item.given for item in samples]):
        batches, steps = (listed([str(number) for number in tried]) for tried in (one.batches, one.steps))
        text = (
            f"{BUNDLE}/{EXPORTS}/{one.file} ({one.size_bytes / 1e6:.2f} MB) answers within {one.largest:.1g} {one.unit} of "
            f"Policy.predict, for batches of {batches} and histories of {steps} steps."
        )
        found.append(Finding(severity="info", text=text))
    return found


def _report(
    policy: Policy, proof: Proof, lone: Load, loaded: Load, monitor: Mapping[str, Any], files: bundle.Packed
) -> Report:
    one, many = lone.as_dict(), loaded.as_dict()
    unit = "training deviations" if policy.config.answers == "values" else "probability"
    exactness = f"to {proof.difference:.1g} {unit}" if proof.difference else "exactly"
    rows = [
        [
            load["connections"],
            load["requests_per_second"],
            load["p50_ms"],
            load["p95_ms"],
            load["p99_ms"],
            load["errors"],
        ]
        for load in (one, many)
    ]
    size = sum(len(content) for content in files.values())
    return Report(
        stage="deploy",
        summary=f"HTTP answers equal Policy.predict {exactness}; {many['connections']} clients get "
        f"{many['requests_per_second']:,.0f} answers a second, half of them within {many['p50_ms']:.1f} ms.",
        findings=_findings(proof, one, many, monitor, size, exactness),
        load=many,
        lone=one,
        parity=proof.difference,
        policy_version=policy.version,
        policy_bytes=size,
        tables=[
            {
                "title": "Load on loopback, the clients on the same machine",
                "columns": ["clients", "requests per second", "p50 ms", "p95 ms", "p99 ms", "errors"],
                "rows": rows,
                "caption": "Each client asks again as soon as it is answered, with real windows of the test part.",
            },
            {
                "title": "What bad requests got",
                "columns": ["request with", "status", "told"],
                "rows": [list(row) for row in proof.refused],
                "caption": "Each is refused before the policy sees it, and says which field is wrong.",
            },
        ],
    )


def _findings(
    proof: Proof, one: dict[str, Any], many: dict[str, Any], monitor: Mapping[str, Any], size: int, exactness: str
) -> list[Finding]:
    found = [
        Finding(
            severity="info",
            text=f"{SAMPLES} real requests over HTTP equal Policy.predict {exactness}; "
            f"{len(proof.refused)} bad ones were refused. The policy's files hold {size / 1e6:.2f} MB.",
        ),
        Finding(
            severity="info",
            text=f"One client alone is answered in {one['p50_ms']:.2f} ms (p99 {one['p99_ms']:.2f} ms).",
        ),
    ]
    if failed := one["errors"] + many["errors"]:
        text = f"{failed} of {one['requests'] + many['requests'] + failed} requests under load failed."
        found.append(Finding(severity="warning", text=text, advice="deploy.max_ongoing_requests: a higher limit"))
    state = monitor["inputs"]["state"]
    shifted = state.startswith(("moderate", "shifted"))
    text = f"Inputs of the test part against the training part: {state}."
    advice = "Train on newer data, or over whole years where the seasons differ." if shifted else ""
    found.append(Finding(severity="advice" if shifted else "info", text=text, advice=advice))
    live = monitor["performance"]
    if live["rolling"] is not None and live["validation"] is not None:
        text = f"Over the {live['scored']:,} values sent back as observations the {live['metric']} is {live['rolling']:.4g}, "
        found.append(
            Finding(severity="info", text=f"{text}beside {live['validation']:.4g} on validation: {live['state']}.")
        )
    return found


def _figures(lone: Load, loaded: Load, monitor: Mapping[str, Any]) -> list[Figure]:
    figures = []
    if len(lone.latency_M) and len(loaded.latency_M):
        both = np.concatenate([lone.latency_M, loaded.latency_M])
        edges = np.geomspace(both.min(), np.quantile(both, 0.999) + 1e-6, 41)
        shares = {
            f"{load.connections} client{'s' if load.connections > 1 else ''}": np.histogram(load.latency_M, edges)[0]
            / len(load.latency_M)
            for load in (lone, loaded)
        }
        caption = (
            f"One client waits {lone.quantile(0.5):.2f} ms (p99 {lone.quantile(0.99):.2f} ms); each of {loaded.connections} "
            f"at once waits {loaded.quantile(0.5):.2f} ms (p99 {loaded.quantile(0.99):.2f} ms)."
        )
        middle = [f"{value:.3g}" for value in np.sqrt(edges[:-1] * edges[1:])]
        figures.append(
            figure.bars(
                "latency",
                "How long an answer takes",
                caption,
                middle,
                shares,
                x_title="ms",
                y_title="share of requests",
            )
        )
    judged = [row for row in monitor["inputs"]["columns"] if row["psi"] is not None]
    if judged:
        worst = judged[0]
        caption = f"'{worst['column']}' has moved most, PSI {worst['psi']:.2f} ({worst['state']}); "
        caption += (
            f"under {drift.MODERATE} is stable, over {drift.SHIFTED} shifted."
            if worst["limits"] is None
            else f"that is {worst['over_limit']:.2f} times the limit that stretches of training keep."
        )
        names = [row["column"] for row in judged]
        values = {"PSI": [row["psi"] for row in judged]}
        figures.append(
            figure.bars("drift", "Test inputs against the training part", caption, names, values, y_title="PSI")
        )
    return figures
