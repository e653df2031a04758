"""The same input has the same answer, however it is asked: each promise of ``model.consistency`` that needs no cluster.

Streams, older formats and other machines are held to theirs where they are tested: tests/model/test_streaming.py,
test_stored.py and test_smoke.py; replicas and their restarts in tests/on_ray/test_consistency.py.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from lstm_ray.model.consistency import HELD
from lstm_ray.model.policy import Policy, SeriesInput
from lstm_ray.on_ray.forecasting.predicting import part_of, roles_of
from lstm_ray.serving.api import make_app
from lstm_ray.serving.grpc import answering, messages
from lstm_ray.serving.service import Asked, answer
from tests import made
from tests.serving import services as serving
from tests.serving.services import Client

SEGMENTS = made.segments_of((400, 400), schema=made.schema_of())
KINDS: dict[str, dict[str, Any]] = {
    "quantiles": {"model__quantiles": [0.1, 0.5, 0.9]},
    "members": {"model__members": 3, "model__hidden": 48, "model__quantiles": [0.05, 0.5, 0.95]},
    "distribution": {"model__distribution": "student_t", "model__quantiles": [0.1, 0.5, 0.9]},
    "attention": {"model__attention": True, "model__normalisation": "mean_deviation"},
}


def policy_of(kind: str) -> Policy:
    return made.random_policy(made.make_config(**KINDS[kind]), SEGMENTS)


def windows(number: int) -> list[SeriesInput]:
    return [made.series_input(SEGMENTS, 20 + n, 12, 6, f"s{n}") for n in range(number)]


def apart(one: NDArray, other: NDArray, policy: Policy) -> float:
    """Training deviations; float32 is no finer than a share of the value itself."""
    unit = np.maximum(np.asarray(policy.scaler.target.deviation)[:, None], np.abs(one))
    return float((np.abs(one - other) / unit).max())


@pytest.mark.parametrize("kind", KINDS)
def test_alone_or_beside_255_others(kind: str) -> None:
    policy, asked = policy_of(kind), windows(256)
    together: Any = policy.predict(asked)
    shuffled: Any = policy.predict(asked[::-1])[::-1]
    for n in (0, 1, 100, 255):
        [lone] = policy.predict([asked[n]])
        for found in (together[n], shuffled[n]):
            assert apart(lone.values_HCQ, found.values_HCQ, policy) <= HELD["beside"].most  # type: ignore[union-attr]
            assert apart(lone.mean_HC[..., None], found.mean_HC[..., None], policy) <= HELD["beside"].most  # type: ignore[union-attr, index]


@pytest.mark.parametrize("make", [serving.classifier, serving.labeller])
def test_classes_alone_or_beside_others(make: Any) -> None:
    policy = make()
    times = [made.START + step for step in range(12)]
    random = np.random.default_rng(0)
    asked = [SeriesInput(times, {"load": 20 + random.normal(0, 3, 12)}, name=f"s{n}") for n in range(256)]
    together = policy.predict(asked)
    for n in (0, 128, 255):
        [lone] = policy.predict([asked[n]])
        of = "probabilities" if hasattr(lone, "probabilities") else "answer_LA"
        assert np.abs(getattr(lone, of) - getattr(together[n], of)).max() <= HELD["beside"].most


@pytest.mark.parametrize("kind", ["quantiles", "distribution"])
def test_other_levels_asked_for_by_it_or_beside_it(kind: str) -> None:
    policy, [one, other] = policy_of(kind), windows(2)
    [[plain]] = answer(policy, [Asked([one])])
    [[own]] = answer(policy, [Asked([one], levels=(0.25, 0.6))])
    [[beside], _] = answer(policy, [Asked([one]), Asked([other], levels=(0.3, 0.85))])
    for found in (own, beside):
        assert apart(plain.values_HCQ, found.values_HCQ, policy) <= HELD["levels"].most


@pytest.mark.parametrize("kind", KINDS)
def test_asked_again_and_by_callers_at_once(kind: str) -> None:
    policy, asked = policy_of(kind), windows(24)
    first = [policy.predict([item])[0] for item in asked]
    with ThreadPoolExecutor(8) as threads:
        at_once = list(threads.map(lambda item: policy.predict([item])[0], asked))
    for one, again, threaded in zip(first, [policy.predict([item])[0] for item in asked], at_once, strict=True):
        assert apart(one.values_HCQ, again.values_HCQ, policy) <= HELD["again"].most  # type: ignore[union-attr]
        assert apart(one.values_HCQ, threaded.values_HCQ, policy) <= HELD["callers"].most  # type: ignore[union-attr]


ELSEWHERE = """
import sys
import numpy as np, torch
torch.set_num_threads(int(sys.argv[2]))
from lstm_ray.model.example import example
from lstm_ray.model.policy import Policy
policy = Policy.load(sys.argv[1])
np.save(sys.argv[3], policy.predict([example(policy)])[0].values_HCQ)
"""


def test_another_process_answers_as_this_one_whatever_its_threads(tmp_path: Path) -> None:
    policy = policy_of("members")
    policy.save(tmp_path / "policy")
    found = []
    for threads in (1, 1, 2):
        out = tmp_path / f"{len(found)}.npy"
        subprocess.run([sys.executable, "-c", ELSEWHERE, str(tmp_path / "policy"), str(threads), str(out)], check=True)
        found.append(np.load(out))
    assert apart(found[0], found[1], policy) <= HELD["restarted"].most
    assert apart(found[0], found[2], policy) <= HELD["threads"].most


def test_http_and_grpc_answer_what_python_does_to_the_last_bit() -> None:
    policy, [item] = policy_of("quantiles"), windows(1)
    wanted: Any = policy.predict([item])[0]
    service = serving.service(policy)
    request = messages.Request()
    one = request.series.add(name=item.name, times=[f"{np.datetime64(t, 's')}Z" for t in item.times])
    for name, values in item.columns.items():
        one.columns[name].values.extend(np.asarray(values, dtype=float).tolist())
    with Client(make_app(service)) as client:
        over_http = client.post("/v1/forecast", json=serving.body_of(item)).json()["forecasts"][0]["targets"]["load"]
        called = asyncio.run(answering.answered(service, "Forecast", request, {})).forecasts[0].targets["load"]
    assert HELD["again"].most == 0
    for q, level in enumerate(("0.1", "0.5", "0.9")):
        own = wanted.values_HCQ[:, 0, q].astype(np.float64).tolist()
        assert over_http["quantiles"][level] == own
        assert list(called.quantiles[level].values) == own


def test_a_batch_job_answers_what_a_request_does(tmp_path: Path) -> None:
    policy = policy_of("quantiles")
    items = [replace(item, name=f"s{n}") for n, item in enumerate(windows(40))]
    rows = pl.concat(
        [
            pl.DataFrame(
                {
                    "site": [item.name] * 12,
                    "when": np.asarray(item.times, "datetime64[us]"),
                    "load": np.asarray(item.columns["load"], float),
                    "wind": np.asarray(item.columns["wind"], float),
                }
            )
            for item in items
        ]
    ).with_columns(pl.col("load", "wind").fill_nan(None))
    content, _ = part_of(policy, roles_of(policy, "x.csv"), rows.to_arrow())
    (tmp_path / "part.parquet").write_bytes(content)
    found = pl.read_parquet(tmp_path / "part.parquet").partition_by("series", as_dict=True)
    for item in items:
        wanted: Any = policy.predict([item])[0]
        told = found[(item.name,)].select("q0.1", "median", "q0.9").to_numpy()
        assert apart(wanted.values_HCQ[:, 0], told, policy) <= HELD["batch job"].most
