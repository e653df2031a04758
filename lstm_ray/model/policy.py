"""A policy: config, schema, scaler and weights as one object, the only thing that leaves training.

Needs torch, NumPy, safetensors and pydantic alone. On disk it is ``policy.json`` and ``weights.safetensors``,
``residuals.safetensors`` where it carries what futures are sampled from, ``conformal.safetensors`` where its intervals are
calibrated, and ``smoke.json`` and ``model_card.md`` where it was bundled; all are hashed (``stored``). Nothing in it is a
pickle and nothing is a row of training data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors import numpy as arrays
from safetensors import torch as tensors

from lstm_ray import __version__
from lstm_ray.config import Config, parse
from lstm_ray.data.quality.clean import seen
from lstm_ray.data.scaling.units import beside, of_segments, of_windows
from lstm_ray.data.schema import Own, Scaler, Schema
from lstm_ray.data.windows import Batch, Segments, chunks, cut_sequences, cut_windows, longest_sequence
from lstm_ray.errors import InputError
from lstm_ray.model import conformal, frames, stored
from lstm_ray.model import levels as levels_of
from lstm_ray.model.conformal import Conformal
from lstm_ray.model.network import build, forecaster
from lstm_ray.model.request import Reader, SeriesInput
from lstm_ray.model.residuals import Residuals
from lstm_ray.model.sent import read_sent
from lstm_ray.model.stored import CONFORMAL, RESIDUALS, SMOKE, UNREADABLE, WEIGHTS, Files
from lstm_ray.model.telling import one_series, side_by_side, tell_ranges

__all__ = ["Classification", "Forecast", "Labelling", "Policy", "Prediction", "SeriesInput"]

DISTRIBUTION_LEVELS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
"""Quantiles by which a distribution is told to whoever samples from it."""
MAX_STEPS = 65_536
"""Steps of callers' series that are labelled in one pass, about."""
Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Forecast:
    """What a policy predicts for one series."""

    name: str
    times: NDArray
    """[H] datetime64[us], or integer steps."""
    values_HCQ: NDArray
    """In the data's own units."""
    warnings: list[str]
    mean_HC: NDArray | None = None
    """None: what the quantiles tell (``levels.mean``)."""
    more: Mapping[float, NDArray] = field(default_factory=dict)
    """Quantiles [H, C] at levels that were asked for beside the policy's own."""
    fallback: str | None = None
    """What a server told in the place of a forecast that was not finite; None: the policy's own forecast."""


@dataclass(frozen=True)
class Classification:
    """Class probabilities of one sequence, in the order of ``schema.classes``."""

    name: str
    probabilities: NDArray
    warnings: list[str]
    fallback: str | None = None
    """As of ``Forecast``."""


@dataclass(frozen=True)
class Labelling:
    """What a policy tells of every step of one series."""

    name: str
    times: NDArray
    """[L] datetime64[us], or integer steps: those that were sent."""
    answer_LA: NDArray
    """Class probabilities in the order of ``schema.classes``, or [L, 1] values in the label's own units."""
    warnings: list[str]
    fallback: str | None = None
    """As of ``Forecast``."""


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

    ``smoke`` is a made-up series with the answer to it, as ``model.smoke`` makes and checks it; None where it has none.
    """

    version: str = "unsaved"
    smoke: Mapping[str, Any] | None = None

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
        files = self.files()
        stored.write(folder, files)
        return stored.version(files)

    def files(self) -> dict[str, bytes]:
        """What it is on disk, file name to content."""
        files = {WEIGHTS: tensors.save({k: v.contiguous() for k, v in self.network.state_dict().items()})}
        content = {
            "versions": {"lstm_ray": __version__, "torch": str(torch.__version__), "numpy": np.__version__},
            "config": self.config.model_dump(mode="json"),
            "schema": self.schema.model_dump(mode="json"),
            "scaler": self.scaler.model_dump(mode="json"),
            "facts": self.facts,
        }
        for file, kept in ((RESIDUALS, self.residuals), (CONFORMAL, self.calibration)):
            if kept is not None:
                files[file] = arrays.save(kept.arrays())
                content[stored.part_of(file)] = kept.words()
        if self.smoke is not None:
            files[SMOKE] = json.dumps(self.smoke, allow_nan=False).encode()
        return stored.sealed(content, files)

    @classmethod
    def load(cls, folder: str | Path) -> Policy:
        """Read a saved policy. Raises InputError where a file is missing, altered or of a format that is not read."""
        return cls.of(stored.read(folder), str(folder))

    @classmethod
    def of(cls, files: Files, where: str = "the policy") -> Policy:
        """The policy in its files, as ``files`` gives them.

        Raises InputError that begins with ``where`` for files that no policy could have been saved as, their hashes matching
        or not. Nothing that they name is opened, imported or run.
        """
        content = stored.opened(files, where)
        try:
            config, schema = parse(content["config"]), Schema.model_validate(content["schema"])
            weights = tensors.load(files[WEIGHTS])
            _require_fitting(config, schema, weights)
            policy = cls(
                config,
                schema,
                Scaler.model_validate(content["scaler"]),
                weights,
                content["facts"],
                _kept(files, RESIDUALS, content, Residuals.of),
                _kept(files, CONFORMAL, content, Conformal.of),
            )
            if SMOKE in content["files"]:
                policy.smoke = stored.parsed(files[SMOKE], where)
        except InputError as error:
            raise error if where in str(error) else InputError(UNREADABLE.format(where, error)) from None
        except (SafetensorError, ValidationError, *_MALFORMED) as error:
            words = str(error).strip().splitlines() or [type(error).__name__]
            raise InputError(UNREADABLE.format(where, words[0])) from None
        policy.version = content["version"]
        return policy

    def reading(self, history: int) -> Policy:
        """The same policy, with the same weights, as one that reads so many steps of segments up to an origin: whole patches,
        no fewer than it was trained with. Levels are measured over as many as before."""
        more = copy(self)
        window = self.config.window.model_copy(update={"history": history})
        more.config = self.config.model_copy(update={"window": window})
        more.requests = Reader(more.config, self.schema, self.scaler)
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
        with torch.inference_mode():
            return self._quantiles(self._outputs(batch), own, levels, levels is None)

    def _outputs(self, batch: Batch) -> torch.Tensor:
        """Of the network at a batch's last origin, [B, H, C, P]."""
        inputs = (batch.target_BTC, batch.observed_BTC, batch.past_BTP, batch.known_BTK, batch.category_BS)
        raw_BNHCP: torch.Tensor = self.network(*map(torch.from_numpy, inputs))
        return raw_BNHCP[:, -1]

    def _quantiles(
        self, raw_BHCP: torch.Tensor, own: Own | None, levels: Sequence[float] | None, calibrated: bool
    ) -> NDArray:
        """What outputs forecast, in the data's own units; between levels that a distribution is calibrated at, corrections
        are, too."""
        scaled_BHCQ: NDArray = forecaster(self.network).forecast(raw_BHCP[:, None], levels)[:, 0].numpy()
        if not calibrated or self.calibration is None:
            return self.scaler.unscale(scaled_BHCQ, quantile_axis=True, own=own)
        calibration = self.calibration if levels is None else self.calibration.at(levels)
        values_BHCQ = self.scaler.unscale(calibration.moved(scaled_BHCQ), quantile_axis=True, own=own)
        return conformal.told(values_BHCQ, self.config.model, levels or self.quantiles)

    def told(
        self, raw_BHCP: torch.Tensor, own: Own | None = None, levels: Sequence[float] = ()
    ) -> tuple[NDArray, NDArray, dict[float, NDArray]]:
        """What a network's outputs say in the data's own units: quantiles [B, H, C, Q], means [B, H, C], and the quantiles
        [B, H, C] at further levels.

        Means of a distribution are its own, unless targets are learned transformed; all others are those of the quantiles
        told (``model.levels``), as further quantiles of a head that learned some are. Raises InputError for levels outside
        the policy's.
        """
        further = sorted(set(levels) - set(self.quantiles))
        levels_of.require_between(further, self.quantiles)
        name = self.config.model.distribution
        with torch.inference_mode():
            if name is None or not further:
                values_BHCQ = self._quantiles(raw_BHCP, own, None, True)
                more_BHCA = levels_of.between(values_BHCQ, self.quantiles, further)
            else:
                every = sorted({*self.quantiles, *further})
                every_BHCA = self._quantiles(raw_BHCP, own, every, True)
                values_BHCQ, more_BHCA = (
                    every_BHCA[..., [every.index(level) for level in wanted]] for wanted in (self.quantiles, further)
                )
            if name is None or self.scaler.transform is not None:
                mean_BHC = levels_of.mean(values_BHCQ, self.quantiles)
            else:
                scaled_BHC = forecaster(self.network).mean(raw_BHCP[:, None])[:, 0].numpy()
                mean_BHC = self.scaler.unscale(scaled_BHC, own=own)
        return values_BHCQ, mean_BHC, {level: more_BHCA[..., a] for a, level in enumerate(further)}

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

    def predict(
        self, series: Sequence[SeriesInput] | Any, levels: Sequence[float] = ()
    ) -> list[Forecast] | list[Classification] | list[Labelling]:
        """Forecast, classify or label series that need not be in the training data, in one batch.

        Every step that is sent gets a label; those of the first ones are told from as little as precedes them.

        Of a table (a polars or pandas DataFrame, a pyarrow Table, a mapping of arrays) with the columns of the YAML, each
        series is predicted, in the order in which they first appear. History ends with the last row that measures a target;
        rows after it tell what is known ahead (``frames``, which also makes columns of a table of the answers)::

            policy = Policy.load("runs/quickstart/policy")
            table = polars.read_parquet("newest.parquet")  # columns: those of data.series_id, data.time, data.target ...
            predictions = policy.predict(table)
            print(predictions[0].times, predictions[0].values_HCQ)
            polars.DataFrame(frames.as_columns(predictions, policy)).write_csv("forecast.csv")

        Args:
            series: or a table.
            levels: of further quantiles of a forecast, between the policy's lowest and highest.

        Raises InputError that names the series, the column, the value found and the fix.
        """
        if frames.is_table(series):
            series = frames.series_of(series, self.requests)
        frames.require_series(series)
        if not series:
            raise InputError("no series given; send at least one")
        names = [item.name or str(index) for index, item in enumerate(series)]
        if self.config.task == "label":
            return self._label(series, names)
        if self.config.task == "classify":
            read = [self.requests.read(item, index) for index, item in enumerate(series)]
            found = [self._classify(one.batch)[0] for one in read]
            return [Classification(n, p, one.warnings) for n, p, one in zip(names, found, read, strict=True)]
        batch, own, said = self._read(series)
        with torch.inference_mode():
            raw_BHCP = self._outputs(batch)
        values_BHCQ, mean_BHC, more = self.told(raw_BHCP, own, levels)
        return [
            Forecast(name, times, values_BHCQ[b], warnings, mean_BHC[b], {p: v[b] for p, v in more.items()})
            for b, (name, (times, warnings)) in enumerate(zip(names, said, strict=True))
        ]

    def _read(self, series: Sequence[SeriesInput]) -> tuple[Batch, Own | None, list[tuple[NDArray, list[str]]]]:
        """Series to forecast as one batch, the units they are told in, and of each the times ahead and the warnings."""
        if together := read_sent(self.requests, series):
            ahead_H = self.schema.step * np.arange(1, self.config.window.horizon + 1)
            times = [self.schema.of_ticks(last + ahead_H) for last in together.histories.last_S]
            return together.batch, together.own, list(zip(times, together.warnings, strict=True))
        read = [self.requests.read(item, index) for index, item in enumerate(series)]
        parts = {part: np.concatenate([vars(one.batch)[part] for one in read]) for part in vars(read[0].batch)}
        own = beside([one.own for one in read if one.own is not None])
        return Batch(**parts), own, [(one.times, one.warnings) for one in read]

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


_MALFORMED = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    AssertionError,
    MemoryError,
)
"""What reading contents raises that hang together by their hashes, but that no policy was saved with."""


def _require_fitting(config: Config, schema: Schema, weights: Mapping[str, torch.Tensor]) -> None:
    """Raises ValueError where the weights are not the config's network's, before any memory is taken for that."""
    if max(config.model.layers, config.model.members or 1) > max(len(weights), 100):
        raise ValueError(f"the config asks for more layers or members than its {len(weights)} tensors can be of")
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in build(config, schema).state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if found != wanted:
        first = min(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
        raise ValueError(
            f"{WEIGHTS} does not hold the network of its config: '{first}' has shape {found.get(first)}, not "
            f"{wanted.get(first)}"
        )
    if unfit := [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]:
        raise ValueError(f"{WEIGHTS} holds NaN or infinity in '{min(unfit)}', so every answer would; train again")


def _kept(files: Files, file: str, content: Mapping[str, Any], of: Callable[..., Kept]) -> Kept | None:
    """What an optional file holds; None where the policy has none."""
    return of(arrays.load(files[file]), content[stored.part_of(file)]) if file in content["files"] else None
