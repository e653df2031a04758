"""Every scale and transform of the targets can be learned in, and is undone on the way out, however a policy is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from lstm_ray.config import Config
from lstm_ray.data.feed import source
from lstm_ray.data.scaling.fit import fit_scaler
from lstm_ray.data.schema import Scaler
from lstm_ray.data.windows import Segments, origins
from lstm_ray.model.checkpoint import fit_kept
from lstm_ray.model.closed_forms import closed_forms
from lstm_ray.model.network import build, forecaster
from lstm_ray.model.policy import Forecast, Policy
from lstm_ray.model.residuals import Residuals
from lstm_ray.model.training import EpochRecord, start
from lstm_ray.plan.futures.residuals import residuals_of
from lstm_ray.plan.futures.rollouts import roll
from lstm_ray.plan.futures.starts import World, start_of
from tests import made

SCHEMA = made.schema_of(known=["price"])
SERIES: dict[str, Any] = {"preprocess__scale_by": "series"}


def table_of(segments: Segments) -> pl.DataFrame:
    """Segments as the table that a scaler is fitted on."""
    lengths = np.diff(segments.bounds)
    names = np.repeat(segments.series, lengths)
    schema = segments.schema
    columns = dict(zip(schema.target, segments.target_RC.T.astype(np.float64), strict=True))
    columns |= dict(zip(schema.past, segments.past_RP.T.astype(np.float64), strict=True))
    columns |= dict(zip(schema.known, segments.known_RK.T.astype(np.float64), strict=False))
    observed = {f"observed:{name}": segments.observed_RC[:, c] > 0 for c, name in enumerate(schema.target)}
    steps = segments.steps(np.arange(segments.bounds[-1]))
    return pl.DataFrame({"series": names, "step": steps, **columns, **observed})


def sized(unit: float = 1.0, lengths: tuple[int, ...] = (240, 240, 240)) -> Segments:
    """Waves of series that differ tenfold in size, and a little noise."""
    segments = made.segments_of(lengths, schema=SCHEMA)
    size_R1 = np.repeat(10.0 ** np.arange(len(lengths)) / 10, lengths)[:, None] * unit
    return replace(segments, target_RC=(segments.target_RC * size_R1).astype(np.float32))


def config_of(**values: Any) -> Config:
    settings: dict[str, Any] = {"data__known": ["price"], "model__linear": "average", "preprocess__calendar": []}
    return made.make_config(**{**settings, "model__normalisation": "mean_deviation", **values})


def fitted(segments: Segments, config: Config) -> Scaler:
    return fit_scaler(table_of(segments), segments.schema, pl.col("step") < made.PARTS["train"][1], config)


def learned(segments: Segments, config: Config) -> tuple[Policy, list[EpochRecord]]:
    scaler = fitted(segments, config)
    scaled = segments.scaled(scaler)
    torch.manual_seed(config.seed)
    solved = closed_forms(config, scaled, made.PARTS)
    training = start(build(config, segments.schema), config, scaler=scaler, solved=solved)
    items, held_out = (source(scaled, made.PARTS, part, config) for part in ("train", "validation"))  # type: ignore[arg-type]
    records: list[EpochRecord] = []
    fit_kept(training, config, items, held_out, None, lambda record: bool(records.append(record)) or True)
    return Policy(config, segments.schema, scaler, training.network.state_dict()), records


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ({"preprocess__scale": "robust"}, 1.0),
        ({"preprocess__scale": "minmax"}, 1.0),
        ({"preprocess__scale": "none", "preprocess__transform": "none"}, 1e-4),
        ({"preprocess__scale": "none", "preprocess__transform": "none"}, 1.0),
        ({"preprocess__scale": "minmax", "model__output": "softplus"}, 1e-3),
        ({"preprocess__scale": "none", "model__output": "softplus"}, 1e-3),
        ({"preprocess__scale": "robust", "model__distribution": "negative_binomial"}, 1.0),
        ({"preprocess__scale_by": "all", "model__quantiles": [0.1, 0.5, 0.9]}, 1.0),
        ({"preprocess__transform": "log"}, 1.0),
        ({"preprocess__transform": "log1p"}, 1.0),
        ({"preprocess__transform": "box_cox", "preprocess__scale": "robust"}, 1.0),
        ({"preprocess__transform": "yeo_johnson", "preprocess__scale": "minmax"}, 1.0),
        (SERIES, 1.0),
        (SERIES | {"preprocess__scale": "robust", "preprocess__transform": "log1p"}, 1.0),
        (SERIES | {"preprocess__scale": "minmax", "model__normalisation": "none", "model__linear": "none"}, 1.0),
    ],
    ids=str,
)
def test_every_scale_can_be_learned_in_and_forecasts_in_the_datas_units(values: dict[str, Any], unit: float) -> None:
    segments, config = sized(unit), config_of(**values)
    policy, records = learned(segments, config)
    assert records[-1].train_loss < records[0].train_loss
    rows = origins(segments, made.PARTS, "test", config.window)
    found_MHC = policy.forecast_windows(segments, rows)[..., policy.quantiles.index(0.5)]
    assert np.isfinite(found_MHC).all()
    actual_MHC = segments.target_RC[rows[:, None] + np.arange(1, 7)]
    size_M = np.abs(actual_MHC).mean((1, 2))
    share_M = np.abs(found_MHC - actual_MHC).mean((1, 2)) / size_M
    # The waves are 15 % of a series' level: whoever forecasts in other units errs by far more.
    assert np.median(share_M) < 0.3
    if config.model.output != "identity":
        assert (found_MHC >= 0).all()


@pytest.mark.parametrize("scale", ["standard", "robust", "minmax"])
@pytest.mark.parametrize(("lags", "outliers"), [([], "keep"), ([8], "keep"), ([8], "clip")], ids=str)
def test_a_series_is_answered_alike_from_segments_and_from_a_request(
    scale: str, lags: list[int], outliers: str
) -> None:
    values = SERIES | {"preprocess__scale": scale, "preprocess__transform": "log1p", "window__lags": lags}
    values |= {"preprocess__outliers": outliers, "preprocess__outlier_deviations": 0.5}
    segments, config = sized(), config_of(**values)
    scaler = fitted(segments, config)
    policy = Policy(config, SCHEMA, scaler, build(config, SCHEMA).state_dict())
    measured = replace(segments, observed_RC=np.ones_like(segments.observed_RC))
    stranger = replace(measured, series=["s0", "nobody", "s2"])
    for whole, name in ((measured, "s1"), (stranger, "nobody"), (stranger, "")):
        asked = policy.predict(
            [made.series_input(whole, row, 20, 6, name) for row in (300, 400)]
            + [made.series_input(whole, 600, 20, 6, "s2")]
        )
        found = np.stack([one.values_HCQ for one in asked if isinstance(one, Forecast)])
        np.testing.assert_allclose(found, policy.forecast_windows(whole, np.array([300, 400, 600])), rtol=2e-4)
    known, unknown = (policy.forecast_windows(one, np.array([300])) for one in (measured, stranger))
    assert not np.allclose(known, unknown, rtol=1e-4)


def test_how_large_a_masked_outlier_was_tells_nothing_in_an_unknown_series() -> None:
    hampel = {"preprocess__outliers": "mask", "preprocess__outlier_method": "hampel", "preprocess__outlier_steps": 9}
    segments, config = sized(), config_of(**SERIES, **hampel)
    policy = Policy(config, SCHEMA, fitted(segments, config), build(config, SCHEMA).state_dict())
    answers = []
    for value in (1e5, 1e7):
        target_RC = segments.target_RC.copy()
        target_RC[248] = value
        strange = replace(
            segments,
            target_RC=target_RC,
            observed_RC=np.ones_like(segments.observed_RC),
            series=["s0", "nobody", "s2"],
        )
        answers.append(policy.forecast_windows(strange, np.array([300])))
    np.testing.assert_array_equal(*answers)


def test_a_rollout_starts_with_the_policys_own_forecast_where_each_series_has_its_units() -> None:
    segments, config = sized(), config_of(**SERIES)
    policy = Policy(config, SCHEMA, fitted(segments, config), build(config, SCHEMA).state_dict())
    segments = replace(segments, series=["s0", "nobody", "s2"])
    rows = np.array([100, 300, 600])
    none = Residuals((0.5,), np.zeros((1, 6, 1), np.float32), np.array([900]), np.array([0]), ["nobody"])
    world = World(segments, policy.scaler, config, none)
    future_MWSC = roll(policy.forecast_batch, world, start_of(world, rows), 2)
    expected = policy.forecast_windows(segments, rows)[:, None, :, :, 0]
    np.testing.assert_allclose(future_MWSC[:, :, :6], np.repeat(expected, 2, axis=1), rtol=1e-4)


def test_errors_of_one_series_are_drawn_for_another_in_its_own_units() -> None:
    segments, config = sized(), config_of(**SERIES)
    scaler = fitted(segments, config)
    assert scaler.series is not None
    rows = np.array([180, 660])
    after = segments.target_RC[rows[:, None] + np.arange(1, 7)]
    units = np.array([scaler.series.of[name][1] for name in ("s0", "s2")])
    forecast = after - 3 * units[:, None, None] * np.array([1.0, -1.0])[:, None, None]
    whole = replace(segments, observed_RC=np.ones_like(segments.observed_RC))
    found = residuals_of(forecast.astype(np.float32)[..., None], [0.5], whole, rows, scaler)
    np.testing.assert_allclose(found.score_RHC[:, :, 0], np.repeat([[3.0], [-3.0]], 6, axis=1), rtol=1e-3)


def test_a_policy_with_statistics_of_series_survives_its_round_trip(tmp_path: Any) -> None:
    segments, config = sized(), config_of(**SERIES)
    policy = Policy(config, SCHEMA, fitted(segments, config), build(config, SCHEMA).state_dict())
    policy.save(tmp_path)
    again = Policy.load(tmp_path)
    assert again.scaler == policy.scaler
    rows = np.array([100, 300])
    np.testing.assert_array_equal(again.forecast_windows(segments, rows), policy.forecast_windows(segments, rows))


def test_the_network_knows_where_the_targets_own_units_lie_on_any_scale() -> None:
    segments, config = sized(), config_of(preprocess__scale="minmax", preprocess__transform="none")
    scaler = fitted(segments, config)
    network = forecaster(build(config, SCHEMA))
    network.set_units(scaler)
    own = scaler.scale(np.array([[0.0], [1.0]], np.float32), "target")
    torch.testing.assert_close(network.zero_C, torch.from_numpy(own[0]))
    torch.testing.assert_close(network.unit_C, torch.from_numpy(own[1] - own[0]))
    deviation = scaler.target_deviation / (scaler.units("target")[1])
    torch.testing.assert_close(network.spread_C, torch.from_numpy(deviation))
