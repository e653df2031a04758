"""A recipe that is trained on shuffled answers knows nothing; one that reads them all the same is caught."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lstm_ray.evaluate.audit import shuffled
from lstm_ray.evaluate.gather import future_rows
from tests import made

PARTS = {"train": (0, 400), "validation": (400, 500), "test": (500, 600)}


def _check(config, segments, parts=PARTS):
    return shuffled.check(config, segments, parts, made.scaler_of(segments))


def _forecast():
    return made.make_config(), made.segments_of([600, 600])


def _classify():
    segments = made.sequences_of([20] * 240)
    return made.classify_config(), segments


def _label(kind="class"):
    return (made.label_config if kind == "class" else made.value_config)(), made.labelled_of([600, 600], kind=kind)


@pytest.mark.parametrize("make", [_forecast, _classify, _label, lambda: _label("value")])
def test_an_honest_recipe_learns_nothing_from_shuffled_answers(make):
    config, segments = make()
    parts = (
        PARTS if config.task != "classify" else {"train": (0, 4800), "validation": (4800, 5000), "test": (5000, 5760)}
    )
    check = _check(config, segments, parts)
    assert check.verdict == "passed", check.text
    assert check.details["held_out"] > 20


class Cheat:
    """Knows the answers of the segments that it is asked about, but for a little."""

    quantiles = (0.5,)

    def forecast_windows(self, segments, origins_M, batch=512):
        truth = segments.target_RC[future_rows(origins_M, 6)]
        return (truth * 0.9 + 2)[..., None]

    def class_probabilities(self, segments, ids_M, batch=512):
        return np.eye(2)[segments.label[ids_M]]

    def tell_steps(self, segments, range_S2, batch=512):
        if not segments.schema.classes:
            return np.nan_to_num(segments.label_R)[:, None] + 0.01
        return np.eye(2)[np.nan_to_num(segments.label_R).astype(int)]


@pytest.mark.parametrize("make", [_forecast, _classify, _label, lambda: _label("value")])
def test_a_policy_that_sees_the_answers_is_caught(make, monkeypatch):
    config, segments = make()

    def cheat(*given: Any) -> Cheat:
        return Cheat()

    monkeypatch.setattr(shuffled, "_trained", cheat)
    parts = (
        PARTS if config.task != "classify" else {"train": (0, 4800), "validation": (4800, 5000), "test": (5000, 5760)}
    )
    check = _check(config, segments, parts)
    assert check.verdict == "failed", check.text
    assert "cannot have learned that" in check.text


def test_too_few_cases_are_said_to_be():
    check = _check(
        made.make_config(), made.segments_of([100]), {"train": (0, 60), "validation": (60, 80), "test": (80, 100)}
    )
    assert (check.verdict, "fewer than 60" in check.text) == ("left out", True)


def test_no_window_keeps_its_own_future(monkeypatch):
    config, segments = _forecast()
    seen = {}

    def keep(config, mixed, scaler):
        seen["mixed"] = mixed
        return Cheat()

    monkeypatch.setattr(shuffled, "_trained", keep)
    _check(config, segments)
    mixed = seen["mixed"]
    whole = {tuple(segments.target_RC[r : r + 18, 0]) for r in range(len(segments.target_RC) - 18)}
    kept = [tuple(mixed.target_RC[a:b, 0]) in whole for a, b in zip(mixed.bounds[:-1], mixed.bounds[1:], strict=True)]
    assert not any(kept)
    assert set(mixed.part_S.tolist()) == {0, 1}
