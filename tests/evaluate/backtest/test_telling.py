from __future__ import annotations

import pytest

from lstm_ray.evaluate.backtest.telling import TOPIC, report
from lstm_ray.report.tables import TableData
from lstm_ray.run_dir import Finding, to_json
from tests import made

from .test_spread import stretch

SCHEMA = made.schema_of()


def told(*stretches, own=None, notes=(), **settings):
    config = made.make_config(evaluate={"backtest": settings})
    return report(config, SCHEMA, stretches, own, notes)


def test_a_recipe_that_holds_is_said_to_with_its_spread():
    found = told(stretch(1.0, 1.2), stretch(1.6, 1.8, first=140), own=1.7)
    assert found.topic == TOPIC
    head, luck, chosen = found.findings
    assert head.severity == "info"
    assert "Over 2 stretches of 40 steps, trained anew before each with 2 seeds" in head.text
    assert "mean absolute error of 1.4 ± 0.365" in head.text
    assert "skill of 30 % ± 18.3 % against the best baseline; it beats that in 2 of 2." in head.text
    assert "by 0.424 (standard deviation of their means), from seed to seed within a stretch by 0.141" in luck.text
    assert luck.text.endswith("the season moves it 3 times as much as the seed.")
    assert (
        "the chosen policy has 1.7; 2 trained afresh by its recipe have 1.6 to 1.8, 1.7 on average: within"
        in chosen.text
    )


def test_a_recipe_that_loses_is_said_to_and_where():
    losing, winning = stretch(3.0), stretch(1.0, first=140)
    mixed = told(losing, winning).findings[0]
    assert mixed.severity == "advice"
    assert "It loses in the stretch from 2024-03-05 04:00." in mixed.text
    lost = told(losing, stretch(5.0, first=140), winning, refit=False).findings[0]
    assert lost.severity == "warning"
    assert "Serve the ridge instead" in lost.advice
    assert "trained once, before the oldest, with 1 seed" in lost.text


@pytest.mark.parametrize(
    ("stretches", "words"),
    [
        ([stretch(1.0)], "One stretch and one seed tell nothing"),
        ([stretch(1.0, 1.2)], "From seed to seed the score moves by 0.141"),
        ([stretch(1.0), stretch(1.2)], "with one seed each, luck of the seed is part of that"),
        ([stretch(1.0, 2.0), stretch(1.1, 2.1)], "luck of the seed is the larger part"),
        ([stretch(1.0, 1.0), stretch(1.2, 1.2)], "the season moves it and the seed nothing"),
    ],
)
def test_luck_and_season_are_told_apart_as_far_as_can_be(stretches, words):
    assert words in told(*stretches).findings[1].text


def test_a_policy_far_from_others_of_its_recipe_is_said_to_be():
    lucky = told(stretch(1.0, 1.2), own=0.5).findings[-1]
    assert "it is 4.24 deviations of the seeds better." in lucky.text
    assert lucky.advice == "Expect about 1.1 of the next training by this recipe."
    assert "deviations of the seeds worse" in told(stretch(1.0, 1.2), own=1.8).findings[-1].text
    assert "within what seeds make of it" in told(stretch(1.0, 1.2), own=0.99).findings[-1].text
    # One that was trained before the oldest stretch is no match for one that saw all but the test part.
    once = told(stretch(1.0, 1.2), own=0.5, refit=False)
    assert not any("chosen" in finding.text for finding in once.findings)
    # Seeds that make no difference tell nothing of how far away is far.
    assert len(told(stretch(1.0, 1.0), own=0.5).findings) == 2


def test_the_table_has_a_row_for_each_policy_and_stretch_and_the_details_go_into_json():
    note = Finding(severity="info", text="Said beside.")
    empty = stretch(None, None, baselines=(None, None), first=60)
    found = told(empty, stretch(1.0, 1.2), stretch(0.5, 0.5, baselines=(0.0, 1.0), first=140), notes=[note])
    (table,) = (TableData.model_validate(one) for one in found.tables)
    begins = ["2024-03-05 04:00", "2024-03-06 20:00"]
    assert [row[:2] for row in table.rows] == [[begin, seed] for begin in begins for seed in (7, 8)]
    assert table.rows[0][2:] == [70, 35, 1.0, 0.5, "ridge, 2"]
    assert table.rows[2][-2] is None, "a baseline without error has no skill over it"
    assert found.findings[-1] == note
    assert "In 1 of 3 stretches nothing was measured" in found.findings[-2].text
    details = found.details["backtest"]
    to_json(details)
    assert details["summary"]["score"]["mean"] == pytest.approx(0.8)
    assert "skill" not in details["summary"]
    assert [len(details["policies"]), len(details["metrics"])] == [4, 2]
    first = details["policies"][0]
    assert (first["stretch"], first["to"], first["epochs"]) == (1, "2024-03-06 19:00", 3)
    (picture,) = found.figures
    assert [trace["name"] for trace in picture.traces] == [
        "policy, mean of seeds",
        "policy, each seed",
        "best baseline",
    ]
    assert picture.traces[1]["y"] == [1.0, 1.2, 0.5, 0.5]
