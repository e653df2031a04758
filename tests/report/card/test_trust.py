"""What a model card says of groups, of steadiness and of fallbacks."""

from __future__ import annotations

from typing import Any

import pytest

from lstm_ray.model.consistency import HELD
from lstm_ray.report.card import trust
from tests.serving import services

GROUP: dict[str, Any] = {
    "value": "EWR",
    "windows": 1286,
    "error": 4.82,
    "ratio": 1.61,
    "interval": [1.3, 1.9],
    "flagged": True,
    "bias": 0.9,
    "coverage": 0.64,
}


def told(**values: Any) -> dict[str, Any]:
    by = {"origin": [GROUP | values, {**GROUP, "value": "JFK", "ratio": 0.9, "interval": None, "flagged": False}]}
    return {"metrics": {"mae": 4.5}, "groups": {"max_gap": 1.25, "error": "mean absolute error", "by": by}}


def test_a_group_that_fares_worse_is_named_in_the_card() -> None:
    found = trust.groups(told())
    assert "**Worse than 1.25 times that of all by more than luck: 'EWR' of 'origin'.**" in found
    assert "| origin | EWR | 1,286 | 4.82 | 1.61 | 1.30 to 1.90 | 0.9 | 0.64 |" in found


def test_where_no_group_fares_worse_or_none_was_declared_the_card_says_so() -> None:
    assert "says nothing of groups that were not declared" in trust.groups(told(flagged=False))
    assert "No groups were declared" in trust.groups({"metrics": {}})
    assert trust.groups({}) == ""


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (services.forecaster, "the seasonal naive forecast of the history sent"),
        (services.classifier, "the classes' shares of the training part"),
        (services.labeller, "the training part's class shares, or its mean label"),
    ],
)
def test_what_is_told_in_place_of_what_is_not_finite_is_in_the_card(make: Any, words: str) -> None:
    assert words in trust.steadiness(make(), {})


def test_every_promise_and_the_revisions_are_in_the_card() -> None:
    churn = {"mean": {"policy": 0.5, "ridge": 0.4}, "share_of_mae": {"policy": 0.2, "ridge": None}}
    found = trust.steadiness(services.forecaster(), {"churn": churn})
    assert all(f"| {one.way} | " in found for one in HELD.values())
    assert "| 0.00001 |" in found
    assert "moves by 0.5 (20.0 % of its MAE), the ridge's by 0.4." in found
