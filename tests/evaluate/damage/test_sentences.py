"""What is told of damage: the most harmful first, where a baseline overtakes, and a cure where it helps."""

from __future__ import annotations

import pytest

from lstm_ray.evaluate.damage import robustness
from lstm_ray.evaluate.damage.curve import MACRO_F1, MAE, Curve
from lstm_ray.evaluate.damage.naming import WORDS, cure, said
from lstm_ray.report.tables import TableData
from lstm_ray.run_dir import to_json
from lstm_ray.sections.evaluate import DAMAGES


def curve(kind, policy, naive, metric=MAE, severity=(0.0, 0.1, 0.3, 0.5), reach: float | None = 0.02) -> Curve:
    sign, first = metric.sign, policy[0]
    harm = [sign * (value / first - 1) for value in policy]
    gaps = [sign * (mine - other) for mine, other in zip(policy, naive, strict=True)]
    around = lambda values: [None if reach is None else (v - reach, v + reach) for v in values]  # noqa: E731
    score = {"policy": list(policy), "seasonal_naive": list(naive)}
    return Curve(kind, metric, list(severity), score, around(harm), {"seasonal_naive": around(gaps)})


CURVES = [
    curve("scale", [1.0, 1.0, 1.01, 1.01], [1.2] * 4),
    curve("missing", [1.0, 1.05, 1.1, 1.15], [1.2] * 4),
    curve("noise", [1.0, 1.1, 1.4, 2.0], [1.2] * 4),
]


def test_the_most_harmful_comes_first_and_what_does_no_harm_last():
    overall, noise, missing, rest = robustness.told(CURVES, "policy").findings
    assert "3 kinds of damage" in overall.text
    assert "most harm comes of noise (+40 ± 2 %), then of missing steps (+10 ± 2 %)" in overall.text
    assert "The seasonal naive overtakes it under noise." in overall.text
    assert noise.text.startswith(
        "Noise: with noise of 0.3 deviations on the inputs, the policy's error goes from 1 to 1.4"
    )
    assert "overtakes it from 0.167 deviations on." in noise.text
    assert (noise.severity, noise.advice) == ("advice", WORDS["noise"].cure)
    assert "30 % of the inputs' steps missing" in missing.text
    assert (missing.severity, missing.advice) == ("info", "")
    assert rest.text == "No harm beyond sampling error, up to the severest that was tried: change of scale."


def test_harm_in_the_middle_that_is_gone_at_the_severest_is_told_where_it_is():
    odd = curve("noise", [1.0, 1.0, 1.04, 0.99], [1.2] * 4, reach=None)
    assert (
        "Little harm before the severest: noise (+4 %)." in robustness.told([*CURVES, odd], "policy").findings[-1].text
    )


def test_a_small_difference_is_called_luck():
    lucky = curve("noise", [1.0, 1.1, 1.1, 1.21], [1.2] * 4)
    overall, noise = robustness.told([lucky], "policy").findings
    assert overall.text.endswith("The seasonal naive overtakes it under noise, within sampling error.")
    assert noise.text.endswith("on, within sampling error.")
    never = robustness.told(CURVES[1:2], "policy").findings[0]
    assert never.text.endswith("The seasonal naive never overtakes it within the ranges tried.")


def test_a_policy_that_is_behind_undamaged_is_told_so_once():
    behind = [curve(kind, [1.5, 1.6, 1.7, 1.8], [1.2] * 4) for kind in ("noise", "missing")]
    overall, *others = robustness.told(behind, "policy").findings
    assert overall.text.endswith("The seasonal naive is better undamaged already.")
    assert not any("overtakes" in finding.text for finding in others)


def test_harm_that_only_the_severest_does_is_told_as_that():
    late = curve("noise", [1.0, 0.98, 0.95, 1.3], [1.2] * 4)
    overall, noise = robustness.told([late], "policy").findings[0], robustness.told([late], "policy").findings[1]
    assert "none does harm beyond sampling error" in overall.text
    assert noise.text.startswith("Noise"), "the naive clearly overtakes it"
    never = robustness.told([curve("noise", [1.0, 0.98, 0.95, 1.1], [1.2] * 4)], "policy").findings[1]
    assert never.text == "Little harm before the severest: noise (+10 ± 2 % at 0.5 deviations)."


def test_a_cure_names_only_what_the_task_has():
    for kind in DAMAGES:
        for task in ("classify", "label"):
            text = cure(kind, task)
            assert "model.normalisation" not in text
            assert "horizon" not in text
            assert "scale_by" not in text
    assert "model.normalisation" in cure("level", "forecast")


def test_of_f1_a_fall_is_harm():
    found = robustness.told([curve("noise", [0.9, 0.8, 0.6, 0.3], [0.5] * 4, MACRO_F1)], "policy")
    assert "most harm comes of noise (-33.3 ± 2 %)" in found.findings[0].text
    assert "macro F1 goes from 0.9 to 0.6 (-33.3 ± 2 %)" in found.findings[1].text
    assert found.tables[0]["rows"][1][3] == -33.3
    assert found.figures[0].traces[0]["z"][0][:3] == [11.1, 33.3, 66.7]


def test_a_perfect_policy_has_no_relative_harm_and_none_is_made_up():
    perfect = Curve(
        "noise", MAE, [0.0, 1.0], {"policy": [0.0, 0.5], "n": [1.0, 1.0]}, [(0.0, 0.0), None], {"n": [None, None]}
    )
    found = robustness.told([perfect], "policy")
    assert "the policy's error goes from 0 to 0.5 training deviations, the n's" in found.findings[1].text
    to_json({"details": found.details, "tables": found.tables, "figures": [one.model_dump() for one in found.figures]})


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_kind_has_words_that_hold_its_severity(kind):
    severity = {"later": 3.0, "longer": 24.0, "inputs": 2.0}.get(kind, 0.25)
    text = said(kind, severity, 4.0)
    assert "{" not in text
    assert kind == "unseen" or any(sign.isdigit() for sign in text)
    if kind == "inputs":
        assert text == "2 of the 4 inputs missing altogether"
    assert WORDS[kind].axis
    assert WORDS[kind].cure or kind == "longer"


def test_the_table_holds_every_severity_but_none():
    table = TableData.model_validate(robustness.told(CURVES, "policy").tables[0])
    assert len(table.rows) == 9
    assert table.rows[0][:4] == ["Noise", "0.1 deviations", 1.1, 10.0]
    assert table.rows[0][4] == "+8.0 to +12.0"
    assert "undamaged: policy 1, seasonal naive 1.2" in table.caption


def test_every_kind_has_a_panel_and_all_figures_one_legend():
    many = [curve(kind, [1.0, 1.1, 1.2, 1.3], [1.2] * 4) for kind in DAMAGES[:8]]
    overview, first, second = robustness.told(many, "policy").figures
    assert [figure.id for figure in (overview, first, second)] == ["damage-overview", "robustness", "robustness-2"]
    assert len(overview.traces[0]["z"]) == 8
    titles = [note["text"] for figure in (first, second) for note in figure.layout["annotations"]]
    assert sorted(titles) == sorted(WORDS[kind].title for kind in DAMAGES[:8])
    for figure in (first, second):
        named = [trace["name"] for trace in figure.traces if trace.get("showlegend", True)]
        assert named == ["policy", "seasonal naive"]
        axes = {trace["xaxis"] for trace in figure.traces}
        assert {f"xaxis{axis[1:]}" for axis in axes} == {key for key in figure.layout if key.startswith("xaxis")}
        assert len(figure.layout["shapes"]) == len(axes), "overtaken in each"
        assert any(sign.isdigit() for sign in figure.caption)


def test_without_intervals_there_are_no_bands_and_without_curves_nothing():
    bare = robustness.told([curve("noise", [1.0, 1.1, 1.2, 1.3], [1.2] * 4, reach=None)], "policy")
    assert all(trace.get("fill") is None for trace in bare.figures[1].traces)
    assert "Bands" not in bare.figures[1].caption
    empty = robustness.told([], "policy")
    assert (empty.findings, empty.figures, empty.tables, empty.details) == ([], [], [], {"robustness": []})
