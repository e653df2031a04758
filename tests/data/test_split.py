"""Parts: in order, apart and as large as was asked; folds that never see what they are scored on; series in one part each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lstm_ray.config import Config
from lstm_ray.data.parts import PARTS
from lstm_ray.data.split import boundaries, chosen, deal, folds, groups_of, position, shares, train_rows
from lstm_ray.data.timeline.axis import Axis
from lstm_ray.errors import InputError
from lstm_ray.sections.prepare import SplitConfig
from tests import made

START = datetime(2024, 3, 1, tzinfo=UTC)
HOURS = Axis(round(START.timestamp() * 1e6), made.HOUR, is_time=True)


def split_of(**values: Any) -> SplitConfig:
    return SplitConfig.model_validate(values)


@pytest.mark.parametrize(
    ("split", "parts"),
    [
        ({"train": 0.7, "validation": 0.15}, [(0, 700), (700, 850), (850, 1000)]),
        ({"train": 0.7, "validation": 0.15, "gap_steps": 10}, [(0, 700), (710, 860), (870, 1000)]),
        ({"train": 0.5, "validation": 0.2, "test": 0.1}, [(0, 500), (500, 700), (700, 800)]),
        ({"train": 300, "validation": 200}, [(0, 300), (300, 500), (500, 1000)]),
        ({"train": 300, "validation": 200, "test": 400}, [(0, 300), (300, 500), (500, 900)]),
        ({"train": 300, "validation": 200, "test": 900}, [(0, 300), (300, 500), (500, 1000)]),
        ({"train": None, "validation": 48, "test": 48}, [(0, 904), (904, 952), (952, 1000)]),
        ({"train": None, "validation": 0.1, "test": 0.2, "gap_steps": 5}, [(0, 690), (695, 795), (800, 1000)]),
    ],
)
def test_parts_are_fractions_or_steps(split: dict[str, float], parts: list[tuple[int, int]]) -> None:
    found = boundaries(SplitConfig.model_validate(split), 1000)
    assert [found[part] for part in ("train", "validation", "test")] == parts


@given(st.floats(0.01, 0.98), st.floats(0.01, 0.98), st.integers(0, 20), st.integers(10, 3000))
def test_parts_lie_in_order_and_a_gap_apart(train: float, validation: float, gap: int, num_steps: int) -> None:
    assume(train + validation < 0.99)
    try:
        found = boundaries(SplitConfig(train=train, validation=validation, gap_steps=gap), num_steps)
    except InputError:
        assert min(train, validation, 1 - train - validation) * num_steps < 2 * gap + 3
        return
    assert found["train"][0] == 0
    assert found["validation"][0] - found["train"][1] == found["test"][0] - found["validation"][1] == gap
    assert found["test"][1] == num_steps
    for (first, end), share in zip(found.values(), (train, validation), strict=False):
        assert first < end
        assert abs(end - first - share * num_steps) <= 1


@pytest.mark.parametrize(
    ("split", "part"),
    [
        ({"train": 100, "validation": 10}, "validation"),
        ({"train": 80, "validation": 20}, "test"),
        ({"train": 0.7, "validation": 0.15, "gap_steps": 10}, "test"),
        ({"train": 0.7, "validation": 0.001}, "validation"),
        ({"train": None, "validation": 50, "test": 50}, "train"),
    ],
)
def test_a_part_without_steps_is_named(split: dict[str, float], part: str) -> None:
    with pytest.raises(InputError, match=f"the {part} part would span steps .* of 100; lower split.train"):
        boundaries(SplitConfig.model_validate(split), 100)


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
@given(
    st.integers(1, 700), st.integers(1, 700), st.integers(1, 700), st.integers(0, 10), st.integers(0, 59), st.booleans()
)
def test_dates_cut_at_the_first_step_that_is_not_before_them(
    zone: str | None, one: int, two: int, three: int, gap: int, minutes: int, with_zone: bool
) -> None:
    """Over a month in which Berlin's clock goes forward; told by comparing every step's time with the date."""
    steps = sorted({one, two, three})
    assume(len(steps) == 3)
    axis = Axis(HOURS.start, HOURS.step, True, zone)
    # On the clock that users read, the skipped hour's names are no times.
    moments = [START + timedelta(hours=step, minutes=-minutes) for step in steps]
    local = [moment.astimezone(ZoneInfo(zone or "UTC")) for moment in moments]
    text = [(moment if with_zone else moment.replace(tzinfo=None)).isoformat() for moment in local]
    split = split_of(validation_from=text[0], test_from=text[1], until=text[2], gap_steps=gap)
    times = [START + timedelta(hours=step) for step in range(744)]
    expected = [sum(time < moment for time in times) for moment in moments]
    if expected[0] <= gap or expected[1] - expected[0] <= gap:
        with pytest.raises(InputError, match="part would span"):
            boundaries(split, 744, axis=axis)
        return
    found = boundaries(split, 744, axis=axis)
    assert found == {
        "train": (0, expected[0] - gap),
        "validation": (expected[0], expected[1] - gap),
        "test": (expected[1], expected[2]),
    }


def test_dates_are_whole_numbers_where_time_is_one() -> None:
    axis = Axis(start=-100, step=5, is_time=False)
    found = boundaries(split_of(validation_from=-3, test_from="100"), 80, axis=axis)
    assert found == {"train": (0, 20), "validation": (20, 40), "test": (40, 80)}
    with pytest.raises(InputError, match=r"split.validation_from is '2024-06-01'; write a whole number"):
        boundaries(split_of(validation_from="2024-06-01", test_from="2024-07-01"), 80, axis=axis)
    with pytest.raises(InputError, match=r"split.validation_from is '100'; write an ISO date"):
        boundaries(split_of(validation_from=100, test_from=200), 80, axis=HOURS)


def test_what_comes_after_until_is_unused_and_fractions_are_of_what_comes_before() -> None:
    found = boundaries(split_of(train=0.5, validation=0.25, until="2024-03-05"), 744, axis=HOURS)
    assert found == {"train": (0, 48), "validation": (48, 72), "test": (72, 96)}
    counted = boundaries(split_of(train=None, validation=10, test=20, until="2024-03-05"), 744, axis=HOURS)
    assert counted == {"train": (0, 66), "validation": (66, 76), "test": (76, 96)}
    whole = boundaries(split_of(train=0.5, validation=0.25, until="2024-04-01"), 744, axis=HOURS)
    assert whole["test"][1] == 744


@pytest.mark.parametrize("name", ["validation_from", "test_from", "until"])
@pytest.mark.parametrize("date", ["2024-03-01", "2023-01-01", "2024-04-01T00:30", "2025-01-01"])
def test_a_date_outside_the_data_is_refused_with_the_datas_span(name: str, date: str) -> None:
    given_dates = {"validation_from": "2023-01-01", "test_from": "2025-01-02"} | {name: date}
    span = "data spans 2024-03-01 00:00:00 to 2024-03-31 23:00:00"
    values = {name: date} if name == "until" else given_dates
    if name == "test_from" and date < "2024-04":
        values["validation_from"] = "2022-01-01"
    with pytest.raises(InputError, match=f"{span}; name a time after its first"):
        boundaries(split_of(**values), 744, axis=HOURS)


@given(st.integers(2, 6), st.integers(1, 40), st.integers(1, 300), st.integers(1, 40), st.integers(0, 9), st.booleans())
def test_folds_never_see_their_own_future(
    number: int, validation: int, train: int, test: int, gap: int, by_date: bool
) -> None:
    num_steps = train + validation + test + 2 * gap
    if by_date:
        first, second = (
            (START + timedelta(hours=step)).isoformat() for step in (train + gap, train + validation + 2 * gap)
        )
        split = split_of(validation_from=first, test_from=second, gap_steps=gap, folds=number)
    else:
        split = split_of(train=train, validation=validation, gap_steps=gap, folds=number)
    if train <= (number - 1) * validation:
        with pytest.raises(InputError, match=f"split.folds {number} with {validation} steps .*; lower split.folds"):
            folds(split, num_steps, axis=HOURS)
        return
    found = folds(split, num_steps, axis=HOURS)
    assert len(found) == number
    assert len({fold["test"] for fold in found}) == 1
    for fold in found:
        assert fold["train"][0] == 0
        assert fold["train"][1] + gap == fold["validation"][0]
        assert fold["validation"][1] - fold["validation"][0] == validation
        assert fold["validation"][1] + gap <= fold["test"][0]
    for early, late in pairwise(found):
        assert early["validation"][1] == late["validation"][0]
        assert late["train"][1] - early["train"][1] == validation
    # The last is what there is without folds; split.fold chooses among them.
    once = split.model_copy(update={"folds": None})
    assert found[-1] == boundaries(once, num_steps, axis=HOURS) == chosen(split, found)
    for index in range(number):
        assert boundaries(split.model_copy(update={"fold": index}), num_steps, axis=HOURS) == found[index]


def heads_of(groups: list[str], order: list[int] | None = None) -> pl.DataFrame:
    """Series s0, s1, ... of these groups."""
    number = len(groups)
    columns = {"series": [f"s{i}" for i in range(number)], "appears": order or list(range(number)), "group": groups}
    return pl.DataFrame(columns, schema={"series": pl.String, "appears": pl.Int64, "group": pl.String})


def dealing(by: str, seed: int = 7, group: str | None = "site", **split: Any) -> Config:
    named = {"group": group} if by == "group" else {}
    return made.make_config(split={"by": by} | named | split, seed=seed)


def parts_by(heads: pl.DataFrame, config: Config, column: str) -> dict[str, Any]:
    joined = heads.join(deal(heads, config).select("series", "part"), on="series")
    return dict(zip(joined[column].to_list(), joined["part"].to_list(), strict=True))


@given(st.lists(st.integers(0, 15).map(str), max_size=30), st.integers(0, 5), st.randoms())
def test_a_group_goes_to_the_same_part_whatever_else_is_in_the_table(groups: list[str], seed: int, random: Any) -> None:
    config = dealing("group", seed, train=0.4, validation=0.3)
    groups += [f"of every part {i}" for i in range(40)]
    heads = heads_of(groups)
    dealt = deal(heads, config)
    assert dealt["series"].to_list() == heads["series"].to_list()
    joined = heads.join(dealt.select("series", "part"), on="series")
    assert joined.group_by("group").agg(pl.col("part").n_unique())["part"].max() == 1
    # Other series, in another order, with groups that are not there now.
    others = [*groups, *(str(100 + i) for i in range(30))]
    order = list(range(len(others)))
    random.shuffle(order)
    more = parts_by(heads_of(others)[order], config, "group")
    assert parts_by(heads, config, "group").items() <= more.items()


def test_groups_are_dealt_in_proportion_and_anew_with_another_seed() -> None:
    names = [f"patient {i}" for i in range(4000)]
    split = {"train": 0.6, "validation": 0.1, "test": 0.2}
    first, second = (parts_by(heads_of(names), dealing("group", seed, **split), "group") for seed in (1, 2))
    held = [list(first.values()).count(part) / 4000 for part in (*PARTS, None)]
    assert held == pytest.approx([0.6, 0.1, 0.2, 0.1], abs=0.03)
    assert 0.3 < sum(first[name] == second[name] for name in names) / 4000 < 0.6
    assert position("patient 0", 1) == pytest.approx(0.1570, abs=1e-4), "must be the same in every version"
    assert sum(shares(split_of(**split)).values()) == pytest.approx(0.9)


def test_without_a_group_each_series_is_one() -> None:
    heads = heads_of(["x"] * 200).drop("group", "appears")
    dealt = deal(heads, dealing("group", group=None))
    assert set(dealt["part"].to_list()) == set(PARTS)
    assert dealt.columns == ["series", "part"]


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ({"train": 0.5, "validation": 0.2}, ["train"] * 5 + ["validation"] * 2 + ["test"] * 3),
        ({"train": 0.5, "validation": 0.2, "test": 0.1}, ["train"] * 5 + ["validation"] * 2 + ["test"] + [None] * 2),
        ({"train": None, "validation": 1, "test": 3}, ["train"] * 6 + ["validation"] + ["test"] * 3),
    ],
)
def test_by_order_the_first_to_appear_train_and_the_last_test(
    split: dict[str, Any], expected: list[str | None]
) -> None:
    order = [30, 10, 20, 0, 70, 60, 50, 40, 90, 80]
    found = parts_by(heads_of(["x"] * 10, order), dealing("order", **split), "appears")
    assert [found[row] for row in sorted(order)] == expected


def test_a_part_without_series_is_refused() -> None:
    with pytest.raises(InputError, match="the validation part would span series 2 to 2 of 3"):
        deal(heads_of(["x"] * 3), dealing("order"))
    with pytest.raises(InputError, match=r"of 1 groups in 3 series none falls into the \w+ part; another seed"):
        deal(heads_of(["x"] * 3), dealing("group"))


def test_a_group_must_be_there_and_constant_in_a_series() -> None:
    rows = pl.DataFrame({"series": ["a", "a", "b"], "ward": [1, 1, 2]})
    assert groups_of(rows, "ward").rows() == [("a", "1"), ("b", "2")]
    with pytest.raises(InputError, match=r"split.group 'ward' changes inside 1 series, such as 'a' \('1' and '3'\)"):
        groups_of(rows.with_columns(ward=pl.Series([1, 3, 2])), "ward")
    with pytest.raises(InputError, match=r"split.group 'ward' is empty in 1 series, such as 'b'"):
        groups_of(rows.with_columns(ward=pl.Series([1, 1, None])), "ward")
    assert groups_of(rows.rename({"ward": "raw:ward"}), "ward", "raw:ward").rows() == [("a", "1"), ("b", "2")]


def test_training_rows_lie_in_the_training_part_or_in_series_dealt_to_it() -> None:
    frame = pl.DataFrame({"step": [0, 1, 2, 3], "part": ["train", None, "test", "train"]})
    by_time, by_order = split_of(), split_of(by="order")
    parts = boundaries(by_order, 4)
    assert parts == dict.fromkeys(PARTS, (0, 4))
    assert frame.select(train_rows(by_order, parts)).to_series().to_list() == [True, False, False, True]
    parts = {"train": (0, 2), "validation": (2, 3), "test": (3, 4)}
    assert frame.select(train_rows(by_time, parts)).to_series().to_list() == [True, True, False, False]
