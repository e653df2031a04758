"""Numbers, times and short texts as people read them."""

from __future__ import annotations

import pytest

from lstm_ray.report.words import column, fact, label, number, percent, rich, seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\N{EN DASH}"),
        (True, "yes"),
        (0.0, "0"),
        (26130, "26,130"),
        (3.8412, "3.841"),
        (3.8401, "3.840"),
        (0.7, "0.7"),
        (-0.05231, "\N{MINUS SIGN}0.05231"),
        (48327.4, "48,327"),
        (3e-11, "3e-11"),
        (float("nan"), "\N{EN DASH}"),
        ("temp", "temp"),
    ],
)
def test_a_number_has_four_digits_and_no_more(value: object, text: str) -> None:
    assert number(value) == text


def test_the_cells_of_a_column_share_their_decimals() -> None:
    assert column([55.2035, 1017.8212, 10.3972, None]) == ["55.2", "1,017.8", "10.4", "\N{EN DASH}"]
    assert column([0.7, 0.15, 0.15]) == ["0.70", "0.15", "0.15"]
    assert column([128.0, 64.0]) == ["128", "64"]


def test_what_rounding_leaves_of_a_zero_is_zero_but_a_small_number_is_not() -> None:
    assert column([0.8693, 3.25e-17]) == ["0.8693", "0.0000"]
    assert column([0.8693, 3.25e-9]) == ["0.8693", "3.25e-09"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.4, "0.40 s"), (12.34, "12.3 s"), (59.96, "1 min 00 s"), (85, "1 min 25 s"), (7500, "2 h 05 min")],
)
def test_a_duration_is_told_in_the_units_that_fit(value: float, text: str) -> None:
    assert seconds(value).replace("\N{NO-BREAK SPACE}", " ") == text


def test_a_share_carries_its_sign() -> None:
    assert percent(0.1417).replace("\N{NO-BREAK SPACE}", " ") == "+14.2 %"
    assert percent(-0.031).replace("\N{NO-BREAK SPACE}", " ") == "\N{MINUS SIGN}3.1 %"


def test_the_name_of_a_fact_says_its_unit() -> None:
    assert (label("num_parameters"), fact("num_parameters", 92312)) == ("Parameters", "92,312")
    assert (label("load_seconds"), fact("load_seconds", 2.0)) == ("Load", "2.0\N{NO-BREAK SPACE}s")
    assert (label("policy_bytes"), fact("policy_bytes", 2_713_004)) == ("Policy", "2.71 MB")


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("Set preprocess.max_gap_steps: 48.", ["preprocess.max_gap_steps: 48"]),
        ("window.history: 336", ["window.history: 336"]),
        ("Try preprocess.outliers: clip or leave it.", ["preprocess.outliers: clip"]),
        ("train.learning_rate: lower it", ["train.learning_rate"]),
        ("model.quantiles: [0.1, 0.5, 0.9]", ["model.quantiles: [0.1, 0.5, 0.9]"]),
        ("preprocess: {max_gap_steps: 5}", ["preprocess: {max_gap_steps: 5}"]),
        ("--set train.workers=2 does", ["--set train.workers=2"]),
        ("run `lstm-ray tune`", ["lstm-ray tune"]),
        ("the model.that learns", []),
        ("a plain sentence: nothing", []),
    ],
)
def test_settings_in_a_text_are_code(text: str, codes: list[str]) -> None:
    shown = str(rich(text))
    assert [part.split("</code>")[0] for part in shown.split("<code>")[1:]] == codes


def test_code_is_escaped_too() -> None:
    assert str(rich("`<b>` & <i>")) == "<code>&lt;b&gt;</code> &amp; &lt;i&gt;"
