"""Figures that stay small and keep what matters."""

from __future__ import annotations

import numpy as np

from lstm_ray.explore.pictures import line, panels, smooth_line, thin


def test_thinning_keeps_spikes():
    values = np.zeros(100_000)
    values[54_321], values[12_345] = 9.0, -9.0
    kept = thin(values, 1000)
    assert len(kept) <= 1000
    assert {12_345, 54_321} <= set(kept.tolist())


def test_thinning_shows_a_long_gap_and_leaves_short_lines_alone():
    values = np.ones(10_000)
    values[4000:6000] = np.nan
    drawn = line(list(range(10_000)), values, "y", points=500)
    assert None in drawn["y"]
    assert len(thin(np.ones(7), 500)) == 7


def test_a_smooth_line_averages_what_is_there():
    drawn = smooth_line(list(range(6)), np.array([1.0, 3.0, np.nan, 5.0, np.nan, np.nan]), "y", points=3)
    assert drawn["x"] == [0, 2, 4]
    assert drawn["y"] == [2.0, 5.0, None]


def test_every_panel_has_axes_of_its_own_in_its_own_place():
    cells = [(name, [line([0, 1], np.array([0.0, 1.0]), name)]) for name in "abcde"]
    figure = panels("id", "title", "caption", cells, columns=2)
    assert [trace["yaxis"] for trace in figure.traces] == ["y", "y2", "y3", "y4", "y5"]
    places = {
        (tuple(figure.layout[f"xaxis{n}"]["domain"]), tuple(figure.layout[f"yaxis{n}"]["domain"]))
        for n in ("", 2, 3, 4, 5)
    }
    assert len(places) == 5
    assert [note["text"] for note in figure.layout["annotations"]] == list("abcde")
