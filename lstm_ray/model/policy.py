"""A policy: config, schema, scaler and weights as one object, the only thing that leaves training.

Needs torch, NumPy, safetensors and pydantic alone. On disk it is ``policy.json`` and ``weights.safetensors``, both
hashed; nothing in it is a pickle and nothing is a row of training data.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from operator import index as whole
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors.torch import load_file, save_file

from lstm_ray import __version__
from lstm_ray.config import Config, parse
from lstm_ray.data.impute import forward_fill
from lstm_ray.data.schema import Scaler, Schema
from lstm_ray.data.windows import Batch, Segments, chunks, cut_sequences, cut_windows, longest_sequence
from lstm_ray.errors import InputError
from lstm_ray.model.network import build, forecaster
from lstm_ray.model.telling import one_series, side_by_side, tell_ranges

FORMAT = 1
MAX_STEPS = 65_536
"""Steps of callers' series that are labelled in one pass, about."""
POLICY, WEIGHTS = "policy.json", "weights.safetensors"
FAR, OUT_OF_REACH = 6.0, 1e9
"""Training deviations from the mean: those a caller is warned of, and those whose squares float32 could not add up."""


@dataclass(frozen=True)
class SeriesInput:
    """One series as a caller has it, in the data's own units and on the policy's regular grid.

    ``None`` and NaN are missing values. ``columns`` holds the history of every target, past, known and static column;
    ``future`` the known and static columns over the horizon; ``static`` the word in each categorical column.
    """

    times: Sequence[Any]
    """datetime64, ISO strings or integer steps, ascending, one step apart."""
    columns: Mapping[str, ArrayLike]
    future: Mapping[str, ArrayLike] = field(default_factory=dict)
    name: str = ""
    static: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Forecast:
    """What a policy predicts for one series."""

    name: str
    times: NDArray
    """[H] datetime64[us], or integer steps."""
    values_HCQ: NDArray
    """In the data's own units."""
    warnings: list[str]


@dataclass(frozen=True)
class Classification:
    """Class probabilities of one sequence, in the order of ``schema.classes``."""

    name: str
    probabilities: NDArray
    warnings: list[str]


@dataclass(frozen=True)
class Labelling:
    """What a policy tells of every step of one series."""

    name: str
    times: NDArray
    """[L] datetime64[us], or integer steps: those that were sent."""
    answer_LA: NDArray
    """Class probabilities in the order of ``schema.classes``, or [L, 1] values in the label's own units."""
    warnings: list[str]


Prediction = Forecast | Classification | Labelling


class Policy:
    """Predicts in the data's own units.

    Args:
        config: the complete config it was trained with.
        schema: columns and time axis.
        scaler: training statistics.
        weights: state of the config's network.
        facts: plain values worth carrying, such as validation metrics; they go into ``policy.json``.
    """

    def __init__(
        self,
        config: Config,
        schema: Schema,
        scaler: Scaler,
        weights: Mapping[str, torch.Tensor],
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.config, self.schema, self.scaler, self.facts = config, schema, scaler, dict(facts or {})
        self.network = build(config, schema)
        self.network.load_state_dict(dict(weights))
        self.network.eval()

    @property
    def quantiles(self) -> list[float]:
        """The forecast's last axis; ``[0.5]`` for a point forecast."""
        return self.config.model.quantiles or [0.5]

    @property
    def num_parameters(self) -> int:
        return sum(weight.numel() for weight in self.network.parameters())

    def save(self, folder: Path) -> str:
        """Write the two files into a folder and return the policy's version, a hash of both."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in self.network.state_dict().items()}, folder / WEIGHTS)
        content = {
            "format": FORMAT,
            "versions": {"lstm_ray": __version__, "torch": str(torch.__version__), "numpy": np.__version__},
            "config": self.config.model_dump(mode="json"),
            "schema": self.schema.model_dump(mode="json"),
            "scaler": self.scaler.model_dump(mode="json"),
            "facts": self.facts,
            "weights_sha256": _sha256((folder / WEIGHTS).read_bytes()),
        }
        version = _version(content)
        (folder / POLICY).write_text(json.dumps({**content, "version": version}, indent=1, allow_nan=False))
        return version

    @classmethod
    def load(cls, folder: str | Path) -> Policy:
        """Read a saved policy. Raises InputError where a file is missing, altered or of a newer format."""
        folder = Path(folder)
        try:
            content = json.loads((folder / POLICY).read_text())
            weights = (folder / WEIGHTS).read_bytes()
        except (OSError, ValueError) as error:
            raise InputError(f"'{folder}' holds no readable policy: {error}") from None
        found = content.get("format") if isinstance(content, dict) else None
        if found != FORMAT:
            raise InputError(f"'{folder}' has policy format {found}, this version reads {FORMAT}")
        version = content.pop("version", None)
        if version != _version(content) or content["weights_sha256"] != _sha256(weights):
            raise InputError(f"'{folder}' was altered after it was saved: its hashes do not match; take a fresh copy")
        policy = cls(
            parse(content["config"]),
            Schema.model_validate(content["schema"]),
            Scaler.model_validate(content["scaler"]),
            load_file(folder / WEIGHTS),
            content["facts"],
        )
        policy.version = version
        return policy

    version: str = "unsaved"

    def forecast_windows(self, segments: Segments, origin_M: NDArray, batch: int = 512) -> NDArray:
        """Forecasts of windows of unscaled segments, float32 [M, H, C, Q]."""
        scaled, window = segments.scaled(self.scaler), self.config.window
        parts = [self.forecast_batch(cut_windows(scaled, chunk, window)) for chunk in chunks(origin_M, batch)]
        shape = (0, window.horizon, len(self.schema.target), len(self.quantiles))
        return np.concatenate(parts or [np.empty(shape, np.float32)])

    def forecast_batch(self, batch: Batch) -> NDArray:
        """Forecasts of a scaled batch at its last origin, float32 [B, H, C, Q]."""
        inputs = (batch.target_BTC, batch.observed_BTC, batch.past_BTP, batch.known_BTK, batch.category_BS)
        with torch.inference_mode():
            raw_BNHCP = self.network(*map(torch.from_numpy, inputs))[:, -1:]
            scaled_BHCQ: NDArray = forecaster(self.network).forecast(raw_BNHCP)[:, 0].numpy()
        return self.scaler.unscale(scaled_BHCQ, quantile_axis=True)

    def class_probabilities(self, segments: Segments, ids_M: NDArray, batch: int = 512) -> NDArray:
        """Class probabilities of whole sequences of unscaled segments, float32 [M, classes]."""
        scaled, window = segments.scaled(self.scaler), self.config.window
        steps = longest_sequence(scaled, window.history)
        cuts = (cut_sequences(scaled, chunk, steps, window.patch) for chunk in chunks(ids_M, batch))
        return np.concatenate([self._classify(cut) for cut in cuts])

    def tell_steps(self, segments: Segments, range_S2: NDArray, batch: int = 512) -> NDArray:
        """Labels of the steps in a range of rows of each unscaled segment, in order: class probabilities [M, classes], or
        values in the label's own units [M, 1]. What lies before a range is read, what lies after it is not.

        Args:
            batch: sequences told at a time, about.
        """
        steps = batch * self.config.train.origins * self.config.window.patch
        return tell_ranges(self.network, self.config, self.scaler, segments.scaled(self.scaler), range_S2, steps)

    def predict(self, series: Sequence[SeriesInput]) -> list[Forecast] | list[Classification] | list[Labelling]:
        """Forecast, classify or label series that need not be in the training data, in one batch.

        Every step that is sent gets a label; those of the first ones are told from as little as precedes them.

        Raises InputError that names the series, the column, the value found and the fix.
        """
        if not series:
            raise InputError("no series given; send at least one")
        names = [item.name or str(index) for index, item in enumerate(series)]
        if self.config.task == "label":
            return self._label(series, names)
        read = [self._read(item, index) for index, item in enumerate(series)]
        if self.config.task == "classify":
            found = [self._classify(batch)[0] for batch, _, _ in read]
            return [Classification(n, p, w) for n, p, (_, _, w) in zip(names, found, read, strict=True)]
        joined = Batch(**{part: np.concatenate([vars(b)[part] for b, _, _ in read]) for part in vars(read[0][0])})
        values_BHCQ = self.forecast_batch(joined)
        return [Forecast(n, t, v, w) for n, v, (_, t, w) in zip(names, values_BHCQ, read, strict=True)]

    def _classify(self, batch: Batch) -> NDArray:
        inputs = (batch.past_BTP, batch.known_BTK, batch.origin_BN, batch.category_BS)
        with torch.inference_mode():
            logits = self.network(*map(torch.from_numpy, inputs))
        probabilities: NDArray = torch.softmax(logits, -1).numpy()
        return probabilities

    def _label(self, series: Sequence[SeriesInput], names: Sequence[str]) -> list[Labelling]:
        read = [self._read(item, index, whole=True) for index, item in enumerate(series)]
        schema = self.schema
        cuts = [one_series(b.past_BTP[0], b.observed_BTC[0], b.known_BTK[0], b.category_BS, schema) for b, _, _ in read]
        joined = side_by_side(cuts)
        range_S2 = np.stack([joined.bounds[:-1], joined.bounds[1:]], axis=1)
        answer_MA = tell_ranges(self.network, self.config, self.scaler, joined, range_S2, MAX_STEPS)
        answers = np.split(answer_MA, joined.bounds[1:-1])
        return [Labelling(n, t, a, w) for n, a, (_, t, w) in zip(names, answers, read, strict=True)]

    def _read(self, item: SeriesInput, index: int, whole: bool = False) -> tuple[Batch, NDArray, list[str]]:
        """One series as a scaled batch of one window, the times of its horizon, and warnings. A ``whole`` series is that
        batch without padding, and its own times."""
        schema, window = self.schema, self.config.window
        where = f"series '{item.name or index}'"
        horizon = window.horizon if self.config.task == "forecast" else 0
        times = self._times(item.times, where)
        if horizon and len(times) < window.history:
            raise InputError(f"{where} has {len(times)} steps of history; send at least {window.history}")
        columns = [*schema.target, *schema.past, *schema.known]
        _refuse_unknown(item.columns, columns, f"{where}, columns")
        _refuse_unknown(item.future, schema.known, f"{where}, future")
        kept = len(times) if whole else min(len(times), window.history)
        given_TF = np.stack([_floats(item.columns, c, len(times), where) for c in columns], axis=1)
        future_HK = np.empty((horizon, len(schema.known)))
        for k, name in enumerate(schema.known):
            future_HK[:, k] = _floats(item.future, name, horizon, f"{where}, future") if horizon else 0
        step = np.timedelta64(schema.step, "us") if schema.is_time else np.int64(schema.step)
        later = times[-1] + step * np.arange(1, horizon + 1)
        # What a caller sends from before the history fills gaps in it, as it did in training.
        observed_LF, filled_LF = ~np.isnan(given_TF[-kept:]), forward_fill(given_TF)[-kept:]
        known_times = np.concatenate([times[-kept:], later])
        batch, reach_F = self._scaled(filled_LF, observed_LF, future_HK, known_times, 1 if whole else window.patch)
        category_BS, unseen = _codes(item.static, schema, where)
        batch = replace(batch, category_BS=category_BS)
        warnings = (
            unseen + _missing_words(observed_LF, columns) + _missing_words(~np.isnan(future_HK), schema.known, " ahead")
        )
        return batch, times if whole else later, warnings + _range_words(reach_F, columns, where)

    def _scaled(
        self, filled_LF: NDArray, observed_LF: NDArray, future_HK: NDArray, times_T: NDArray, patch: int
    ) -> tuple[Batch, NDArray]:
        """A history and its known future as a batch of one window, and how many deviations each column reaches."""
        schema, length, horizon = self.schema, len(filled_LF), len(future_HK)
        target_LC, past_LP, known_LK = np.split(
            filled_LF.astype(np.float32), [len(schema.target), len(schema.target) + len(schema.past)], axis=1
        )
        target_LC, past_LP = self.scaler.scale(target_LC, "target"), self.scaler.scale(past_LP, "past")
        known_TK = forward_fill(np.concatenate([known_LK, future_HK.astype(np.float32)]))
        known_TK = self.scaler.scale(known_TK, "known")
        reach_F = np.concatenate([np.abs(values).max(0) for values in (target_LC, past_LP, known_TK)])
        known_TK = np.concatenate([known_TK, schema.calendar_features(times_T)], axis=1)
        columns = [*schema.target, *schema.past, *schema.known]
        observed_LC = observed_LF[:, [columns.index(name) for name in schema.observed]].astype(np.float32)
        # A forecast has its horizon after the history; a sequence to classify ends in a whole patch.
        pad = horizon or -length % patch
        num_origins = 1 if horizon else (length + pad) // patch
        batch = Batch(
            target_BTC=_padded(target_LC, pad),
            observed_BTC=_padded(observed_LC, pad),
            past_BTP=_padded(past_LP, pad),
            known_BTK=_padded(known_TK, pad - horizon),
            origin_BN=np.ones((1, num_origins), np.float32),
            label_B=np.zeros(1, np.int64),
            category_BS=np.zeros((1, 0), np.int64),
            label_BT=np.zeros((1, 0), np.float32),
        )
        return batch, reach_F

    def _times(self, given: Sequence[Any], where: str) -> NDArray:
        try:
            if self.schema.is_time:
                times = np.asarray([_utc(time) for time in given], dtype="datetime64[us]")
            else:
                times = np.asarray([int(t) if isinstance(t, str) else whole(t) for t in given], dtype=np.int64)
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError(f"{where}, times: {error}; send ISO 8601 in UTC, or integer steps") from None
        if len(times) == 0:
            raise InputError(f"{where} has no time stamps; send its history")
        gaps = np.diff(times).astype(np.int64)
        if (gaps != self.schema.step).any():
            first = int(np.argmax(gaps != self.schema.step))
            raise InputError(
                f"{where}, times: '{times[first]}' is followed by '{times[first + 1]}', not by the next step of the grid; "
                "send every step in order, with null where a value is missing"
            )
        return times


def _codes(given: Mapping[str, str], schema: Schema, where: str) -> tuple[NDArray, list[str]]:
    """A series' categorical values as codes, int64 [1, K], and a warning for each that training did not see."""
    _refuse_unknown(given, list(schema.categories), f"{where}, static")
    codes, warnings = [], []
    for column, values in schema.categories.items():
        word = given.get(column)
        if word is None:
            raise InputError(
                f"{where}, static: column '{column}' is missing; send one of its values, such as {values[:3]}"
            )
        if not isinstance(word, str):
            raise InputError(f"{where}, static: column '{column}' holds {word!r}; send text")
        codes.append(values.index(word) + 1 if word in values else 0)
        if word not in values:
            warnings.append(f"'{column}' is '{word}', which training did not see; it is read as an unseen value")
    return np.asarray([codes], dtype=np.int64).reshape(1, -1), warnings


def _padded(values_TF: NDArray, steps: int) -> NDArray:
    """[T, F] -> [1, T + steps, F], zeros after the last step."""
    return np.pad(values_TF, ((0, steps), (0, 0)))[None]


def _utc(time: Any) -> str:
    """ISO 8601 without a zone, for NumPy knows none; the time of another zone is moved to UTC."""
    text = str(time).removesuffix("Z")
    if re.search(r":\d\d.*[+-]\d\d(:?\d\d)?$", text):
        return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None).isoformat()
    return text


def _floats(columns: Mapping[str, ArrayLike], name: str, length: int, where: str) -> NDArray:
    if name not in columns:
        raise InputError(f"{where}: column '{name}' is missing; send {length} values, null where unknown")
    try:
        values = np.asarray(columns[name], dtype=np.float64)
    except (ValueError, TypeError):
        raise InputError(f"{where}: column '{name}' holds something that is no number; send numbers or null") from None
    if values.shape != (length,):
        raise InputError(f"{where}: column '{name}' has shape {values.shape}; send {length} values, one a step")
    large = np.abs(values) > np.finfo(np.float32).max
    if large.any():
        found = "an infinite value" if np.isinf(values).any() else f"{values[large][0]:g}"
        raise InputError(f"{where}: column '{name}' holds {found}; send finite numbers or null")
    return values


def _refuse_unknown(given: Mapping[str, Any], wanted: Sequence[str], where: str) -> None:
    if unknown := sorted(set(given) - set(wanted)):
        raise InputError(f"{where}: '{unknown[0]}' is no input of this policy; it reads {', '.join(wanted) or 'none'}")


def _missing_words(observed_TF: NDArray, columns: Sequence[str], when: str = "") -> list[str]:
    missing = (~observed_TF).sum(0)
    return [
        f"{n} of {len(observed_TF)} values of '{c}'{when} were missing and filled"
        for c, n in zip(columns, missing, strict=True)
        if n
    ]


def _range_words(reach_F: NDArray, columns: Sequence[str], where: str) -> list[str]:
    words = []
    for column, deviation in zip(columns, reach_F, strict=True):
        reach = f"'{column}' reaches {deviation:.4g} training deviations from its mean"
        if deviation > OUT_OF_REACH:
            raise InputError(f"{where}: column {reach}, too far to compute with; send it in the training data's units")
        if deviation > FAR:
            words.append(f"{reach}; the policy has seen little like it")
    return words


def _version(content: Mapping[str, Any]) -> str:
    return _sha256(json.dumps(content, sort_keys=True).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
