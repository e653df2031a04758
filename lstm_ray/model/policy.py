"""A policy: config, schema, scaler and weights as one object, the only thing that leaves training.

Needs torch, NumPy, safetensors and pydantic alone. On disk it is ``policy.json`` and ``weights.safetensors``,
``residuals.safetensors`` where it carries what futures are sampled from, and ``conformal.safetensors`` where its intervals
are calibrated; all are hashed. Nothing in it is a pickle and nothing is a row of training data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import numpy as arrays
from safetensors.torch import load_file, save_file

from lstm_ray import __version__
from lstm_ray.config import Config, parse
from lstm_ray.data.quality.clean import seen
from lstm_ray.data.scaling.units import beside, of_segments, of_windows
from lstm_ray.data.schema import Own, Scaler, Schema
from lstm_ray.data.windows import Batch, Segments, chunks, cut_sequences, cut_windows, longest_sequence
from lstm_ray.errors import InputError
from lstm_ray.model import conformal
from lstm_ray.model.conformal import Conformal
from lstm_ray.model.network import build, forecaster
from lstm_ray.model.request import Reader, SeriesInput
from lstm_ray.model.residuals import Residuals
from lstm_ray.model.telling import one_series, side_by_side, tell_ranges

__all__ = ["Classification", "Forecast", "Labelling", "Policy", "Prediction", "SeriesInput"]

FORMAT = 3
DISTRIBUTION_LEVELS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
"""Quantiles by which a distribution is told to whoever samples from it."""
MAX_STEPS = 65_536
"""Steps of callers' series that are labelled in one pass, about."""
POLICY, WEIGHTS = "policy.json", "weights.safetensors"
RESIDUALS, CONFORMAL = "residuals.safetensors", "conformal.safetensors"
OPTIONAL = (RESIDUALS, CONFORMAL)
"""Files that a policy may have beside the two that it must. FORMAT does not count them: a version that knows one of them not
reads the same policy without it, its intervals as the network gives them."""

Kept = TypeVar("Kept")
_ALTERED = "'{}' was altered after it was saved: its hashes do not match; take a fresh copy"


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
        residuals: what its forecasts missed, for whoever samples futures; a policy needs none.
        calibration: of its intervals; None: they are as the network gives them.
    """

    def __init__(
        self,
        config: Config,
        schema: Schema,
        scaler: Scaler,
        weights: Mapping[str, torch.Tensor],
        facts: Mapping[str, Any] | None = None,
        residuals: Residuals | None = None,
        calibration: Conformal | None = None,
    ) -> None:
        self.config, self.schema, self.scaler, self.facts = config, schema, scaler, dict(facts or {})
        self.residuals, self.calibration = residuals, calibration
        self.requests = Reader(config, schema, scaler)
        self.network = build(config, schema)
        self.network.load_state_dict(dict(weights))
        self.network.eval()

    @property
    def quantiles(self) -> list[float]:
        """The forecast's last axis; ``[0.5]`` for a point forecast."""
        return self.config.model.quantiles or [0.5]

    @property
    def path_levels(self) -> list[float]:
        """Levels of the quantiles that futures are sampled by: the forecast's own, or more where a distribution has any."""
        return list(DISTRIBUTION_LEVELS) if self.config.model.distribution else self.quantiles

    @property
    def num_parameters(self) -> int:
        return sum(weight.numel() for weight in self.network.parameters())

    def save(self, folder: Path) -> str:
        """Write its files into a folder and return the policy's version, a hash of all."""
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
        for file, kept in zip(OPTIONAL, (self.residuals, self.calibration), strict=True):
            (folder / file).unlink(missing_ok=True)
            if kept is not None:
                arrays.save_file(kept.arrays(), folder / file)
                content[_name(file)] = {**kept.words(), "sha256": _sha256((folder / file).read_bytes())}
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
            raise InputError(_ALTERED.format(folder))
        policy = cls(
            parse(content["config"]),
            Schema.model_validate(content["schema"]),
            Scaler.model_validate(content["scaler"]),
            load_file(folder / WEIGHTS),
            content["facts"],
            _kept(folder, RESIDUALS, content, Residuals.of),
            _kept(folder, CONFORMAL, content, Conformal.of),
        )
        policy.version = version
        return policy

    version: str = "unsaved"

    def reading(self, history: int) -> Policy:
        """The same policy, with the same weights, as one that reads so many steps of segments up to an origin: whole patches,
        no fewer than it was trained with. Levels are measured over as many as before."""
        more = copy(self)
        window = self.config.window.model_copy(update={"history": history})
        more.config = self.config.model_copy(update={"window": window})
        return more

    def forecast_windows(
        self, segments: Segments, origin_M: NDArray, batch: int = 512, levels: Sequence[float] | None = None
    ) -> NDArray:
        """Forecasts of windows of unscaled segments, float32 [M, H, C, Q]; ``levels`` as in ``forecast_batch``."""
        scaled, window = segments.scaled(self.scaler), self.config.window
        own_S = of_segments(seen(segments, self.scaler), self.scaler) if self.scaler.series else None
        parts = []
        for chunk in chunks(origin_M, batch):
            cut, own_B = cut_windows(scaled, chunk, window), None
            if own_S is not None:
                of_B = scaled.series_of(chunk)
                names = [scaled.series[s] for s in of_B]
                cut, own_B = of_windows(cut, own_S.take(of_B), names, self.scaler, window)
            parts.append(self.forecast_batch(cut, own_B, levels))
        shape = (0, window.horizon, len(self.schema.target), len(levels or self.quantiles))
        return np.concatenate(parts or [np.empty(shape, np.float32)])

    def forecast_batch(self, batch: Batch, own: Own | None = None, levels: Sequence[float] | None = None) -> NDArray:
        """Forecasts of a scaled batch at its last origin, float32 [B, H, C, Q].

        Args:
            own: the units that its targets are told in, where each series has its own.
            levels: of its quantiles: any of a distribution, ascending, else the head's own; they are as the network gives
                them, which is what futures are sampled by. None: ``quantiles``, calibrated where the policy is.
        """
        inputs = (batch.target_BTC, batch.observed_BTC, batch.past_BTP, batch.known_BTK, batch.category_BS)
        with torch.inference_mode():
            raw_BNHCP = self.network(*map(torch.from_numpy, inputs))[:, -1:]
            scaled_BHCQ: NDArray = forecaster(self.network).forecast(raw_BNHCP, levels)[:, 0].numpy()
        if levels is not None or self.calibration is None:
            return self.scaler.unscale(scaled_BHCQ, quantile_axis=True, own=own)
        values_BHCQ = self.scaler.unscale(self.calibration.moved(scaled_BHCQ), quantile_axis=True, own=own)
        return conformal.told(values_BHCQ, self.config.model, self.quantiles)

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
        read = [self.requests.read(item, index) for index, item in enumerate(series)]
        if self.config.task == "classify":
            found = [self._classify(one.batch)[0] for one in read]
            return [Classification(n, p, one.warnings) for n, p, one in zip(names, found, read, strict=True)]
        joined = Batch(
            **{part: np.concatenate([vars(one.batch)[part] for one in read]) for part in vars(read[0].batch)}
        )
        values_BHCQ = self.forecast_batch(joined, beside([one.own for one in read if one.own is not None]))
        return [Forecast(n, one.times, v, one.warnings) for n, v, one in zip(names, values_BHCQ, read, strict=True)]

    def _classify(self, batch: Batch) -> NDArray:
        inputs = (batch.past_BTP, batch.known_BTK, batch.origin_BN, batch.category_BS)
        with torch.inference_mode():
            logits = self.network(*map(torch.from_numpy, inputs))
        probabilities: NDArray = torch.softmax(logits, -1).numpy()
        return probabilities

    def _label(self, series: Sequence[SeriesInput], names: Sequence[str]) -> list[Labelling]:
        read = [self.requests.read(item, index, whole=True) for index, item in enumerate(series)]
        schema = self.schema
        batches = [one.batch for one in read]
        cuts = [one_series(b.past_BTP[0], b.observed_BTC[0], b.known_BTK[0], b.category_BS, schema) for b in batches]
        joined = side_by_side(cuts)
        range_S2 = np.stack([joined.bounds[:-1], joined.bounds[1:]], axis=1)
        answer_MA = tell_ranges(self.network, self.config, self.scaler, joined, range_S2, MAX_STEPS)
        answers = np.split(answer_MA, joined.bounds[1:-1])
        return [Labelling(n, one.times, a, one.warnings) for n, a, one in zip(names, answers, read, strict=True)]


def _kept(folder: Path, file: str, content: Mapping[str, Any], of: Callable[..., Kept]) -> Kept | None:
    """What an optional file holds; None where the policy has none."""
    if (words := content.get(_name(file))) is None:
        return None
    try:
        kept = (folder / file).read_bytes()
    except OSError as error:
        raise InputError(f"'{folder}' holds no readable policy: {error}") from None
    if words["sha256"] != _sha256(kept):
        raise InputError(_ALTERED.format(folder))
    return of(arrays.load(kept), words)


def _name(file: str) -> str:
    """What policy.json calls an optional file's part."""
    return file.removesuffix(".safetensors")


def _version(content: Mapping[str, Any]) -> str:
    return _sha256(json.dumps(content, sort_keys=True).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
