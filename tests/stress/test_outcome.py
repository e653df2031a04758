"""What counts as broken, what is said of it, and the page that shows it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lstm_ray.run_dir import to_json
from lstm_ray.sections.deploy import DeployConfig
from lstm_ray.sections.operate import StressConfig
from lstm_ray.stress import findings, page, pictures
from lstm_ray.stress.bodies import Hostile
from lstm_ray.stress.curve import capacity_of, knee_of
from lstm_ray.stress.leaks import growths_of
from lstm_ray.stress.outcome import Outcome, Used, faults_of, first_of, refused_of
from lstm_ray.stress.overload import outage_of, recovery_of, shedding_of, timeline_of
from lstm_ray.stress.processes import Sample
from tests.serving import services as serving
from tests.stress import made

CASES = [Hostile("no JSON", [422]), Hostile("half a body, then gone", [0])]
STEPS = [made.step(users, 100 * users / (1 + 0.1 * (users - 1)), 5.0 * users) for users in (1, 4, 16, 64)]


def outcome(**changes: Any) -> Outcome:
    """A server that holds 200 ms up to 40 clients, turns some of 400 away, and does all else well."""
    config = StressConfig()
    times = np.arange(0, 20, 0.01).tolist()
    spike = made.step(400, 800, 250.0, shed=0.3)
    samples = [Sample(time, "replicas", 300_000_000, 50, time) for time in np.arange(0, 60, 0.5).tolist()]
    hostile = made.together(
        made.requests([1.0], status=422, kind="hostile"), made.requests([2.0], status=0, kind="hostile", case=1)
    )
    found = Outcome(
        config=config,
        deploy=DeployConfig(),
        steps=STEPS,
        used=[Used(0.5, 0.95, 0.1)] * len(STEPS),
        capacity=capacity_of(STEPS, config.p99_ms),
        knee=knee_of(STEPS),
        shedding=shedding_of([*STEPS, spike], config.p99_ms),
        steady_users=20,
        spike=spike,
        recovery=recovery_of(made.requests(times), 0.0, 3.0, 8.0, 20.0),
        spike_time=timeline_of(made.requests(times), 0.0, 20.0, {"spike": 3.0}),
        soak=made.step(20, 700, 90.0),
        growths=growths_of(samples, config.max_memory_growth),
        soak_samples=samples,
        outage=outage_of(made.requests(times), 5.0, 20.0, 1, 9.0),
        outage_time=timeline_of(made.requests(times), 0.0, 20.0, {"replica killed": 5.0}),
        refused=refused_of([hostile], CASES),
        slow={"200": 10},
        first=first_of([*STEPS, spike], config.p99_ms),
    )
    return replace(found, **changes)


def warnings(found: Outcome) -> list[str]:
    return [one.text for one in findings.findings_of(found) if one.severity == "warning"]


def test_a_server_that_was_only_slow_did_not_break() -> None:
    found = outcome()
    assert found.broken == []
    assert warnings(found) == []
    assert found.first == "the p99 passed 200 ms (320 ms) at 64 clients"
    assert "Nothing broke" in findings.summary_of(found)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"faults": {"500": 3}}, "3 valid requests were answered with 500"),
        ({"faults": {"504": 1}}, "answered with 504"),
        ({"crashed": ["a replica ended during the soak"]}, "a replica ended during the soak"),
        ({"outage": outage_of(made.requests([1.0]), 5.0, 20.0, 1, None)}, "did not come back"),
        (
            {"refused": refused_of([made.requests([1.0], status=500, kind="hostile")], CASES)},
            "no JSON was answered with 500",
        ),
        ({"refused": refused_of([made.requests([1.0], status=200, kind="hostile")], CASES)}, "instead of 422"),
    ],
)
def test_what_must_not_happen_breaks_it(changes: dict[str, Any], words: str) -> None:
    found = outcome(**changes)
    assert len(found.broken) == 1
    assert words in found.broken[0]
    assert any(words in text for text in warnings(found))
    assert "It broke" in findings.summary_of(found)


def test_requests_without_an_answer_are_warned_of_and_do_not_break_it() -> None:
    found = outcome(faults=faults_of([made.requests([1.0, 2.0], status=0)]))
    assert found.broken == []
    assert any("no answer (2)" in text for text in warnings(found))


def test_being_turned_away_is_right_for_hostile_requests_and_for_valid_ones() -> None:
    away = made.requests([1.0, 2.0], status=503, kind="hostile", away=True)
    [one, _] = refused_of([away], CASES)
    assert (one.away, one.wrong, one.asked, one.statuses) == (2, 0, 2, {})
    assert faults_of([made.requests([1.0], status=503, away=True)]) == {}
    assert faults_of([made.requests([1.0], status=503)]) == {"503": 1}, "nobody was told when to come again"


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([made.step(1, 10, 10.0), made.step(8, 10, 10.0, failed=0.5)], "requests failed (50 %) at 8 clients"),
        ([made.step(1, 10, 10.0, shed=0.5), made.step(8, 10, 999.0)], "requests were turned away (50 %) at 1 client"),
        ([made.step(1, 0, None)], "nobody was answered at 1 client"),
        ([made.step(1, 10, 10.0)], ""),
    ],
)
def test_what_gave_way_first_is_that_of_the_least_load(steps: list[made.Step], words: str) -> None:
    assert first_of(steps, 200.0) == words


def test_a_queue_that_is_too_long_is_told_with_the_length_that_would_do() -> None:
    shedding = shedding_of([*STEPS, made.step(400, 800, 900.0, shed=0.3)], 200.0)
    told = [one for one in findings.findings_of(outcome(shedding=shedding)) if "not bounded" in one.text]
    best = max(step.per_second for step in STEPS)
    assert [one.severity for one in told] == ["warning"]
    assert f"deploy.max_ongoing_requests: {int(best * 0.2 / 5)}" in told[0].advice


def test_replicas_are_advised_only_where_theirs_is_the_core_that_is_used_up() -> None:
    def advice(used: Used) -> list[str]:
        told = findings.findings_of(outcome(used=[used] * len(STEPS)))
        return [one.advice for one in told if one.text.startswith("At the busiest")]

    assert advice(Used(0.5, 0.95, 0.1)) == ["deploy.replicas: 2"]
    assert advice(Used(0.5, 0.4, 0.1)) == [""]
    assert "more machines" in advice(Used(1.0, 0.95, 0.1))[0]
    assert advice(Used(None, None, None)) == []


def test_a_generator_that_set_the_pace_is_admitted() -> None:
    steps = [replace(step, generator=0.99) if step.users == 64 else step for step in STEPS]
    told = [text for text in warnings(outcome(steps=steps)) if "generator" in text]
    assert len(told) == 1
    assert "at 64 clients it set the pace" in told[0]


def test_programs_that_took_the_machine_meanwhile_are_told() -> None:
    assert any("up to 1.2 cores" in text for text in warnings(outcome(used=[Used(1.0, 0.6, 0.1, 1.2)] * len(STEPS))))
    assert not warnings(outcome(used=[Used(0.5, 0.6, 0.1, 0.1)] * len(STEPS)))


def test_an_outage_beside_other_replicas_may_be_short_only() -> None:
    requests = made.requests([*np.arange(0, 5, 0.1), *np.arange(11, 20, 0.1)])
    long = outcome(outage=outage_of(requests, 5.0, 20.0, 2, 12.0))
    assert any("longest time without any answer was 6.0 s" in text for text in warnings(long))
    assert not warnings(outcome(outage=outage_of(requests, 12.0, 20.0, 2, 13.0)))


def test_the_report_is_json_and_the_page_shows_every_topic() -> None:
    policy, found = serving.forecaster(), outcome()
    report = page.report_of(policy, found, 100.0)
    told = json.loads(to_json(report.model_dump()))
    assert told["outcome"]["capacity"]["state"] == "found"
    assert len(told["outcome"]["steps"]) == len(STEPS)
    text = page.page_of(report, found, policy, "lstm-ray stress RUN")
    for topic in findings.TOPICS:
        assert f">{topic}</h3>" in text
    assert "lstm-ray stress RUN" in text
    assert "400 (spike)" in text
    json.dumps(page.last_line(found, "here"), allow_nan=False)


def test_a_bare_outcome_has_a_page_too() -> None:
    steps = [made.step(1, 0, None, failed=1.0)]
    bare = Outcome(
        config=StressConfig(users=[1]),
        deploy=None,
        steps=steps,
        used=[Used(None, None, None)],
        capacity=capacity_of(steps, 200.0),
        knee=None,
        shedding=shedding_of(steps, 200.0),
        steady_users=1,
    )
    policy = serving.forecaster()
    text = page.page_of(page.report_of(policy, bare, 1.0), bare, policy, "lstm-ray stress RUN")
    assert "does not answer" in text
    assert [figure.id for figure in pictures.figures_of(bare)] == ["latency", "throughput"]
    json.dumps(page.last_line(bare, "here"), allow_nan=False)
