"""Which real windows' errors each sampled path follows. Plain numbers: knows no forecasts.

A path takes the whole score trajectory of a window of the validation part, so the correlation between steps and targets is
that of real errors, as in the Schaake shuffle (Clark et al. 2004) and ensemble copula coupling (Schefzik et al. 2013; from
quantile forecasts Pinson et al. 2009). All series that start together follow windows that began together, so what ties
them is kept, too. A longer path goes on with the window that begins where the last one ended, and after the last time
with the first, phase by phase of the season (circular block bootstrap, Politis & Romano 1992; seasonal, Politis 2001).
Shapes: U times of the library, N blocks of a path, M origins, W paths.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from lstm_ray.errors import InputError
from lstm_ray.model.residuals import Residuals

MOST_KEPT = 10_000
"""Draws that a library keeps at hand."""
NEAR = 100
"""Times drawn from: those nearest in the season's phase, at least so many where there are more."""


def rows_drawn(
    library: Residuals, step_M: NDArray, series: list[str], paths: int, blocks: int, season: int, seed: int
) -> NDArray:
    """Rows of the library that each path follows, int64 [M, W, N]. They depend on the seed, the origin's step, its series
    and the path alone, not on what else is asked for.

    No path follows a window that overlaps its own future, as those of the validation part else would: they would hold the
    truth among them. Where the library is too short for that, blocks are drawn each by itself; where every window overlaps,
    from other series.

    Raises InputError where that leaves nothing.
    """
    if len(library.drawn) > MOST_KEPT:
        library.drawn.clear()
    turns: dict[int, NDArray | None] = {}
    chain_UN = None
    row_MWN = np.empty((len(step_M), paths, blocks), np.int64)
    for m, (step, name) in enumerate(zip(step_M.tolist(), series, strict=True)):
        key = (step, name, paths, blocks, season, seed)
        if (found_WN := library.drawn.get(key)) is None:
            chain_UN = _chains(library, blocks, season) if chain_UN is None else chain_UN
            if step not in turns:
                turns[step] = _turns(library, chain_UN, step, paths, season, seed)
            turn_WN = turns[step]
            found_WN = (
                _others(library, step, name, paths, blocks, seed)
                if turn_WN is None
                else _rows(library, turn_WN, name, _future(library, step, blocks))
            )
            library.drawn[key] = found_WN
        row_MWN[m] = found_WN
    return row_MWN


def _chains(library: Residuals, blocks: int, season: int) -> NDArray:
    """The times that follow one another, a horizon apart, from each time on, int64 [U, N]."""
    step_U = library.times
    span = int(step_U[-1] - step_U[0]) + 1
    # Whole seasons, so that what follows the last time lies in the same phase.
    around = span // season * season or span
    later_UN = step_U[:, None] - step_U[0] + library.horizon * np.arange(blocks)
    later_UN = np.where(later_UN < span, later_UN, later_UN % around)
    return nearest(step_U, step_U[0] + later_UN)


def _turns(library: Residuals, chain_UN: NDArray, step: int, paths: int, season: int, seed: int) -> NDArray | None:
    """Times that the paths of an origin follow, as indices [W, N]; None where the windows of each overlap its future."""
    blocks = chain_UN.shape[1]
    low, high = _future(library, step, blocks)
    begin_U = library.times
    clash_U = (begin_U > low) & (begin_U < high)
    random = np.random.default_rng([seed, step % 2**63])
    if len(free_U := np.flatnonzero(~clash_U[chain_UN].any(1))):
        return chain_UN[_shuffled(_in_phase(free_U, begin_U, step, season), paths, random)]
    if len(free_U := np.flatnonzero(~clash_U)):
        apart = [_in_phase(free_U, begin_U, step + n * library.horizon, season) for n in range(blocks)]
        return np.stack([_shuffled(some, paths, random) for some in apart], axis=1)
    return None


def _in_phase(free_U: NDArray, begin_U: NDArray, step: int, season: int) -> NDArray:
    """Of some times those nearest in phase to a step: errors differ by the hour, whatever a forecast says of them."""
    if len(free_U) <= NEAR:
        return free_U
    off = (begin_U[free_U] - step) % season
    off = np.minimum(off, season - off)
    found: NDArray = free_U[off <= np.partition(off, NEAR - 1)[NEAR - 1]]
    return found


def _shuffled(items: NDArray, number: int, random: np.random.Generator) -> NDArray:
    """Items in random order, over and over: few paths are spread more evenly than independent draws."""
    turns = [random.permutation(items) for _ in range(-(-number // len(items)))]
    return np.concatenate(turns)[:number]


def _rows(library: Residuals, turn_WN: NDArray, name: str, future: tuple[int, int]) -> NDArray:
    """A series' own windows at some times, or those nearest in time; another's where it has none, or none that may be used."""
    wanted_WN = library.times[turn_WN]
    first_WN = np.searchsorted(library.step_R, wanted_WN)
    others_WN = np.searchsorted(library.step_R, wanted_WN, side="right") - first_WN
    borrowed_WN: NDArray = first_WN + crc32(name.encode()) % others_WN
    own = library.rows_of(name)
    if not len(own):
        return borrowed_WN
    row_WN = own[nearest(library.step_R[own], wanted_WN)]
    begin_WN = library.step_R[row_WN]
    return np.where((begin_WN > future[0]) & (begin_WN < future[1]), borrowed_WN, row_WN)


def _others(library: Residuals, step: int, name: str, paths: int, blocks: int, seed: int) -> NDArray:
    """Windows of other series at any time, [W, N]."""
    row_R = np.setdiff1d(np.arange(len(library.step_R)), library.rows_of(name))
    if not len(row_R):
        low, high = _future(library, step, blocks)
        raise InputError(
            f"series '{name}', step {step}: every window whose errors could be sampled from overlaps the "
            f"{high - step} steps that are simulated there; set plan.steps lower, or give split.validation more than "
            f"{high - low} steps"
        )
    random = np.random.default_rng([seed, step % 2**63, crc32(name.encode())])
    return np.stack([_shuffled(row_R, paths, random) for _ in range(blocks)], axis=1)


def _future(library: Residuals, step: int, blocks: int) -> tuple[int, int]:
    """Windows that begin after the one and before the other overlap what follows a step."""
    return step - library.horizon, step + blocks * library.horizon


def nearest(ascending: NDArray, wanted: NDArray) -> NDArray:
    """Index of the nearest of some ascending numbers; of two equally near the earlier."""
    after = np.clip(np.searchsorted(ascending, wanted), 0, len(ascending) - 1)
    before = np.maximum(after - 1, 0)
    found: NDArray = np.where(wanted - ascending[before] <= np.abs(ascending[after] - wanted), before, after)
    return found
