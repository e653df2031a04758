"""Synthetic sequences among real ones in training, and as a table that says what each is."""

from __future__ import annotations

import numpy as np

from lstm_ray.data.feed import of_items
from lstm_ray.data.windows import epoch_batches
from lstm_ray.plan.experience import synthetic
from lstm_ray.plan.experience.making import real_of, variants_of
from lstm_ray.plan.experience.synthetic import batches, table, together, with_synthetic
from tests import made

SEGMENTS = made.segments_of([240, 150], [0, 90], schema=made.schema_of(known=["price"]))
CONFIG = made.make_config(plan__steps=15, data__known=["price"])
SCALER = made.scaler_of(SEGMENTS)
REAL = real_of(SEGMENTS, SEGMENTS.scaled(SCALER), SCALER, made.PARTS, CONFIG)
MADE = together([variants_of(REAL, kind, 5) for kind in ("jitter", "recombine")], REAL.items.num_rows)


def test_synthetic_items_follow_the_real_ones_and_may_share_a_batch() -> None:
    real = of_items(REAL.items, REAL.scaled)
    both = with_synthetic(real, REAL.items, MADE, 23)
    assert both.num_items == real.num_items + 23
    some = np.array([0, 3])
    batch = both.cut(np.concatenate([some, real.num_items + np.arange(23)]))
    alone = real.cut(some)
    own = REAL.items.cut(MADE.segments, MADE.number_MW)
    for name, values in vars(batch).items():
        np.testing.assert_array_equal(values[:2], getattr(alone, name), err_msg=name)
        # Ten sequences are met more than twice each.
        np.testing.assert_array_equal(values[2:], getattr(own, name)[np.arange(23) % 10], err_msg=name)
    for chosen in (some, np.array([real.num_items])):
        assert len(both.cut(chosen).label_B) == len(chosen)


def test_an_epoch_takes_as_many_steps_of_the_same_size_whatever_is_among_it() -> None:
    real = of_items(REAL.items, REAL.scaled)
    both = with_synthetic(real, REAL.items, MADE, 23)
    sizes = [len(chosen) for chosen in epoch_batches(real.num_items, CONFIG.train.batch, CONFIG.seed, 0)]
    for items in (real, both):
        for epoch in (0, 1):
            found = [len(batch.label_B) for batch in batches(items, real.num_items, CONFIG, epoch)]
            assert found == sizes
    [first, second] = [
        np.concatenate([batch.target_BTC for batch in batches(real, real.num_items, CONFIG, epoch)]) for epoch in (0, 1)
    ]
    assert sorted(first.sum((1, 2)).tolist()) == sorted(second.sum((1, 2)).tolist()), "each real item once"
    assert (first != second).any(), "in another order"


def test_the_table_tells_every_sequences_kind_in_the_datas_own_units() -> None:
    found = table(MADE, SCALER)
    assert found.columns == ["kind", "sequence", "series", "step", "load", "wind", "price"]
    assert found.height == len(MADE.segments.target_RC)
    assert found["kind"].unique().sort().to_list() == ["jitter", "recombine"]
    lengths = found.group_by("sequence", maintain_order=True).len()["len"]
    assert lengths.to_list() == np.diff(MADE.segments.bounds).tolist()
    assert 15 < found["load"].mean() < 25  # type: ignore[operator]
    one = found.filter(sequence=0)
    rows = (
        SEGMENTS.bounds[int(one["series"][0][1:])]
        - SEGMENTS.first_step[int(one["series"][0][1:])]
        + one["step"].to_numpy()
    )
    noise = one["load"].to_numpy() - SEGMENTS.target_RC[rows, 0]
    assert 0 < np.abs(noise).mean() < 0.3 * SCALER.target.deviation[0]


def test_a_table_of_many_rows_holds_some_sequences_of_each_kind(monkeypatch) -> None:
    monkeypatch.setattr(synthetic, "MOST_ROWS", 200)
    found = table(MADE, SCALER)
    assert found.height <= 200 + 2 * np.diff(MADE.segments.bounds).max()
    assert found["kind"].n_unique() == 2
    whole = dict(found.group_by("sequence").len().iter_rows())
    assert all(count == np.diff(MADE.segments.bounds)[number] for number, count in whole.items())


def test_classes_and_labels_are_words_in_the_table() -> None:
    days, parts = made.sequences_of([12, 9, 12, 5]), {"train": (0, 96), "validation": (96, 96), "test": (96, 96)}
    scaler, config = made.scaler_of(days), made.classify_config()
    real = real_of(days, days.scaled(scaler), scaler, parts, config)  # type: ignore[arg-type]
    assert table(variants_of(real, "time_warp", 4), scaler)["data.label"].unique().sort().to_list() == ["down", "up"]
    for kind, told in (("class", ["high", "low"]), ("value", None)):
        steps = made.labelled_of(kind=kind)
        scaler, config = made.scaler_of(steps), made.label_config(data__label_kind=kind)
        real = real_of(steps, steps.scaled(scaler), scaler, made.PARTS, config)
        labels = table(variants_of(real, "jitter", 4), scaler)["data.label"]
        assert labels.null_count() > 0
        if told:
            assert labels.drop_nulls().unique().sort().to_list() == told
        else:
            assert 15 < labels.mean() < 25  # type: ignore[operator]
