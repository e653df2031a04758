"""What is told of a search: who goes on and why, before and after, every trial, what the settings have to do with it."""

from __future__ import annotations

import itertools
import json

import pytest

from lstm_ray.evaluate.choosing.selection import Selection, Standing
from lstm_ray.evaluate.choosing.trial_figures import figures
from lstm_ray.evaluate.choosing.trial_tables import tables
from lstm_ray.evaluate.choosing.trials import Search, Trial, findings, summary
from lstm_ray.report.tables import TableData
from lstm_ray.run_dir import to_json


def trial(number, losses, mae=None, failure="", share=1.0, unchanged=False, **settings):
    settings = {"train.learning_rate": 0.001 * number, "model.attention": number % 2 == 0} | settings
    metrics = {} if mae is None else {"mae": mae, "rmse": 2 * mae}
    return Trial(
        number, settings, share, 0.5 if share else None, losses, failure, metrics, seconds=1.5, unchanged=unchanged
    )


def search_of(*trials, before=2.0, error=0.05, sizes=None, answers="values", asked=None, budget=3):
    """Of trials with metrics and the trained policy, whose differences all have one standard error."""
    name, sign = ("mae", 1) if answers == "values" else ("macro_f1", -1)
    metrics = {0: {name: before}} | {one.number: one.metrics for one in trials if one.metrics}
    if name == "mae":
        metrics[0]["rmse"] = 2 * before
    costs = {number: sign * own[name] for number, own in metrics.items()}
    behind = {number: cost - min(costs.values()) for number, cost in costs.items()}
    standings = [
        Standing(n, (sizes or {}).get(n, 1000), float(n), metrics[n], behind[n], error if behind[n] else 0.0)
        for n in metrics
    ]
    return Search(answers, Selection(standings, 480, None), list(trials), asked or len(trials), budget)


GAIN = search_of(
    trial(1, [0.9, 0.8, 0.85], 2.1, unchanged=True),
    trial(2, [0.7, 0.6, 0.5], 1.8, share=0.37),
    trial(3, [0.95], share=0.0),
    trial(4, [], failure="training diverged"),
)
NONE = search_of(trial(1, [0.9, 0.8, 0.8], 2.1), trial(2, [0.9, 0.9, 0.9], 2.0))


def words(search):
    return "\n".join(f"{finding.severity}: {finding.text} | {finding.advice}" for finding in findings(search))


def named(search, title):
    (found,) = [table for table in tables(search) if table["title"].startswith(title)]
    return TableData.model_validate(found)


def test_a_trial_beyond_a_standard_error_of_the_trained_policy_goes_on():
    assert GAIN.winner is GAIN.trials[1]
    assert GAIN.validation == {"mae": 1.8, "rmse": 3.6}
    assert "trial 2 (warm 37 %) has validation mae 1.8, 10 % lower than the trained policy's 2." in summary(GAIN)
    text = words(GAIN)
    assert "Over 480 validation cases trial 2 has the best mae of 3 candidates, 1.8" in text
    assert (
        "the trained policy lies 0.2 behind, beyond one standard error of their difference (0.05). Trial 2 goes on."
        in text
    )
    assert "--set train.learning_rate=0.002 --set model.attention=true" in text


def test_a_gain_within_a_standard_error_is_no_reason_to_leave_the_trained_policy():
    search = search_of(trial(1, [0.9], 2.1), trial(2, [0.8], 1.96))
    assert search.winner is None
    assert search.validation["mae"] == 2.0
    assert "none clearly better than the trained policy" in summary(search)
    assert "trial 2 has 1.96, within the standard error of their difference" in summary(search)
    text = words(search)
    assert "No clear gain" in text
    assert (
        "trained policy lies 0.04 behind, within one standard error of their difference (0.05) and is no larger" in text
    )
    assert named(search, "Who goes on").rows[0][-1] == "yes"
    assert named(search, "Before and after").columns[2] == "trial 2 (best trial, not chosen)"


def test_a_smaller_trial_within_a_standard_error_goes_on_before_a_better_one():
    search = search_of(trial(1, [0.9], 1.83), trial(2, [0.8], 1.8), sizes={1: 400})
    assert search.winner is search.trials[0]
    assert "; trial 2, with 1.8 the best, is not clearly better and no smaller." in summary(search)
    assert "trial 1 lies 0.03 behind, within one standard error of their difference (0.05) and has fewer" in words(
        search
    )
    assert "parameters (400 against 1,000)" in words(search)
    slim = search_of(trial(1, [0.9], 2.02), sizes={1: 400})
    assert slim.winner is slim.trials[0]
    assert "1 % higher than the trained policy's 2, within its standard error, and the simpler of the two" in summary(
        slim
    )


def test_a_tie_or_a_loss_leaves_the_trained_policy_and_says_that_there_is_no_gain():
    assert NONE.winner is None
    assert NONE.validation["mae"] == 2.0
    assert "none better than the trained policy" in summary(NONE)
    assert "No gain" in words(NONE)
    assert named(NONE, "Trials").best == 0
    assert named(NONE, "Who goes on").best == 0


def test_where_validation_is_too_short_for_a_standard_error_it_is_said():
    search = search_of(trial(1, [0.9], 1.9), error=None)
    assert search.winner is search.trials[0]
    assert "(validation is too short to tell a standard error)" in words(search)


def test_more_macro_f1_is_better():
    trials = [
        Trial(n, {"train.batch": n}, 1.0, None, [0.5], metrics={"macro_f1": f1}) for n, f1 in ((1, 0.6), (2, 0.9))
    ]
    assert search_of(*trials, before=0.8, answers="classes").winner is trials[1]
    assert search_of(*trials, before=0.95, answers="classes").winner is None
    assert "12.5 % higher" in summary(search_of(*trials, before=0.8, answers="classes"))


def test_before_and_after_stand_side_by_side():
    found = named(GAIN, "Before and after")
    assert found.columns == ["metric", "as trained", "trial 2 (goes on)", "difference", "relative"]
    assert found.rows == [["mae", "2", "1.8", "-0.2", "-10.0 %"], ["rmse", "4", "3.6", "-0.4", "-10.0 %"]]


def test_failures_small_spaces_and_cold_starts_are_told():
    text = words(GAIN)
    assert "warning: 1 of 4 trials failed. Trial 4: training diverged" in text
    assert "1 of 3 trials began from scratch" in text
    assert "fewer than the 9 trials asked for" in words(search_of(*NONE.trials, asked=9))
    assert "fewer than" not in text


def test_the_table_has_the_trained_policy_and_every_trial_and_highlights_who_goes_on():
    found = named(GAIN, "Trials")
    assert [row[0] for row in found.rows] == ["as trained", "1", "2", "3", "4"]
    assert found.rows[found.best][0] == "2"
    start, end, seconds = (found.columns.index(name) for name in ("start", "end", "seconds"))
    starts = ["unchanged function", "warm 37 %", "from scratch", "warm 100 %"]
    assert [row[start] for row in found.rows[1:]] == starts
    assert [row[end] for row in found.rows[1:]] == ["whole", "whole", "stopped early", "failed: training diverged"]
    assert [row[seconds] for row in found.rows] == [None, 1.5, 1.5, 1.5, 1.5]
    assert "lineage" not in found.columns
    to_json(found)


def test_a_trial_that_asked_for_fewer_epochs_and_had_them_is_whole():
    search = search_of(trial(1, [0.9, 0.8], 1.0, **{"train.max_epochs": 2}), budget=5)
    found = named(search, "Trials")
    assert found.rows[1][found.columns.index("end")] == "whole"


def noted(losses, **settings):
    """What is said last of trials with these losses."""
    trials = [trial(n, [loss], loss, **settings) for n, loss in enumerate(losses, start=1)]
    return findings(search_of(*trials))[-1].text


def test_a_setting_is_named_as_important_only_where_a_forest_foretells_trials_it_has_not_seen():
    text = noted([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], **{"model.attention": True})
    assert "train.learning_rate mattered most: alone it explains 100 %" in text
    assert "Higher values went with a higher loss (rank correlation +1.00, which 0 % of shuffled" in text
    assert "None of the settings stands out" in noted([3, 9, 1, 8, 2, 7, 4, 6], **{"model.attention": True})
    assert "of their difference" in noted([1, 2, 3, 4, 5]), "too few trials say nothing of settings"


def test_figures_of_settings_are_drawn_only_where_they_say_something():
    losses = [3, 9, 1, 8, 2, 7, 4, 6]
    one = {"model.attention": True}
    search = search_of(*(trial(n, [loss], loss, **one) for n, loss in enumerate(losses, start=1)))
    assert "importance" not in [figure.id for figure in figures(search)]
    (row,) = named(search, "What the loss hangs on").rows
    assert row[:2] == ["train.learning_rate", None]
    assert row[-1] == "0.003", "the value of the trial with the lowest loss"


def test_figures_are_plain_data_with_captions_and_unique_ids():
    many = search_of(
        *(trial(n, [1 / n], 1 / n, **{"model.hidden": 8 * n, "model.pooling": "last"}) for n in range(1, 13)),
        error=1e-6,
    )
    for search in (GAIN, NONE, many):
        drawn = figures(search)
        assert len({figure.id for figure in drawn}) == len(drawn)
        assert all(figure.caption.endswith(".") and any(map(str.isdigit, figure.caption)) for figure in drawn)
        json.dumps([figure.model_dump() for figure in drawn], allow_nan=False)
    curves, best, lines, bars = figures(many)
    assert best.traces[0]["y"] == sorted(best.traces[0]["y"], reverse=True)
    assert len(curves.traces[0]["y"]) == 1
    *trials, labels = lines.traces
    assert lines.layout["xaxis"]["ticktext"] == ["learning_rate", "attention", "hidden", "pooling", "loss"]
    assert [one["name"] for one in trials] == ["trial 12, goes on", *(f"trial {n}" for n in range(11, 0, -1))]
    assert [one["line"]["width"] for one in trials] == [4, *[1.5] * 11], "who goes on is drawn strongly"
    assert trials[0]["y"] == [1, 1, 1, 0.5, 0]
    assert trials[-1]["y"] == [0, 0, 0, 0.5, 1]
    at_hidden = [(y, text) for x, y, text in zip(labels["x"], labels["y"], labels["text"], strict=True) if x == 2]
    assert at_hidden[0] == (0, "\N{NO-BREAK SPACE}8")
    assert all(above[0] - below[0] >= 0.08 for below, above in itertools.pairwise(at_hidden))
    assert all(isinstance(text, str) for text in labels["text"])
    assert bars.traces[0]["y"][0] == pytest.approx(60, abs=40)
    assert "higher is better" in bars.traces[0]["text"]


def test_a_single_trial_needs_no_comparison_of_settings():
    assert [figure.id for figure in figures(search_of(trial(1, [0.5], 1.0)))] == ["trial-losses"]


def test_a_trial_that_was_read_back_holds_its_settings_in_another_order():
    settings = {"model.pooling": "last", "model.hidden": 8}
    here = trial(1, [0.5], 1.0, **settings)
    back = trial(2, [0.6], 1.0)
    back.settings.clear()
    back.settings.update(dict(sorted((here.settings | {"model.hidden": 16}).items())))
    assert list(here.settings) != list(back.settings)
    drawn = figures(search_of(here, back))[-1]
    at = drawn.layout["xaxis"]["ticktext"].index("hidden")
    assert {one["text"][at] for one in drawn.traces[:2]} == {"hidden 8", "hidden 16"}
