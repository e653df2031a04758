"""What inputs are worth to a quick model that bends: gradient-boosted trees, beside the target's own past.

Where ``inputs`` asks a straight line, in sample, this asks trees, out of sample: it finds what acts in steps, bends and
combinations, and does not reward what merely fits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.explore.analysis import Analysis, Clock, named, number, percent, varies
from lstm_ray.figure import bars
from lstm_ray.sections.data import DataConfig

FEWEST_ROWS, MOST_ROWS = 200, 8000
TREES, SHUFFLES = 60, 3
MOST_INPUTS = 20
OWN = "the target's own past"
OWN_COLUMNS = ("now", "season before", "level")
NOTHING = 0.005
"""Growth of the squared error below which a shuffled column was of no use."""


def permutation(frame: pl.DataFrame, data: DataConfig, horizon: int, season: int, clock: Clock, seed: int) -> Analysis:
    """Growth of the squared error, ``horizon`` steps ahead, where one column is shuffled (Breiman, 2001; Fisher et al., 2019).

    The model knows the first target now, a season before the step to be told, and its mean over the last season; past
    columns now; known columns at that step. It learns from the training part and is shuffled on the validation part.

    Args:
        frame: the regular grid, with the column ``part``.

    Table: ``permutation`` (input, growth: 0.5 where the error grows by half; None for the skill's row), with the share of
    the validation part's variance that the model explains.
    """
    target, inputs = data.target[0], [*data.past, *data.known][:MOST_INPUTS]
    result = Analysis(tables={"permutation": []})
    if not inputs:
        return result
    names, design, wanted, part = _rows(frame, data, target, inputs, horizon, season)
    train, validation = (np.flatnonzero((part == name) & np.isfinite(wanted)) for name in ("train", "validation"))
    train, validation = (_thinned(rows, MOST_ROWS) for rows in (train, validation))
    if min(len(train), len(validation)) < FEWEST_ROWS or not (varies(wanted[train]) and varies(wanted[validation])):
        return result
    kept = [at for at in range(design.shape[1]) if at < len(OWN_COLUMNS) or varies(design[train, at])]
    names, design = [names[at - len(OWN_COLUMNS)] for at in kept if at >= len(OWN_COLUMNS)], design[:, kept]
    if not names:
        return result
    # Levels differ between series and wander: changes from now on are told, as the network's normalisation does.
    now = design[:, 0]
    change = wanted - now
    seen = design[validation]
    # So little work is lost in waiting where several processes share a few cores.
    with threadpool_limits(1):
        table, error = _shuffled(design[train], change[train], seen, wanted[validation], names, seed)
    level = float(np.mean((wanted[validation] - np.mean(wanted[train])) ** 2))
    skill = 1 - error / level if level > 0 else 0.0
    if not table:
        return result
    table.sort(key=lambda row: -row["growth"])
    result.tables["permutation"] = table
    _say(result, table, target, skill, horizon, clock)
    return result


def _shuffled(
    design: NDArray, change: NDArray, seen: NDArray, wanted: NDArray, names: list[str], seed: int
) -> tuple[list[dict[str, Any]], float]:
    """The rows of the table, and the model's squared error; no row where it makes none.

    Args:
        design, change: what the model learns from: [R, F] and, of the target from now on, [R].
        seen, wanted: what it is shuffled on: [V, F] and the target itself [V].
    """
    model = HistGradientBoostingRegressor(max_iter=TREES, max_leaf_nodes=15, random_state=seed)
    model.fit(design, change)
    error = float(np.mean((model.predict(seen) + seen[:, 0] - wanted) ** 2))
    if error <= 1e-12 * max(float(np.var(wanted)), 1e-300):
        return [], error
    random, first = np.random.default_rng(seed), len(OWN_COLUMNS)
    groups = {OWN: list(range(first)), **{name: [first + at] for at, name in enumerate(names)}}
    table = []
    for name, columns in groups.items():
        grown = []
        for _ in range(SHUFFLES):
            shuffled = seen.copy()
            shuffled[:, columns] = seen[random.permutation(len(seen))][:, columns]
            # The change is told from now on, so a shuffled level moves its base too.
            grown.append(float(np.mean((model.predict(shuffled) + shuffled[:, 0] - wanted) ** 2)) / error - 1)
        table.append({"input": name, "growth": float(np.mean(grown))})
    return table, error


def _rows(
    frame: pl.DataFrame, data: DataConfig, target: str, inputs: list[str], horizon: int, season: int
) -> tuple[list[str], NDArray, NDArray, NDArray]:
    """Design [R, 3 + inputs], what is to be told [R], and the part it lies in [R]: a row for each step of each series."""
    back = -(-horizon // season) * season - horizon
    y = pl.col(target)
    columns = [
        y.alias(OWN_COLUMNS[0]),
        y.shift(back).over(SERIES).alias(OWN_COLUMNS[1]),
        y.rolling_mean(max(2, season), min_samples=1).over(SERIES).alias(OWN_COLUMNS[2]),
        *(
            pl.col(c).shift(-horizon).over(SERIES).alias(f"in {c}") if c in data.known else pl.col(c).alias(f"in {c}")
            for c in inputs
        ),
    ]
    made = frame.select(
        *columns,
        pl.col("part").shift(-horizon).over(SERIES).alias("told in"),
        y.shift(-horizon).over(SERIES).alias("wanted"),
    ).filter(pl.col(OWN_COLUMNS[0]).is_not_null() & pl.col("wanted").is_not_null())
    design = made.drop("told in", "wanted").cast(pl.Float64).to_numpy()
    return inputs, design, made["wanted"].cast(pl.Float64).to_numpy(), made["told in"].to_numpy()


def _thinned(rows: NDArray, most: int) -> NDArray:
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def _say(result: Analysis, table: list[dict[str, Any]], target: str, skill: float, horizon: int, clock: Clock) -> None:
    others = [row for row in table if row["input"] != OWN]
    names, growth = [row["input"] for row in others], [100 * max(row["growth"], 0.0) for row in others]
    used = [row for row in table if row["growth"] >= NOTHING and row["input"] != OWN]
    own = next(row["growth"] for row in table if row["input"] == OWN)
    words = named([f"{row['input']} {percent(row['growth'])}" for row in used])
    ahead = f"{target}, {clock.span(horizon)} ahead"
    text = (
        f"A quick model (trees) explains {percent(max(skill, 0.0))} of the variance of {ahead}, in the validation part. "
        f"Its squared error grows, where a column is shuffled, by {percent(max(own, 0.0))} for {OWN}"
        + (f", and by {words}." if used else f"; no input matters, each less than {percent(NOTHING)}.")
    )
    result.say("info", text)
    caption = (
        f"Growth of the squared error of {ahead} where an input is shuffled, in the validation part: {names[0]} most, "
        f"{number(growth[0])} %, where shuffling {OWN} makes {number(100 * max(own, 0.0))} %."
    )
    title = "What a quick model relies on"
    result.figures.append(
        bars("permutation", title, caption, names, {"growth": growth}, y_title="% more squared error")
    )
