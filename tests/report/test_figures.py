"""Figures made ready for the page."""

from __future__ import annotations

import json

import numpy as np

from lstm_ray.figure import Figure, bars, heatmap, lines
from lstm_ray.report.figures import pictures, script_json


def _line(id: str, points: int = 10) -> Figure:
    return lines(id, "Title", "Caption.", range(points), {"a": np.arange(points)})


def _layout(figure: Figure) -> dict:
    (picture,) = pictures("explore", [figure])
    return json.loads(picture.data)["layout"]


def test_a_figure_that_would_stand_alone_in_its_row_is_wide() -> None:
    shown = pictures("explore", [_line("a"), _line("b"), _line("c"), _line("d", 500), _line("e"), _line("f")])
    assert [picture.wide for picture in shown] == [False, False, True, True, False, False]


def test_ids_carry_their_stage_and_never_repeat() -> None:
    assert [p.id for p in pictures("train", [_line("a b"), _line("a/b"), _line("ok")])] == [
        "train-a-b",
        "train-a-b-2",
        "train-ok",
    ]


def test_json_cannot_end_its_script() -> None:
    text = script_json({"name": "</script><!-- & -->"})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"name": "</script><!-- & -->"}


def test_names_that_look_like_numbers_stay_names() -> None:
    layout = _layout(bars("a", "A", "A.", ["0 %", "10 %"], {"mae": [1.0, 2.0]}))
    assert layout["xaxis"]["type"] == "category"
    assert "type" not in layout["yaxis"]


def test_dates_and_numbers_are_left_to_the_axis() -> None:
    assert "type" not in _layout(lines("a", "A", "A.", ["2013-01-01T00:00", "2013-01-02"], {"a": [1, 2]}))["xaxis"]
    assert "type" not in _layout(_line("a"))["xaxis"]


def test_long_names_are_cut_on_the_axis_alone() -> None:
    name = "temperature_two_metres_above_ground"
    figure = heatmap("a", "A", "A.", [name, "b"], [name, "b"], [[1.0, 0.5], [0.5, 1.0]], x_title="column")
    layout = _layout(figure)
    assert layout["xaxis"]["tickvals"] == [name, "b"]
    assert layout["xaxis"]["ticktext"] == [name[:19] + "…", "b"]
    assert layout["xaxis"]["title"] == {"text": "column"}
    assert layout["yaxis"]["autorange"] == "reversed", "rows read downwards"


def test_many_rows_make_a_figure_taller() -> None:
    names = [f"column {at}" for at in range(40)]
    (small, tall) = pictures("explore", [_line("a"), heatmap("b", "B", "B.", [1, 2], names, np.ones((40, 2)))])
    assert tall.height > 2 * small.height


def test_hover_templates_keep_their_own_markup() -> None:
    figure = _line("a")
    figure.traces[0]["hovertemplate"] = "%{y}<extra></extra>"
    figure.traces[0]["name"] = "a < b"
    (picture,) = pictures("explore", [figure])
    trace = json.loads(picture.data)["traces"][0]
    assert trace["hovertemplate"] == "%{y}<extra></extra>"
    assert trace["name"] == "a &lt; b"
