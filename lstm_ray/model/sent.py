"""Callers' series side by side, to be read at once: a tenth of the time of reading them one after the other. Knows no weights.

Shapes: T steps of a series, H steps ahead, F columns (targets, past, known), K known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lstm_ray.data.histories import Histories
from lstm_ray.errors import InputError
from lstm_ray.model import request
from lstm_ray.model.request import Reader, SeriesInput
from lstm_ray.model.together import Together, read_together

FEWEST = 3
"""Series from which on it pays: of fewer, each is read sooner alone."""


def read_sent(reader: Reader, series: Sequence[SeriesInput]) -> Together | None:
    """Series to forecast as ``Reader.read`` reads each. None where one must be read alone: there are few, or something is wrong
    with one, or nameless ones would be told in units of their own."""
    nameless = reader.scaler.series is not None and not all(item.name for item in series)
    if len(series) < FEWEST or nameless:
        return None
    try:
        histories = _side_by_side(reader, series)
    except InputError:
        return None
    together = read_together(reader, histories)
    return None if together.refused else together


def _side_by_side(reader: Reader, series: Sequence[SeriesInput]) -> Histories:
    """Raises InputError for what shows in one series alone; its words are for nobody."""
    schema, window = reader.schema, reader.config.window
    columns = [*schema.target, *schema.past, *schema.known]
    given, last, words = [], [], []
    future_SHK = np.empty((len(series), window.horizon, len(schema.known)))
    for s, item in enumerate(series):
        tick_T = reader.ticks(item.times, "")
        if len(tick_T) < window.history or (np.diff(tick_T) != schema.step).any():
            raise InputError("too short, or not on the grid")
        for sent, known in ((item.columns, columns), (item.future, schema.known), (item.static, schema.categories)):
            request.refuse_unknown(sent, list(known), "")
        given.append(np.stack([request.floats(item.columns, c, len(tick_T), "") for c in columns], axis=1))
        for k, name in enumerate(schema.known):
            future_SHK[s, :, k] = request.floats(item.future, name, window.horizon, "")
        words.append([item.static.get(column) for column in schema.categories])
        if not all(isinstance(word, str) for word in words[-1]):
            raise InputError("a word is missing")
        last.append(tick_T[-1])
    return Histories(
        [item.name or str(s) for s, item in enumerate(series)],
        np.cumsum([0, *map(len, given)]),
        np.array(last),
        np.concatenate(given),
        future_SHK,
        dict(zip(schema.categories, zip(*words, strict=True), strict=True)) if schema.categories else {},
    )
