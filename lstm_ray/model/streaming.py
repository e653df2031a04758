"""A forecast from a kept LSTM state: a new step costs one LSTM step, however long the history. Knows no HTTP and no files.

A network reads patches that end at the origin, so the grid of patches moves with each step. A stream keeps a state for each
phase: the step numbered t advances that of phase t mod p by the one patch that ends with it. Everything else that a forecast
reads lies in the newest rows. A stream so remembers all since it began, and equals the same policy reading as many steps
(``Policy.reading``).

Shapes: T steps that come, R rows kept, L steps that are read, F columns (targets, past, known), C targets, P past and K known
inputs, H horizon, B sequences side by side, p steps of a patch and phases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from lstm_ray.data.lags import lagged_steps
from lstm_ray.data.quality.impute import Filling
from lstm_ray.errors import InputError
from lstm_ray.model import request
from lstm_ray.model.network import Inputs
from lstm_ray.model.policy import Forecast, Policy
from lstm_ray.model.request import SeriesInput
from lstm_ray.model.stream_state import State, axis_of

__all__ = ["OutOfStepError", "State", "advanced", "again", "begin", "can_stream", "forecast", "heard", "observe"]


class OutOfStepError(InputError):
    """What was observed does not follow on what the stream has read."""


def can_stream(policy: Policy) -> str:
    """Why no states can be kept for a policy; empty where they can."""
    config, prepare = policy.config, policy.config.preprocess
    if config.task != "forecast":
        return f"task '{config.task}' forecasts nothing"
    if config.model.attention:
        return "model.attention looks back at every earlier state, so its cost would grow with the history"
    if prepare.impute in ("mean", "median"):
        return f"preprocess.impute '{prepare.impute}' fills from all that came before, which is not kept"
    if not prepare.causal and prepare.impute in ("linear", "seasonal"):
        return f"preprocess.impute '{prepare.impute}' with causal: false fills from later steps, which are yet to come"
    return ""


def begin(policy: Policy, item: SeriesInput) -> State:
    """Read a history once, from its newest unbroken stretch on.

    Raises InputError for a policy that cannot stream and for what ``Policy.predict`` would refuse.
    """
    if reason := can_stream(policy):
        raise InputError(f"this policy keeps no streams: {reason}")
    where, window = f"stream '{item.name}'", policy.config.window
    told = policy.requests.told(item, where, 0)
    rows = slice(told.first, None)
    if len(told.time_T) - told.first < window.history:
        since = f" since the last gap of more than {policy.config.preprocess.max_gap_steps}" if told.first else ""
        raise InputError(
            f"{where} has {len(told.time_T) - told.first} steps of history{since}; send at least {window.history}"
        )
    measured = np.flatnonzero(~np.isnan(told.given_TF[:, : len(policy.schema.target)]).all(1))
    if len(told.time_T) - 1 - measured.max(initial=-1) > policy.config.preprocess.max_gap_steps:
        raise InputError(f"{where}: its newest steps hold no target; begin it once one is measured")
    state = State(
        name=item.name,
        version=policy.version,
        columns=_columns(policy),
        axis=axis_of(policy.schema),
        steps=len(told.time_T) - told.first,
        tick=int(policy.schema.ticks(told.time_T[-1:])[0]),
        static=dict(item.static),
        given_RF=told.given_TF[rows].astype(np.float32),
        filled_RF=np.concatenate([told.filled_TF, told.known_XK], axis=1)[rows],
        out_RF=told.out_TF[rows],
        category_1K=told.category_BS,
        own=told.own,
    )
    _require_near(policy, state, state.steps, where)
    before, after = _read_whole(policy, state)
    return _newest(replace(state, before=before, after=after), _rows_kept(policy))


def again(policy: Policy, state: State) -> State:
    """The stream as another policy reads it, from the rows that are kept. Raises InputError where it cannot."""
    columns = _columns(policy)
    if sorted(columns) != sorted(state.columns) or axis_of(policy.schema) != state.axis:
        raise InputError(f"stream '{state.name}' has other columns or steps than the policy that is served now")
    ticks = state.tick + policy.schema.step * np.arange(1 - len(state.given_RF), 1)
    given = dict(zip(state.columns, state.given_RF.T, strict=True))
    times: Any = policy.schema.of_ticks(ticks)
    return begin(policy, SeriesInput(times, given, name=state.name, static=state.static))


def observe(policy: Policy, state: State, times: Sequence[Any], columns: Mapping[str, ArrayLike]) -> State:
    """The stream after some steps, oldest first: skipped ones count as missing, and those that it has read already and that
    say the same change nothing.

    Raises:
        OutOfStepError: times that do not follow, or contradict what was read.
        InputError: what no policy reads.
    """
    return advanced(policy, state, heard(policy, state, times, columns))


def heard(policy: Policy, state: State, times: Sequence[Any], columns: Mapping[str, ArrayLike]) -> NDArray:
    """The rows that follow on a stream's newest one, float32 [T, F], NaN where nothing was measured; raises as ``observe``."""
    where, schema, max_gap = f"stream '{state.name}'", policy.schema, policy.config.preprocess.max_gap_steps
    names, tick_T = _columns(policy), policy.requests.ticks(times, where)
    if not len(tick_T):
        raise InputError(f"{where}: no step was sent; send its time and columns")
    request.refuse_unknown(columns, names, f"{where}, columns")
    given_TF = np.stack([request.floats(columns, c, len(tick_T), where) for c in names], axis=1).astype(np.float32)
    newest = schema.of_ticks(np.array([state.tick]))[0]
    number_T, off_T = np.divmod(tick_T - state.tick, schema.step)
    if off_T.any() or (np.diff(number_T) <= 0).any():
        raise InputError(
            f"{where}, times: {list(times)[:3]} are no ascending steps of the grid on which '{newest}' lies"
        )
    known_T = number_T <= 0
    for row, given_F, time in zip(number_T[known_T] - 1, given_TF, times, strict=False):
        if -row > len(state.given_RF):
            raise OutOfStepError(f"{where}: '{time}' is older than what is kept; observe steps after '{newest}'")
        if not np.array_equal(state.given_RF[row], given_F, equal_nan=True):
            raise OutOfStepError(
                f"{where}: '{time}' was read with other values, and the newest step is '{newest}'; what was read is not "
                "changed: begin the stream again (PUT) with the corrected history"
            )
    ahead_M = number_T[~known_T]
    num_new = int(ahead_M[-1]) if len(ahead_M) else 0
    too_far = f"{where}: more than {max_gap} steps in a row without a target after '{newest}' cut a series"
    if (np.diff(ahead_M, prepend=0) > max_gap + 1).any():
        raise OutOfStepError(f"{too_far}; begin the stream again (PUT) with a history from after the gap")
    row_TF = np.full((num_new, len(names)), np.nan, np.float32)
    row_TF[ahead_M - 1] = given_TF[~known_T]
    if num_new:
        targets = np.concatenate([state.given_RF[-max_gap - 1 :], row_TF])[:, : len(schema.target)]
        at = np.flatnonzero(~np.isnan(targets).all(1))
        if (np.diff(at, append=len(targets)) > max_gap + 1).any():
            raise OutOfStepError(f"{too_far}; begin the stream again (PUT) once targets are measured")
    return row_TF


def advanced(policy: Policy, state: State, row_TF: NDArray) -> State:
    """The stream after rows that ``heard`` gave: one LSTM step for each."""
    if not len(row_TF):
        return state
    kept, patch = _rows_kept(policy), policy.config.window.patch
    moving_TF, known_TK, out_TF = policy.requests.filled(
        np.concatenate([_tail(policy, state), row_TF]), np.empty((0, len(policy.schema.known))), 0
    )
    new = slice(-len(row_TF), None)
    rows = {"given_RF": row_TF, "filled_RF": np.concatenate([moving_TF[new], known_TK[new]], 1), "out_RF": out_TF[new]}
    nothing, after = np.empty((0, len(policy.schema.known)), np.float32), state.after.copy()
    for t in range(len(row_TF)):
        longer: dict[str, Any] = {
            name: np.concatenate([getattr(state, name), part[t : t + 1]]) for name, part in rows.items()
        }
        state = replace(state, steps=state.steps + 1, tick=state.tick + policy.schema.step, **longer)
        _require_near(policy, state, 1, f"stream '{state.name}'")
        length, phase = _steps_read(policy, state), (state.steps - 1) % patch
        columns = _inputs(policy, state, length, _patch_read(policy, length), nothing)
        part, before = (length // patch - 1, length // patch), after[phase].copy()
        after[phase] = _advance(policy, columns, state.category_1K, part, before[..., None, :, :])[..., 0, :, :]
        state = _newest(replace(state, before=before, after=after), kept)
    return state


def forecast(
    policy: Policy, state: State, future: Mapping[str, ArrayLike] | None = None, levels: Sequence[float] = ()
) -> Forecast:
    """What ``Policy.predict`` says of the whole stream, told from its state.

    Args:
        future: the known and static columns over the horizon.
        levels: of further quantiles.
    """
    where, schema, window = f"stream '{state.name}'", policy.schema, policy.config.window
    request.refuse_unknown(future or {}, schema.known, f"{where}, future")
    ahead_HK = np.empty((window.horizon, len(schema.known)))
    for k, name in enumerate(schema.known):
        ahead_HK[:, k] = request.floats(future or {}, name, window.horizon, f"{where}, future")
    words = _words(policy, state, ahead_HK)
    ahead_HK = policy.requests.filled(_tail(policy, state), ahead_HK, 0)[1][-window.horizon :]
    words += request.range_words(_reach(policy, state, window.history, ahead_HK), _columns(policy), where)
    length = _steps_read(policy, state)
    columns = _inputs(policy, state, length, _patch_read(policy, length), ahead_HK)
    patches = length // window.patch
    given = (torch.from_numpy(values[None]) for values in columns)
    with torch.inference_mode():
        raw_BNHCP, _ = policy.network(
            *given,
            torch.from_numpy(state.category_1K),
            part=(patches - 1, patches),
            state=torch.from_numpy(state.before),
        )
        values_BHCQ, mean_BHC, more = policy.told(raw_BNHCP[:, -1], state.own, levels)
    times = schema.of_ticks(state.tick + schema.step * np.arange(1, window.horizon + 1))
    return Forecast(
        state.name, times, values_BHCQ[0], words, mean_BHC[0], {level: found[0] for level, found in more.items()}
    )


def _read_whole(policy: Policy, state: State) -> tuple[NDArray, NDArray]:
    """``before`` and ``after`` of a stream that begins, its phases side by side: those with as many patches at once."""
    patch, steps = policy.config.window.patch, state.steps
    whole = _inputs(policy, state, steps, steps, np.empty((0, len(policy.schema.known)), np.float32))
    end_P, before = np.arange(steps - patch + 1, steps + 1), np.empty(0)
    after: dict[int, NDArray] = {}
    for patches in (steps // patch, steps // patch - 1):
        ends = end_P[end_P // patch == patches]
        if not patches or not len(ends):
            continue
        row_BL = ends[:, None] + np.arange(-patches * patch, 0)
        columns = Inputs(*(values[row_BL] for values in whole))
        category_BK, earlier = state.category_1K.repeat(len(ends), 0), None
        if patches > 1:
            earlier = _advance(policy, columns, category_BK, (0, patches - 1), None)
        found = _advance(policy, columns, category_BK, (patches - 1, patches), earlier)
        after |= {int(end - 1) % patch: found[..., b, :, :] for b, end in enumerate(ends)}
        if ends[-1] == steps:
            before = np.zeros_like(found[..., -1, :, :]) if earlier is None else earlier[..., -1, :, :]
    # A phase that no whole patch has ended in yet knows nothing.
    return before.copy(), np.stack([after.get(phase, np.zeros_like(before)) for phase in range(patch)])


def _advance(
    policy: Policy, columns: Any, category_BK: NDArray, part: tuple[int, int], state: NDArray | None
) -> NDArray:
    """States [..., B, G, D] after a part of some sequences [B, L, ...] (or of one, [L, ...]), from those before it."""
    given = [torch.from_numpy(values if values.ndim == 3 else values[None]) for values in columns]
    before = None if state is None else torch.from_numpy(np.ascontiguousarray(state)).flatten(-3, -2)
    with torch.inference_mode():
        found = policy.network.advance(*given, torch.from_numpy(category_BK), part=part, state=before)  # type: ignore
        after: NDArray = found.unflatten(-2, (len(given[0]), -1)).numpy()
    return after


def _inputs(policy: Policy, state: State, length: int, newest: int, ahead_HK: NDArray) -> Any:
    """What a network reads of the newest ``length`` steps, scaled, as ``Inputs`` of arrays without a batch; past and known
    inputs of the ``newest`` ones alone, 0 before them, and the known ones ahead."""
    schema, scaler, lags = policy.schema, policy.scaler, policy.config.window.lags
    targets, horizon = len(schema.target), len(ahead_HK)
    moving = targets + len(schema.past)
    rows = len(state.filled_RF) if lags else length
    target_1XC = np.zeros((1, rows + horizon, targets), np.float32)
    target_1XC[:, :rows] = scaler.scale(state.filled_RF[None, -rows:, :targets], "target", state.own)
    observed_LC = ~np.isnan(state.given_RF[-length:, :targets])
    if scaler.cleaning is not None and scaler.cleaning.action == "mask":
        observed_LC &= ~state.out_RF[-length:, :targets]
    past_LP = np.zeros((length, len(schema.past)), np.float32)
    past_LP[-newest:] = scaler.scale(state.filled_RF[-newest:, targets:moving], "past")
    times = schema.of_ticks(state.tick + schema.step * np.arange(1 - newest, horizon + 1))
    known_NK = np.concatenate([state.filled_RF[-newest:, moving:], ahead_HK])
    parts = [scaler.scale(known_NK, "known"), schema.calendar_features(times)]
    if lags:
        there = np.ones((1, rows + horizon), np.float32)
        parts.append(lagged_steps(target_1XC, there, lags, newest + horizon)[0])
    known_XK = np.zeros((length + horizon, sum(part.shape[1] for part in parts)), np.float32)
    known_XK[-newest - horizon :] = np.concatenate(parts, axis=1)
    return Inputs(target_1XC[0, rows - length :], observed_LC.astype(np.float32), past_LP, known_XK)  # type: ignore


def _tail(policy: Policy, state: State) -> NDArray:
    """The rows that decide what is filled into later ones, with what was filled into the oldest of them, [.., F]."""
    reach, anchors = _looks_back(policy)
    given_XF = state.given_RF[-reach - anchors :].astype(np.float64)
    if len(given_XF) < state.steps:
        oldest, filled = given_XF[:anchors], state.filled_RF[-len(given_XF) :][:anchors]
        given_XF[:anchors] = np.where(np.isnan(oldest), filled, oldest)
    return given_XF


def _looks_back(policy: Policy) -> tuple[int, int]:
    """Steps before one that decide what it is read as, and how many before those stand for all earlier ones: a value that is
    carried on from before them was filled into them."""
    prepare, window, cleaning = policy.config.preprocess, policy.config.window, policy.scaler.cleaning
    filling = Filling.of(prepare, window)
    reach = (filling.reach(prepare.max_gap_steps) or 0) + (cleaning.reach if cleaning is not None else 0)
    return reach, filling.season if filling.how == "seasonal" else 1


def _steps_read(policy: Policy, state: State) -> int:
    """Whole patches up to the newest step that levels and the linear map may look at, of those since the stream began."""
    window = policy.config.window
    most = window.history + (policy.config.model.difference or 0)
    return min(-(-most // window.patch), state.steps // window.patch) * window.patch


def _patch_read(policy: Policy, length: int) -> int:
    """Steps of the newest patch, and those before it that changes of its lags are against."""
    return min(length, policy.config.window.patch + (policy.config.model.difference or 0))


def _rows_kept(policy: Policy) -> int:
    window = policy.config.window
    beside = (policy.config.model.difference or 0) + window.patch
    return max(window.history + beside, max(window.lags, default=0) + beside, sum(_looks_back(policy)))


def _newest(state: State, rows: int) -> State:
    """With so many rows at most."""
    if len(state.given_RF) <= rows:
        return state
    kept = {name: getattr(state, name)[-rows:] for name in ("given_RF", "filled_RF", "out_RF")}
    return replace(state, **kept)


def _columns(policy: Policy) -> list[str]:
    schema = policy.schema
    return [*schema.target, *schema.past, *schema.known]


def _words(policy: Policy, state: State, ahead_HK: NDArray) -> list[str]:
    """What a forecast warns of, as that of a request does."""
    window, scaler, columns = policy.config.window, policy.scaler, _columns(policy)
    masks = scaler.cleaning is not None and scaler.cleaning.action == "mask"
    return [
        *request.missing_words(~np.isnan(state.given_RF[-window.history :]), columns),
        *request.outlier_words(state.out_RF[-window.history :], columns, "masked" if masks else "clipped"),
        *request.missing_words(~np.isnan(ahead_HK), policy.schema.known, " ahead"),
        *(request.absent_words(state.steps, window) if window.lags else []),
    ]


def _reach(policy: Policy, state: State, newest: int, ahead_HK: NDArray) -> NDArray:
    """How many training deviations each column reaches in the newest rows and ahead, [F]."""
    scaler, targets = policy.scaler, len(policy.schema.target)
    moving = targets + len(policy.schema.past)
    row_XF = state.filled_RF[-newest:]
    target_1XC = scaler.scale(row_XF[None, :, :targets], "target", state.own)
    past_XP, known_XK = row_XF[:, targets:moving], np.concatenate([row_XF[:, moving:], ahead_HK])
    return np.concatenate(
        [
            scaler.reach(target_1XC, "target", state.own)[0].max(0),
            scaler.reach(scaler.scale(past_XP, "past"), "past").max(0),
            scaler.reach(scaler.scale(known_XK, "known"), "known").max(0),
        ]
    )


def _require_near(policy: Policy, state: State, newest: int, where: str) -> None:
    """Raises InputError for values too large to compute with."""
    none = np.empty((0, len(policy.schema.known)), np.float32)
    request.range_words(_reach(policy, state, newest, none), _columns(policy), where)
