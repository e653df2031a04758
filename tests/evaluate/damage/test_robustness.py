"""Scores under damage: as serving would see it, to the inputs alone, the same at every call, and weaknesses are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lstm_ray.data.quality.impute import Filling
from lstm_ray.data.schema import SeriesUnits
from lstm_ray.data.steps import plan_part
from lstm_ray.data.windows import origins, sequences
from lstm_ray.errors import InputError
from lstm_ray.evaluate.classes.baselines import fit_class_baselines
from lstm_ray.evaluate.damage import kinds, robustness
from lstm_ray.evaluate.forecasts.baselines import LastValue, SeasonalNaive
from lstm_ray.evaluate.forecasts.metrics import seasonal_scale
from lstm_ray.evaluate.forecasts.score import Yardstick, score
from lstm_ray.evaluate.gather import cut_out, future_rows, history
from lstm_ray.model.policy import Policy
from lstm_ray.run_dir import to_json
from lstm_ray.sections.evaluate import DAMAGES, EvaluateConfig
from tests import made

SETTINGS = EvaluateConfig(missing=[0.5, 0.1], noise=[0.2, 2.0], robustness_windows=64)


def curves_of(data, models, settings=SETTINGS, seed=7, **more):
    test_M = origins(data.segments, data.parts, "test", data.window)
    found = robustness.forecast_curves(models, data.segments, test_M, data.window, data.scaler, settings, seed, **more)
    return {curve.kind: curve for curve in found}


def naive_of(data) -> SeasonalNaive:
    return SeasonalNaive(data.window.horizon, data.window.season)


def test_undamaged_is_the_plain_score_of_the_same_windows(data):
    naive = naive_of(data)
    test_M = origins(data.segments, data.parts, "test", data.window)
    everything = SETTINGS.model_copy(update={"robustness_windows": len(test_M)})
    scale, deviation = seasonal_scale(data.segments, data.parts, 24), data.scaler.target_deviation
    plain = score({"n": naive}, data.segments, test_M, Yardstick(data.window, scale, deviation))["n"]
    for curve in curves_of(data, {"n": naive}, everything).values():
        assert curve.severity[0] == 0
        assert curve.score["n"][0] == pytest.approx(plain.total.scaled(deviation)["mae"])


def test_damage_of_severity_0_leaves_the_score_exactly_as_it_is(data):
    found = curves_of(data, {"n": naive_of(data)}, SETTINGS.model_copy(update={"missing": [1e-9], "noise": [1e-30]}))
    for kind in ("missing", "blocks", "noise"):
        assert found[kind].score["n"][1] == found[kind].score["n"][0]


def test_kinds_that_do_not_apply_are_left_out(make_data):
    data = make_data()
    assert set(curves_of(data, {"n": naive_of(data)})) == {*DAMAGES} - {"longer", "unseen"}
    none = replace(
        data, segments=replace(data.segments, past_RP=data.segments.past_RP[:, :0], schema=bare(data.segments.schema))
    )
    scaler = data.scaler.model_copy(update={"past": data.scaler.known})
    assert "inputs" not in curves_of(replace(none, scaler=scaler), {"n": naive_of(data)})
    own = SeriesUnits(of={"s1": [20.0, 4.0]}, scale="standard", steps=48)
    units = replace(data, scaler=data.scaler.model_copy(update={"series": own}))
    found = curves_of(units, {"n": naive_of(data)})
    assert found["unseen"].severity == [0, 1]
    dealt = replace(units, segments=replace(data.segments, part_S=np.full(len(data.segments.series), 2, np.int8)))
    assert "unseen" not in curves_of(dealt, {"n": naive_of(data)}), "its series are unseen already"


def bare(schema):
    return schema.model_copy(update={"past": []})


def test_only_the_kinds_asked_for_are_tried_and_severities_are_put_in_order(data):
    settings = SETTINGS.model_copy(update={"damage": ["noise", "missing"]})
    noise, missing = curves_of(data, {"n": naive_of(data)}, settings).values()
    assert (missing.kind, missing.severity) == ("missing", [0.0, 0.1, 0.5])
    assert (noise.kind, noise.severity) == ("noise", [0.0, 0.2, 2.0])
    for curve in (missing, noise):
        assert curve.score["n"] == sorted(curve.score["n"])
        assert curve.harm("n")[-1] > 0.2
    assert curves_of(data, {"n": naive_of(data)}, settings.model_copy(update={"damage": []})) == {}


def test_the_same_seed_does_the_same_damage(data):
    models = {"n": LastValue(data.window.horizon)}
    assert curves_of(data, models) == curves_of(data, models)
    assert curves_of(data, models) != curves_of(data, models, seed=8)
    alone = curves_of(data, models, SETTINGS.model_copy(update={"damage": ["level"]}))
    assert alone["level"] == curves_of(data, models)["level"], "whatever other damage is done"


def test_a_forecaster_that_never_reads_the_history_does_not_suffer(data, fake_policy):
    """What is forecast, the truth, must stay undamaged."""

    class Constant(fake_policy):
        def forecast_windows(self, segments, origins_M, batch=512):
            return 0 * super().forecast_windows(segments, origins_M) + 10

    for curve in curves_of(data, {"c": Constant()}).values():
        assert len(set(curve.score["c"])) == 1


def test_the_horizon_is_never_damaged(data, fake_policy):
    given = []

    class Recorder(fake_policy):
        def forecast_windows(self, segments, origins_M, batch=512):
            given.append((segments, origins_M))
            return super().forecast_windows(segments, origins_M)

    curves_of(data, {"policy": Recorder()})
    whole, origin_M = given[0]
    future = future_rows(origin_M, data.window.horizon)
    for damaged, _ in given[1:]:
        assert (damaged.target_RC != whole.target_RC).any() or (damaged.past_RP != whole.past_RP).any()
        for name in ("target_RC", "observed_RC"):
            np.testing.assert_array_equal(getattr(damaged, name)[future], getattr(whole, name)[future])


class MeanOfHistory(LastValue):
    """Says that all will be as it was on average."""

    def forecast_windows(self, segments, origins_M, batch=512):
        mean_MC = history(segments, origins_M, 48).mean(1)
        return np.repeat(mean_MC[:, None, :, None], self.horizon, axis=1)


def test_one_that_repeats_the_newest_value_suffers_from_outliers_and_noise(data):
    last, mean = LastValue(data.window.horizon), MeanOfHistory(data.window.horizon)
    found = curves_of(data, {"last": last, "mean": mean})
    for kind in ("outliers", "noise"):
        assert found[kind].harm("last")[-1] > 2 * max(found[kind].harm("mean")[-1], 0.02), kind
    assert found["outliers"].overtaken_at("mean") is not None


def test_one_that_repeats_the_newest_value_of_a_random_walk_suffers_from_late_data(data):
    steps = np.random.default_rng(0).standard_normal(data.segments.target_RC.shape)
    data.segments.target_RC[:] = steps.cumsum(0)
    last, mean = LastValue(data.window.horizon), MeanOfHistory(data.window.horizon)
    later = curves_of(data, {"last": last, "mean": mean})["later"]
    assert later.severity == [0, 3, 6, 12]
    assert later.score["last"] == sorted(later.score["last"])
    assert later.harm("last")[-1] > 0.3 > later.harm("mean")[-1]


def test_one_that_follows_the_mean_of_the_history_suffers_from_a_level_that_fell(data):
    found = curves_of(data, {"mean": MeanOfHistory(data.window.horizon), "last": LastValue(data.window.horizon)})
    assert found["level"].harm("mean")[-1] > 0.1
    assert found["level"].score["last"][-1] == found["level"].score["last"][0], "the newest step is never shifted"
    assert found["shorter"].score["last"][-1] == found["shorter"].score["last"][0]
    assert found["shorter"].harm("mean")[-1] > 0.1


def test_one_that_rests_on_an_input_suffers_where_it_is_missing(data, fake_policy):
    data.segments.past_RP[:, 0] = np.roll(data.segments.target_RC[:, 0], -1)

    class Follower(fake_policy):
        def forecast_windows(self, segments, origins_M, batch=512):
            return np.repeat(segments.past_RP[origins_M][:, None, :1, None], data.window.horizon, axis=1)

    found = curves_of(data, {"policy": Follower(), "last_value": LastValue(data.window.horizon)})
    assert found["inputs"].severity == [0, 1, 2]
    assert found["inputs"].harm("policy")[-1] > 1
    assert found["inputs"].harm("last_value") == [0, 0, 0]
    assert found["inputs"].overtaken_at("last_value") is not None


def test_one_that_knows_series_by_name_suffers_where_they_are_unseen(data, fake_policy):
    class ByName(fake_policy):
        def forecast_windows(self, segments, origins_M, batch=512):
            level = np.array([10.0 * (1 + int(name[1:])) if name else 0 for name in segments.series])
            shape = (len(origins_M), data.window.horizon, 1, 1)
            return np.broadcast_to(level[segments.series_of(origins_M)][:, None, None, None], shape)

    own = SeriesUnits(of={}, scale="standard", steps=48)
    known = replace(data, scaler=data.scaler.model_copy(update={"series": own}))
    found = curves_of(known, {"policy": ByName(), "seasonal_naive": naive_of(data)})["unseen"]
    assert found.harm("policy")[1] > 2
    assert found.harm("seasonal_naive")[1] == 0


def test_a_policy_that_can_reads_longer_histories_of_windows_that_have_them(data, fake_policy):
    asked = []

    class Reader(fake_policy):
        steps = 48

        def reading(self, history):
            more = Reader()
            more.steps = history
            return more

        def forecast_windows(self, segments, origins_M, batch=512):
            behind = origins_M - segments.bounds[segments.series_of(origins_M)] + 1
            asked.append((self.steps, len(origins_M), int(behind.min())))
            return super().forecast_windows(segments, origins_M) + 0.1 * (self.steps - 48)

    found = curves_of(data, {"policy": Reader(), "n": naive_of(data)})["longer"]
    assert found.severity == [0, 24, 48, 96]
    assert [steps for steps, _, _ in asked if steps > 48] == [72, 96, 144]
    assert all(behind >= steps for steps, _, behind in asked)
    assert len({num for steps, num, _ in asked if steps > 48}) == 1, "the same windows at every severity"
    assert found.score["policy"] == sorted(found.score["policy"])
    assert found.score["policy"][-1] > found.score["policy"][0]
    assert len(set(found.score["n"])) == 1


def test_a_trained_policy_reads_longer_and_as_before_where_it_reads_as_much():
    segments = made.segments_of((240,))
    policy = made.random_policy(made.make_config(), segments)
    origin_M = np.array([100, 150])
    np.testing.assert_array_equal(
        policy.reading(12).forecast_windows(segments, origin_M), policy.forecast_windows(segments, origin_M)
    )
    longer = policy.reading(24).forecast_windows(segments, origin_M)
    assert longer.shape == (2, 6, 1, len(policy.quantiles))
    cut, at_M = cut_out(segments, origin_M, 24, 6)
    np.testing.assert_allclose(policy.reading(24).forecast_windows(cut, at_M), longer, rtol=1e-5)
    assert policy.config.window.history == 12
    assert np.abs(longer - policy.forecast_windows(segments, origin_M)).max() > 1e-4


@pytest.mark.parametrize("kind", ["missing", "blocks", "later", "shorter", "inputs"])
def test_what_is_missing_is_forecast_as_a_server_forecasts_it(kind):
    segments = made.segments_of((240,), schema=made.schema_of(known=["price"]))
    config = made.make_config(data__known=["price"])
    policy = made.random_policy(config, segments)
    origin, steps, horizon = 200, config.window.history, config.window.horizon
    segments.observed_RC[:] = 1
    whole, origin_M = cut_out(segments, np.array([origin]), steps, horizon)
    is_open = np.arange(len(whole.target_RC)) <= origin_M[0]
    filling = Filling.of(config.preprocess, config.window)
    given = kinds.Given(whole, is_open, np.array([steps]), policy.scaler, filling, 7)
    severity = {"later": 3, "inputs": 1}.get(kind, 0.4)
    damaged = kinds.KINDS[kind](given, severity)
    sent = made.series_input(segments, origin, steps, horizon)
    columns, future = dict(sent.columns), dict(sent.future)
    if kind == "inputs":
        absent = "wind" if (damaged.past_RP != whole.past_RP).any() else "price"
        columns[absent] = np.full(steps, np.nan)
        future = {name: np.full(horizon, np.nan) if name == absent else values for name, values in future.items()}
    else:
        gone = (damaged.observed_RC[:steps, 0] == 0) & is_open[:steps]
        assert gone.any()
        for name in ("load", "wind"):
            columns[name] = np.where(gone, np.nan, columns[name])
    served = policy.predict([replace(sent, columns=columns, future=future)])[0].values_HCQ
    np.testing.assert_allclose(policy.forecast_windows(damaged, origin_M)[0], served, rtol=1e-4, atol=1e-4)


def test_an_unseen_series_is_forecast_as_a_server_forecasts_one_that_it_does_not_know():
    segments = made.segments_of((240,))
    config, own = made.make_config(), SeriesUnits(of={"s0": [25.0, 1.0]}, scale="standard", steps=12)
    known = made.random_policy(config, segments)
    scaler = known.scaler.model_copy(update={"series": own})
    policy = Policy(config, segments.schema, scaler, known.network.state_dict())
    segments.observed_RC[:] = 1
    whole, origin_M = cut_out(segments, np.array([200]), 12, 6)
    is_open = np.arange(len(whole.target_RC)) <= origin_M[0]
    given = kinds.Given(whole, is_open, np.array([12]), scaler, Filling(), 7)
    found = policy.forecast_windows(kinds.unseen(given, 1.0), origin_M)[0]
    served = policy.predict([made.series_input(segments, 200, 12, 6, name="nobody")])[0].values_HCQ
    np.testing.assert_allclose(found, served, rtol=1e-4)
    assert np.abs(found - policy.forecast_windows(whole, origin_M)[0]).max() > 0.1


def test_the_measurements_are_as_many_as_announced(data):
    calls = []
    curves_of(data, {"n": LastValue(data.window.horizon)}, advance=calls.append)
    assert len(calls) == robustness.num_measurements(SETTINGS)


def test_windows_without_a_measured_target_are_refused(data):
    data.segments.observed_RC[:] = 0
    with pytest.raises(InputError, match=r"raise evaluate\.robustness_windows"):
        curves_of(data, {"n": LastValue(data.window.horizon)})


def class_curves(data, models):
    ids = sequences(data.segments, data.parts, "test")
    found = robustness.class_curves(models, data.segments, ids, data.window, data.scaler, SETTINGS, 7)
    return {curve.kind: curve for curve in found}


def test_a_classifier_loses_by_damage_to_what_it_reads(sequences_data, fake_classifier):
    baselines = fit_class_baselines(sequences_data.segments, sequences_data.parts, sequences_data.window)
    found = class_curves(sequences_data, {"policy": fake_classifier(), **baselines})
    assert set(found) == {*DAMAGES} - {"longer", "unseen"}
    for kind in ("noise", "inputs", "later"):
        assert found[kind].metric.name == "macro_f1"
        assert found[kind].score["policy"][-1] < found[kind].score["policy"][0], kind
        assert found[kind].score["policy"][0] > 0.7
    assert found["later"].severity == [0, 0.1, 0.25, 0.5]
    assert len(set(found["shorter"].score["policy"])) == 1, "it reads the last value alone"
    to_json(robustness.told(list(found.values()), "policy").details)


def test_sequences_that_all_begin_at_once_still_have_a_band(sequences_data, fake_classifier):
    segments = sequences_data.segments
    dealt = replace(segments, first_step=np.zeros_like(segments.first_step), part_S=np.full(200, 2, np.int8))
    parts = dict.fromkeys(sequences_data.parts, (0, 24))
    found = class_curves(replace(sequences_data, segments=dealt, parts=parts), {"policy": fake_classifier()})
    assert found["noise"].harm_interval[-1] is not None


@pytest.mark.parametrize("kind", ["class", "value"])
def test_a_labeller_loses_by_damage_to_what_it_reads(kind):
    segments = made.labelled_of((240, 240), (0, 0), kind)
    config = made.label_config(data__label_kind=kind)
    plan = plan_part(segments, made.PARTS, "test", config.window, 2)
    reads_before = []

    class Labeller:
        """Tells what the label was made from: this input and the two before."""

        def tell_steps(self, segments, range_S2, batch=512):
            reads_before.append(range_S2[:, 0] - segments.bounds[:-1])
            past = segments.past_RP[:, 0]
            rows = np.concatenate([np.arange(*one) for one in range_S2])
            first = segments.bounds[segments.series_of(rows)]
            mean = np.mean([past[np.maximum(rows - back, first)] for back in range(3)], axis=0)
            return np.eye(2)[(mean < 20).astype(int)] if kind == "class" else mean[:, None]

    scaler = made.scaler_of(segments)
    found = robustness.label_curves({"policy": Labeller()}, segments, plan, scaler, SETTINGS, 7)
    curves = {curve.kind: curve for curve in found}
    assert set(curves) == {*DAMAGES} - {"longer", "later", "unseen"}
    assert curves["noise"].metric.name == ("macro_f1" if kind == "class" else "mae")
    for damage in ("noise", "missing", "inputs", "outliers"):
        assert curves[damage].worse(-1) > 0.05, damage
    undamaged = curves["noise"].score["policy"][0]
    assert undamaged == 1 if kind == "class" else undamaged < 1e-5
    assert reads_before[0].max() > min(before.max() for before in reads_before), "of a shorter history less is read"
