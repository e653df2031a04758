"""Batch forecasts of files."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from lstm_ray.data.quality.clean import Cleaning
from lstm_ray.data.source import files
from lstm_ray.errors import InputError
from lstm_ray.model.policy import Policy, SeriesInput
from lstm_ray.on_ray.forecast import forecast_files
from lstm_ray.on_ray.forecasting import tables
from lstm_ray.on_ray.forecasting.here import Here
from lstm_ray.on_ray.forecasting.predicting import Told, part_of, roles_of
from lstm_ray.serving import bundle
from tests import made

HISTORY, HORIZON = 12, 6


def policy_of(*known: str, **values: object) -> Policy:
    """Random weights for the roles of ``made.write_table``."""
    config = made.make_config(data__known=list(known), model__quantiles=[0.1, 0.5, 0.9], **values)
    return made.random_policy(config, made.segments_of(schema=made.schema_of(known=known)))


def rows(name: str, steps: int, *more: str, start: int = 0, load: str = "") -> list[str]:
    return [
        f"{name},{made.START + step}:00:00Z,{load or step % 7},{step % 5}{''.join(more)}"
        for step in range(start, steps)
    ]


def write(file: Path, *parts: list[str], header: str = "site,when,load,wind") -> str:
    file.write_text("\n".join([header, *(line for part in parts for line in part)]) + "\n")
    return str(file)


def by_hand(policy: Policy, table: str, name: str) -> pl.DataFrame:
    """One series' forecast by Policy.predict, its gaps made explicit here."""
    frame = pl.read_csv(table, try_parse_dates=True).filter(pl.col("site") == name).sort("when")
    frame = frame.with_columns(pl.col("when").dt.replace_time_zone(None).cast(pl.Datetime("us")))
    frame = frame.upsample("when", every="1h").filter(
        pl.col("when") <= frame.filter(pl.col("load").is_not_null())["when"].max()
    )
    last = frame.tail(HISTORY)
    columns = {c: last[c].cast(pl.Float64).to_list() for c in ("load", "wind")}
    [found] = policy.predict([SeriesInput(last["when"].to_list(), columns, name=name)])
    return pl.DataFrame({"time": found.times, "q0.1": found.values_HCQ[:, 0, 0], "median": found.values_HCQ[:, 0, 1]})  # type: ignore[union-attr]


def test_a_file_holds_what_policy_predict_says_with_one_row_for_each_series_and_step(
    table: Path, tmp_path: Path
) -> None:
    policy, out = policy_of(), tmp_path / "new" / "out.parquet"
    policy.save(tmp_path / "policy")
    names = [f"s{index:02d}" for index in range(7)]
    more = write(tmp_path / "more.csv", *(rows(name, 20 + index) for index, name in enumerate(names)), rows("short", 5))
    summary = forecast_files(tmp_path / "policy", [str(table), more], out)
    found = pl.read_parquet(out)
    assert found.columns == ["series", "time", "target", "median", "q0.1", "q0.9", "warnings"]
    assert found.select("series", "time", "target").is_duplicated().sum() == 0
    assert found["series"].unique(maintain_order=True).to_list() == ["a", "b", *names]
    assert found.height == summary["num_rows"] == 9 * HORIZON
    for name in ("a", "b", *names):
        source = str(table) if name in ("a", "b") else more
        expected, own = by_hand(policy, source, name), found.filter(pl.col("series") == name)
        assert own["time"].to_list() == expected["time"].to_list()
        for column in ("median", "q0.1"):
            np.testing.assert_allclose(own[column], expected[column], rtol=1e-5)
    assert summary["num_series"] == 9
    assert summary["skipped"] == [{"series": "short", "reason": "5 steps of history, and the policy needs 12"}]
    assert json.loads((tmp_path / "new" / "out.parquet.summary.json").read_text()) == summary
    assert {file.name for file in out.parent.iterdir()} == {"out.parquet", "out.parquet.summary.json"}


def part(policy: Policy, source: str) -> tuple[pl.DataFrame, Told]:
    """What is made of a file, were it one block, and what is told of it."""
    config = roles_of(policy, source)
    content, told = part_of(policy, config, files.read(config.data))
    return pl.read_parquet(io.BytesIO(content)), told


def predicted(policy: Policy, source: str) -> pl.DataFrame:
    return part(policy, source)[0]


def skipped(policy: Policy, source: str) -> dict[str, str]:
    return {item["series"]: item["reason"] for item in part(policy, source)[1].skipped}


def test_a_series_ends_at_its_last_measured_target(tmp_path: Path) -> None:
    policy = policy_of()
    whole = write(tmp_path / "a.csv", rows("a", 20))
    empty_after = write(tmp_path / "b.csv", rows("a", 20), rows("a", 24, start=20, load=" "))
    text = (tmp_path / "b.csv").read_text().replace(", ,", ",,")
    (tmp_path / "b.csv").write_text(text)
    assert predicted(policy, whole).equals(predicted(policy, empty_after))


def test_missing_steps_and_values_are_imputed_and_told(tmp_path: Path) -> None:
    lines = rows("a", 20)
    del lines[12]
    found = predicted(policy_of(), write(tmp_path / "a.csv", lines))
    assert found.height == HORIZON
    assert "1 of 12 values of 'load' were missing" in found["warnings"][0]


def test_known_inputs_are_read_over_the_horizon(tmp_path: Path) -> None:
    policy, header = policy_of("price"), "site,when,load,wind,price"
    past = rows("a", 20, ",20")

    def ahead(price: float, name: str = "a") -> list[str]:
        return [f"{name},{made.START + step}:00:00Z,,,{price}" for step in range(20, 26)]

    low = predicted(policy, write(tmp_path / "low.csv", past, ahead(10.0), header=header))
    high = predicted(policy, write(tmp_path / "high.csv", past, ahead(30.0), header=header))
    assert low.height == high.height == HORIZON
    assert not np.allclose(low["median"], high["median"])
    columns = {"load": [s % 7 for s in range(8, 20)], "wind": [s % 5 for s in range(8, 20)], "price": [20] * 12}
    times = [f"{made.START + step}:00:00" for step in range(8, 20)]
    [expected] = policy.predict([SeriesInput(times, columns, {"price": [10.0] * 6})])
    np.testing.assert_allclose(low["median"], expected.values_HCQ[:, 0, 1], rtol=1e-5)  # type: ignore[union-attr]


def test_a_series_without_its_known_future_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    policy, header = policy_of("price"), "site,when,load,wind,price"
    ahead = [f"b,{made.START + step}:00:00Z,,,1" for step in range(20, 26)]
    source = write(tmp_path / "a.csv", rows("a", 20, ",20"), rows("b", 20, ",20"), ahead, header=header)
    assert predicted(policy, source)["series"].unique().to_list() == ["b"]
    told = skipped(policy, source)
    assert list(told) == ["a"]
    assert "'price' has no value over the horizon" in told["a"]


def test_static_columns_need_no_row_in_the_future(tmp_path: Path) -> None:
    config = made.make_config(data__static=["price"])
    policy = made.random_policy(config, made.segments_of(schema=made.schema_of(known=("price",))))
    found = predicted(policy, write(tmp_path / "a.csv", rows("a", 20, ",20"), header="site,when,load,wind,price"))
    assert found.height == HORIZON
    assert not found["warnings"].str.contains("missing").any()


def test_a_series_the_policy_refuses_becomes_a_reason_and_spoils_no_other(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", rows("a", 20), rows("far", 20, load="1e20"), rows("huge", 20, load="1e39"))
    found, told = part(policy_of(), source)
    assert found["series"].to_list() == ["a"] * HORIZON
    reasons = {item["series"]: item["reason"] for item in told.skipped}
    assert "series 'far': column 'load' reaches" in reasons["far"]
    assert "series 'huge': column 'load' holds 1e+39; send finite" in reasons["huge"]


def test_a_series_whose_target_was_never_measured_is_named(tmp_path: Path) -> None:
    lines = [f"b,{made.START + step}:00:00Z,,1" for step in range(20)]
    told = skipped(policy_of(), write(tmp_path / "a.csv", rows("a", 20), lines))
    assert told == {"b": "no target was ever measured"}


def test_several_targets_have_a_row_each(tmp_path: Path) -> None:
    config = made.make_config(data__target=["load", "wind"], data__past=[])
    policy = made.random_policy(config, made.segments_of(schema=made.schema_of(("load", "wind"), ())))
    found = predicted(policy, write(tmp_path / "a.csv", rows("a", 20)))
    assert found.height == 2 * HORIZON
    assert found["target"].to_list() == ["load", "wind"] * HORIZON
    columns = {"load": [s % 7 for s in range(8, 20)], "wind": [s % 5 for s in range(8, 20)]}
    [expected] = policy.predict([SeriesInput([f"{made.START + s}:00:00" for s in range(8, 20)], columns)])
    np.testing.assert_allclose(found["median"], expected.values_HCQ[:, :, 0].ravel(), rtol=1e-5)  # type: ignore[union-attr]


def test_sequences_are_classified_with_a_row_each_and_need_no_label(tmp_path: Path) -> None:
    policy = made.random_policy(made.classify_config(), made.sequences_of([12] * 4))
    lines = ["day,when,load"]
    lines += [
        f"{day},{made.START + 24 * index + hour}:00:00Z,{hour}"
        for index, day in enumerate("xyz")
        for hour in range(5 + index)
    ]
    (tmp_path / "days.csv").write_text("\n".join(lines) + "\n")
    found = predicted(policy, str(tmp_path / "days.csv"))
    assert found["series"].to_list() == ["x", "y", "z"]
    assert found.columns == ["series", "class", "probability down", "probability up", "warnings"]
    np.testing.assert_allclose(found["probability down"] + found["probability up"], 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("site,when,load\na,2024-01-01T00:00:00Z,1", "column 'wind'"),
        ("site,when,load,wind\na,1,1,1\na,2,1,1", "whole numbers"),
        (
            "site,when,load,wind\na,2024-01-01T00:00:00Z,1,1\na,2024-01-01T00:30:00Z,1,1",
            "no multiple of the policy's step 1h",
        ),
        ("site,when,load,wind\na,2024-01-01T00:00:00Z,1,1\na,2024-01-01T00:00:00Z,1,1", "occurs twice"),
    ],
)
def test_files_that_do_not_fit_the_policy_are_refused(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "a.csv").write_text(content + "\n")
    with pytest.raises(InputError, match=words):
        part(policy_of(), str(tmp_path / "a.csv"))


def test_nothing_is_written_where_no_series_can_be_predicted(tmp_path: Path) -> None:
    policy_of().save(tmp_path / "policy")
    source = write(tmp_path / "a.csv", rows("a", 5), rows("b", 7))
    with pytest.raises(InputError, match=r"none of the 2 series .* 5 steps of history"):
        forecast_files(tmp_path / "policy", source, tmp_path / "out.parquet")
    assert not list(tmp_path.glob("*out.parquet*"))


def test_a_failure_midway_leaves_the_old_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy_of().save(tmp_path / "policy")
    out = tmp_path / "out.parquet"
    out.write_bytes(b"old")

    def broken(*given: object) -> object:
        raise RuntimeError("lost a worker")

    monkeypatch.setattr(Here, "parts", broken)
    with pytest.raises(RuntimeError, match="lost a worker"):
        forecast_files(tmp_path / "policy", write(tmp_path / "a.csv", rows("a", 20)), out)
    assert out.read_bytes() == b"old"
    assert {file.name for file in tmp_path.iterdir()} == {"policy", "a.csv", "out.parquet"}


def test_the_furthest_policy_of_a_run_is_found(tmp_path: Path) -> None:
    first, last = policy_of(), policy_of(seed=8)
    first.save(tmp_path / "train" / "policy")
    assert bundle.unpack(bundle.find(tmp_path)).config.seed == 7
    last.save(tmp_path / "policy")
    assert bundle.unpack(bundle.find(tmp_path)).config.seed == 8
    assert bundle.unpack(bundle.find(tmp_path / "train" / "policy")).config.seed == 7
    with pytest.raises(InputError, match="holds no policy"):
        bundle.find(tmp_path / "elsewhere")


def test_categories_are_read_from_the_new_rows_and_a_series_without_one_is_named(tmp_path: Path) -> None:
    plain = policy_of()
    schema = plain.schema.model_copy(update={"categories": {"kind": ["shop"]}})
    config = made.make_config(data__categorical=["kind"], model__quantiles=[0.1, 0.5, 0.9])
    policy = made.random_policy(config, replace(made.segments_of(schema=schema), category_SK=np.ones((1, 1), np.int64)))
    lines = rows("a", 20, ",shop"), rows("b", 20, ",barn"), rows("c", 20, ",")
    source = write(tmp_path / "a.csv", *lines, header="site,when,load,wind,kind")
    by_name = {name: own for (name,), own in predicted(policy, source).partition_by("series", as_dict=True).items()}
    assert by_name["a"].height == HORIZON
    assert "training did not see" not in by_name["a"]["warnings"][0]
    assert "'kind' is 'barn', which training did not see" in by_name["b"]["warnings"][0]
    assert not np.allclose(by_name["a"]["median"], by_name["b"]["median"])
    assert "series 'c', static: column 'kind' is missing" in skipped(policy, source)["c"]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"preprocess__impute": "seasonal"},
        {"preprocess__impute": "mean"},
        {"preprocess__outliers": "mask", "preprocess__outlier_method": "hampel", "preprocess__outlier_steps": 5},
    ],
    ids=str,
)
def test_what_lies_before_the_history_fills_and_judges_it_as_where_everything_is_sent(
    tmp_path: Path, values: dict[str, object]
) -> None:
    policy = policy_of(**values)
    cleaning = Cleaning.of(policy.config.preprocess, policy.config.window)
    policy = Policy(
        policy.config,
        policy.schema,
        policy.scaler.model_copy(update={"cleaning": cleaning}),
        policy.network.state_dict(),
    )
    random = np.random.default_rng(2)
    load = [f"{value:.3f}" for value in random.normal(20, 1, 20)]
    load[8] = load[9] = load[15] = ""
    load[10] = "55"
    lines = [f"a,{made.START + step}:00:00Z,{value},{step % 5}" for step, value in enumerate(load)]
    found = predicted(policy, write(tmp_path / "a.csv", lines))
    times, wind = [made.START + step for step in range(20)], [step % 5 for step in range(20)]
    numbers = [float(value) if value else np.nan for value in load]
    whole, short = (
        policy.predict([SeriesInput(times[i:], {"load": numbers[i:], "wind": wind[i:]})])[0] for i in (0, 8)
    )
    np.testing.assert_allclose(found["median"], whole.values_HCQ[:, 0, 1], rtol=1e-5)  # type: ignore[union-attr]
    assert not np.allclose(found["median"], short.values_HCQ[:, 0, 1], rtol=1e-5)  # type: ignore[union-attr]


def test_a_wide_file_is_forecast_from_its_end(tmp_path: Path) -> None:
    config = made.make_config(
        **{"data__" + k: v for k, v in {"layout": "wide", "series_id": ["name"], "time": "step", "past": []}.items()}
    )
    schema = made.schema_of(past=(), is_time=False)
    policy = made.random_policy(config, made.segments_of(schema=schema))
    values = {"a": list(range(14)), "b": [3, 1, 2] * 5}
    lines = [f"{name},{','.join(map(str, own))}" for name, own in values.items()]
    found = predicted(policy, write(tmp_path / "w.csv", lines, header="name," + ",".join(map(str, range(15)))))
    [expected] = policy.predict([SeriesInput(list(range(3, 15)), {"load": values["a"][-12:]})])
    own = found.filter(pl.col("series") == "a")
    assert own["time"].to_list() == list(range(15, 21))
    np.testing.assert_allclose(own["median"], expected.values_HCQ[:, 0, 0], rtol=1e-5)  # type: ignore[union-attr]


def test_a_labelled_series_without_a_name_is_not_given_anothers(tmp_path: Path) -> None:
    config = made.label_config(data__label_kind="value", data__past=["load"])
    policy = made.random_policy(config, made.labelled_of((240,), kind="value"))
    found = predicted(policy, write(tmp_path / "a.csv", rows("", 20), rows("0", 30)))
    assert found.group_by("series").len().sort("series").rows() == [("", 20), ("0", 30)]


@pytest.mark.parametrize("kind", ["class", "value"])
def test_every_step_is_labelled_with_a_row_each_and_needs_no_label(tmp_path: Path, kind: str) -> None:
    config = made.label_config(data__label_kind=kind, data__past=["load"])
    policy = made.random_policy(config, made.labelled_of((240,), kind=kind))
    lines = rows("a", 40)
    del lines[20]
    found = predicted(policy, write(tmp_path / "a.csv", lines, rows("b", 3)))
    assert found.group_by("series").len().sort("series").rows() == [("a", 40), ("b", 3)]
    load = [float("nan") if step == 20 else float(step % 7) for step in range(40)]
    times = [f"{made.START + step}:00:00" for step in range(40)]
    [expected] = policy.predict([SeriesInput(times, {"load": load})])
    own = found.filter(pl.col("series") == "a")
    assert own["warnings"][0].startswith("1 of 40 values of 'load' were missing and filled")
    names = ["probability high", "probability low"] if kind == "class" else ["value"]
    np.testing.assert_allclose(own.select(names).to_numpy(), expected.answer_LA, rtol=1e-5)  # type: ignore[union-attr]
    if kind == "class":
        assert set(own["class"]) <= {"high", "low"}
    kinds = ["class", *names] if kind == "class" else names
    assert tables.schema_of(policy).names == ["series", "time", *kinds, "warnings"]


def test_lags_are_read_from_before_the_history_where_there_is_any(tmp_path: Path) -> None:
    torch.manual_seed(0)
    policy = policy_of(window__lags=[6, 20])
    torch.nn.init.normal_(policy.network.recall.weigh.weight)
    table = write(tmp_path / "a.csv", rows("long", 40), rows("short", 14))
    found = predicted(policy, table)
    assert found["series"].unique(maintain_order=True).to_list() == ["long", "short"]
    frame = pl.read_csv(table, try_parse_dates=True)
    for name, absent in (("long", False), ("short", True)):
        own = frame.filter(pl.col("site") == name)
        times = own["when"].dt.replace_time_zone(None).cast(pl.Datetime("us")).to_list()
        columns = {c: own[c].cast(pl.Float64).to_list() for c in ("load", "wind")}
        [expected] = policy.predict([SeriesInput(times, columns)])
        here = found.filter(pl.col("series") == name)
        np.testing.assert_allclose(here["median"], expected.values_HCQ[:, 0, 1], rtol=1e-5)
        assert ("counts as absent" in here["warnings"][0]) == absent
