from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from lstm_ray.evaluate.trial_figures import figures
from lstm_ray.evaluate.trials import Search, Trial, findings, importance, summary, table
from lstm_ray.report.tables import TableData
from lstm_ray.run_dir import to_json


def trial(number, losses, mae=None, failure="", share=1.0, **settings):
    settings = {"train.learning_rate": 0.001 * number, "model.attention": number % 2 == 0} | settings
    metrics = {} if mae is None else {"mae": mae}
    return Trial(number, settings, share, 0.5 if share else None, losses, failure, metrics)


def search_of(*trials, before=2.0, answers="values", asked=None, budget=3):
    name = "mae" if answers == "values" else "macro_f1"
    return Search(answers, {name: before}, list(trials), asked or len(trials), budget)


GAIN = search_of(
    trial(1, [0.9, 0.8, 0.85], 2.1),
    trial(2, [0.7, 0.6, 0.5], 1.8, share=0.37),
    trial(3, [0.95], share=0.0),
    trial(4, [], failure="training diverged"),
)
NONE = search_of(trial(1, [0.9, 0.8, 0.8], 2.1), trial(2, [0.9, 0.9, 0.9], 2.0))


def words(search):
    return "\n".join(f"{finding.severity}: {finding.text} | {finding.advice}" for finding in findings(search))


def test_the_best_trial_wins_where_it_beats_the_trained_policy():
    assert GAIN.winner is GAIN.trials[1]
    assert GAIN.validation == {"mae": 1.8}
    assert "trial 2 (warm 37 %) has validation mae 1.8, 10 % lower than the trained policy's 2" in summary(GAIN)
    assert "--set train.learning_rate=0.002 --set model.attention=true" in words(GAIN)


def test_a_tie_or_a_loss_leaves_the_trained_policy_and_says_that_there_is_no_gain():
    assert NONE.winner is None
    assert NONE.validation == {"mae": 2.0}
    assert "none better than the trained policy" in summary(NONE)
    assert "No gain" in words(NONE)
    assert table(NONE)["best"] == 0


def test_more_macro_f1_is_better():
    trials = [
        Trial(n, {"train.batch": n}, 1.0, None, [0.5], metrics={"macro_f1": f1}) for n, f1 in ((1, 0.6), (2, 0.9))
    ]
    assert search_of(*trials, before=0.8, answers="classes").winner is trials[1]
    assert search_of(*trials, before=0.95, answers="classes").winner is None
    assert "12.5 % higher" in summary(search_of(*trials, before=0.8, answers="classes"))


def test_failures_small_spaces_and_cold_starts_are_told():
    text = words(GAIN)
    assert "warning: 1 of 4 trials failed. Trial 4: training diverged" in text
    assert "1 of 3 trials began from scratch" in text
    assert "fewer than the 9 trials asked for" in words(search_of(*NONE.trials, asked=9))
    assert "fewer than" not in text


def test_the_table_has_the_trained_policy_and_every_trial_and_highlights_the_winner():
    found = TableData.model_validate(table(GAIN))
    assert [row[0] for row in found.rows] == ["as trained", "1", "2", "3", "4"]
    assert found.rows[found.best][0] == "2"
    start, end = found.columns.index("start"), found.columns.index("end")
    assert [row[start] for row in found.rows[1:]] == ["warm 100 %", "warm 37 %", "from scratch", "warm 100 %"]
    assert [row[end] for row in found.rows[1:]] == ["whole", "whole", "stopped early", "failed"]
    to_json(found)


def test_importance_is_the_rank_correlation_with_its_share_of_chance():
    random = np.random.default_rng(3)
    rates = random.permutation(np.repeat([1e-4, 1e-3, 1e-2], 4))
    losses = np.log(rates) + random.normal(0, 1, 12)
    noise = random.random(12)
    trials = [
        Trial(n, {"train.learning_rate": r, "model.dropout": d, "train.batch": 8}, 1.0, None, [loss])
        for n, (r, d, loss) in enumerate(zip(rates, noise, losses, strict=True), start=1)
    ]
    found = importance(search_of(*trials))
    assert list(found) == ["train.learning_rate", "model.dropout"], "the strongest first, constant ones left out"
    for path, values in (("train.learning_rate", rates), ("model.dropout", noise)):
        expected = spearmanr(values, losses)
        assert found[path][0] == pytest.approx(expected.statistic)
        assert found[path][1] == pytest.approx(expected.pvalue, abs=0.05)
    assert importance(search_of(*trials[:5])) == {}


def test_a_setting_is_named_as_important_only_where_chance_would_seldom_do_as_much():
    def finding(losses):
        trials = [trial(n, [loss], loss, **{"model.attention": True}) for n, loss in enumerate(losses, start=1)]
        return findings(search_of(*trials))[-1].text

    assert "train.learning_rate goes along with the loss most" in finding([1, 2, 3, 4, 5, 6])
    assert "none stands out; train.learning_rate has a rank correlation of -0.03" in finding([3, 4, 6, 1, 2, 5])


def test_figures_are_plain_data_with_captions_and_unique_ids():
    many = search_of(
        *(trial(n, [1 / n], 1 / n, **{"model.hidden": 8 * n, "model.pooling": "last"}) for n in range(1, 13))
    )
    for search in (GAIN, NONE, many):
        drawn = figures(search)
        assert len({figure.id for figure in drawn}) == len(drawn)
        assert all(figure.caption.endswith(".") and any(map(str.isdigit, figure.caption)) for figure in drawn)
        json.dumps([figure.model_dump() for figure in drawn], allow_nan=False)
    curves, best, lines, bars = figures(many)
    assert best.traces[0]["y"] == sorted(best.traces[0]["y"], reverse=True)
    assert curves.traces[0]["y"][1:] == [None, None]
    *trials, labels = lines.traces
    assert lines.layout["xaxis"]["ticktext"] == ["learning_rate", "attention", "hidden", "pooling", "loss"]
    assert [one["name"] for one in trials] == [f"trial {n}" for n in range(12, 0, -1)], "the best first"
    assert trials[0]["y"] == [1, 1, 1, 0.5, 0]
    assert trials[-1]["y"] == [0, 0, 0, 0.5, 1]
    at_hidden = [(y, text) for x, y, text in zip(labels["x"], labels["y"], labels["text"], strict=True) if x == 2]
    assert at_hidden[0] == (0, "\N{NO-BREAK SPACE}8")
    assert all(above[0] - below[0] >= 0.08 for below, above in itertools.pairwise(at_hidden))
    assert all(isinstance(text, str) for text in labels["text"])
    assert bars.traces[0]["y"][0] == pytest.approx(-1)


def test_a_single_trial_needs_no_comparison_of_settings():
    assert [figure.id for figure in figures(search_of(trial(1, [0.5], 1.0)))] == ["trial-losses", "best-so-far"]
