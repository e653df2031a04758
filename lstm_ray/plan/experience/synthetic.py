"""Synthetic experience: sequences that never were, each labelled by its kind, among real ones in training and as a table.

They are told in the units that a network reads and cut as real items are. Knows no policy, no torch and no Ray.
Shapes: M sequences, R rows of them, W numbers of an item.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.feed import Items, Source
from lstm_ray.data.scaling import units
from lstm_ray.data.schema import Own, Scaler
from lstm_ray.data.windows import Batch, Segments, epoch_batches

MOST_ROWS = 500_000
"""Rows of the table of synthetic sequences, about: where there are more, some sequences of each kind."""


@dataclass(frozen=True)
class Synthetic:
    """Sequences that never were."""

    segments: Segments
    """Scaled."""
    number_MW: NDArray
    """Where each lies there, as ``feed.Items`` has it of the real ones."""
    kind_M: NDArray
    """Text: of ``plan.synthetic.kinds``."""
    source_M: NDArray
    """Segment of the real data that each was made from."""
    own: Own | None
    """The units that each one's targets are told in, where each series has its own."""

    def __len__(self) -> int:
        return len(self.kind_M)

    def of(self, kind: str) -> NDArray:
        """The numbers of a kind's sequences."""
        return np.flatnonzero(self.kind_M == kind)


def num_synthetic(items: Items, config: Config) -> int:
    """Items that make up plan.synthetic.fraction of all."""
    assert config.plan.synthetic is not None, "nothing synthetic is asked for"
    fraction = config.plan.synthetic.fraction
    return max(1, round(items.num_items * fraction / (1 - fraction)))


def together(parts: Sequence[Synthetic], num_rows: int) -> Synthetic:
    """Sequences of several kinds as one's.

    Args:
        num_rows: of ``feed.Items``.
    """
    if len(parts) == 1:
        return parts[0]
    rows = np.cumsum([0, *(part.segments.bounds[-1] for part in parts)])
    heads = np.cumsum([0, *(len(part) for part in parts)])
    numbers = []
    for part, row, head in zip(parts, rows, heads, strict=False):
        number_MW = part.number_MW.copy()
        number_MW[:, : max(1, num_rows)] += row if num_rows else head
        numbers.append(number_MW)
    own = units.beside([part.own for part in parts if part.own is not None])
    every = [part.segments for part in parts]
    values: dict[str, Any] = {}
    for field in fields(Segments):
        found = [getattr(one, field.name) for one in every]
        if field.name == "bounds":
            values["bounds"] = np.concatenate([[0], *(one[1:] + row for one, row in zip(found, rows, strict=False))])
        elif field.name == "series":
            values["series"] = [name for one in found for name in one]
        elif isinstance(found[0], np.ndarray) and field.name != "spread_C":
            values[field.name] = np.concatenate(found)
        else:
            values[field.name] = found[0]
    kinds, sources = (np.concatenate([getattr(part, name) for part in parts]) for name in ("kind_M", "source_M"))
    return Synthetic(Segments(**values), np.concatenate(numbers), kinds, sources, own)


def with_synthetic(real: Source, items: Items, made: Synthetic, num_made: int) -> Source:
    """The training part's items, then so many synthetic ones: each sequence as often as it takes.

    Args:
        items: ``planned`` of the real ones.
    """

    def cut_both(chosen: NDArray) -> Batch:
        parts = []
        if (of_real := chosen[chosen < real.num_items]).size:
            parts.append(real.cut(of_real))
        if (of_made := chosen[chosen >= real.num_items] - real.num_items).size:
            parts.append(items.cut(made.segments, made.number_MW[of_made % len(made)]))
        return Batch(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])})

    return Source(real.num_items + num_made, real.num_windows, cut_both)


def batches(items: Source, per_epoch: int, config: Config, epoch: int) -> Iterator[Batch]:
    """An epoch of ``per_epoch`` items drawn from all, in the batches that so many real ones are read in: whatever is among
    them, an epoch is as many steps of the same size."""
    every = np.concatenate(epoch_batches(items.num_items, config.train.batch, config.seed, epoch))[:per_epoch]
    for chosen in np.array_split(every, range(config.train.batch, per_epoch, config.train.batch)):
        yield items.cut(chosen)


def table(made: Synthetic, scaler: Scaler) -> pl.DataFrame:
    """Synthetic sequences in the data's own units, a row for each step: its kind, the number of its sequence, the series it was
    made from, its step on the common time axis, and every column. At most about MOST_ROWS."""
    segments, schema = made.segments, made.segments.schema
    length_M = np.diff(segments.bounds)
    every = max(1, -(-int(length_M.sum()) // MOST_ROWS))
    chosen = np.sort(np.concatenate([made.of(kind)[::every] for kind in dict.fromkeys(made.kind_M.tolist())]))
    some = segments.stretches(np.stack([segments.bounds[chosen], segments.bounds[chosen + 1]], axis=1))
    of_R = np.repeat(np.arange(len(chosen)), length_M[chosen])
    rows = np.arange(len(of_R))
    own_R = None if made.own is None else made.own.take(chosen[of_R])
    columns: dict[str, Any] = {
        "kind": made.kind_M[chosen][of_R],
        "sequence": chosen[of_R],
        "series": np.asarray(some.series)[of_R],
        "step": some.steps(rows),
    }
    values = {"target": scaler.unscale(some.target_RC, own=own_R)}
    for role, scaled in (("past", some.past_RP), ("known", some.known_RK[:, : len(schema.known)])):
        zero, unit = scaler.units(role)  # type: ignore[arg-type]
        values[role] = scaled * unit + zero
    for role, names in (("target", schema.target), ("past", schema.past), ("known", schema.known)):
        # A column of the data may bear the name of one of ours.
        columns |= {
            f"data.{name}" if name in columns else name: v for name, v in zip(names, values[role].T, strict=True)
        }
    if some.label_R is not None:
        label_R = some.label_R if schema.classes else scaler.unscale_label(some.label_R)
        columns["data.label"] = _words(label_R, schema.classes)
    elif some.label is not None:
        columns["data.label"] = np.asarray(schema.classes)[some.label[of_R]]
    return pl.DataFrame(columns)


def _words(label_R: NDArray, classes: list[str]) -> Any:
    """Labels of steps as values, or the classes' names; none is null."""
    if not classes:
        return pl.Series(label_R).fill_nan(None)
    return [None if np.isnan(code) else classes[int(code)] for code in label_R]
