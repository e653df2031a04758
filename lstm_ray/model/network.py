"""The LSTM that reads patches, normalises causally and answers at every origin. Knows nothing of data files or training.

Shapes: B sequences, T steps, N patches (or origins), p steps of a patch, C target channels, P past and K known inputs,
S categorical statics, G groups of channels that are read together (C of one each, or one of C), I inputs of one LSTM
step, D hidden size, H horizon, Q quantiles, R responses. Inside, patches come first: [N, B, G, ...].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lstm_ray.config import Config
from lstm_ray.data.schema import Scaler, Schema
from lstm_ray.model import distributions
from lstm_ray.model.body import Body
from lstm_ray.model.classifier import Classifier
from lstm_ray.model.difference import Difference
from lstm_ray.model.ensemble import Ensemble
from lstm_ray.model.heads import Level, ascending, bounded, parameters, spread, stacked
from lstm_ray.model.highway import Highway
from lstm_ray.model.inputs import Categories, patches, statistics, steps_since_observed
from lstm_ray.model.kernels import KernelRidge
from lstm_ray.model.labeller import Labeller
from lstm_ray.model.recall import Lags, Recall
from lstm_ray.model.views import kinds, members, solved_alone

__all__ = ["Classifier", "Ensemble", "Forecaster", "Inputs", "KernelRidge", "Labeller", "build"]
RESPONSES = 8
"""Ways in which the state may weigh the known inputs of a horizon step."""
FEW_KNOWN = 2 * RESPONSES
"""Known inputs up to which it is cheaper to read them all at each lead than to project them first."""
Part = tuple[int, int]
"""The first patch of a part of a sequence, and the one after its last."""


class Inputs(NamedTuple):
    """A batch as tensors, scaled: ``windows.Batch`` without the origins' weights."""

    target_BTC: Tensor
    observed_BTC: Tensor
    past_BTP: Tensor
    known_BTK: Tensor


class Forecaster(nn.Module):
    """Forecasts at every origin: one pass over T = L + (N - 1) p + H steps answers N windows (MQ-RNN's forking
    sequences, Wen et al. 2017), reading patches (Nie et al. 2023) with one set of weights for all channels, or all
    channels at once."""

    zero_C: Tensor
    unit_C: Tensor
    spread_C: Tensor

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        window, model = config.window, config.model
        self.history, self.horizon, self.patch = window.history, window.horizon, window.patch
        self.normalisation, self.normalisation_steps = model.normalisation, model.normalisation_steps or window.history
        # As what is read is normalised: values, or their changes, which have no level.
        self.read_as: str = model.normalisation
        self.read_steps = self.normalisation_steps
        if model.difference is not None:
            self.read_as = "size" if model.normalisation == "mean_deviation" else "none"
            self.read_steps = min(self.normalisation_steps, window.history - model.difference)
        self.scales = self.read_as in ("mean_deviation", "size")
        self.difference = Difference(config, len(schema.target)) if model.difference is not None else None
        self.output, self.distribution = model.output, model.distribution
        self.quantiles = model.quantiles or [0.5]
        self.num_parameters = (
            distributions.NUM_PARAMETERS[self.distribution] if self.distribution else len(self.quantiles)
        )
        self.joint = model.channels == "joint"
        group = len(schema.target) if self.joint else 1
        shared = window.patch * (len(schema.past) + schema.num_known)
        self.categories = Categories(schema.categories) if schema.categories else None
        own = (2 + 2 * len(window.lags)) * window.patch + 3
        num_inputs = group * own + shared + (self.categories.width if self.categories else 0)
        self.body = Body(num_inputs, config)
        num_rows = group * self.num_parameters
        self.head = nn.Linear(self.body.width, num_rows * window.horizon)
        self.highway = Highway(config) if model.linear != "none" else None
        # The newest patch also reaches every lead directly, as a linear map (the autoregressive highway of Lai et al. 2018):
        # the state alone blurs the last value, which the first steps of a forecast hang on. A linear map of the whole
        # history makes that of the target needless.
        self.newest = None
        if self.highway is None or schema.past:
            self.newest = nn.Linear(num_inputs, num_rows * window.horizon, bias=False)
            nn.init.zeros_(self.newest.weight)
        self.respond = nn.Linear(self.body.width, num_rows * RESPONSES) if schema.num_known else None
        self.known = nn.Linear(schema.num_known, RESPONSES, bias=False) if schema.num_known else None
        self.recall = Recall(self.body.width, num_rows, config) if window.lags else None
        self.register_buffer("zero_C", torch.zeros(len(schema.target)))
        self.register_buffer("unit_C", torch.ones(len(schema.target)))
        self.register_buffer("spread_C", torch.ones(len(schema.target)))

    def set_units(self, scaler: Scaler) -> None:
        """Learn where the target's own units lie in scaled ones, for ``model.output`` and counts are meant in the former, and
        how long a training deviation is there."""
        zero_C, unit_C = (torch.from_numpy(numbers) for numbers in scaler.units("target"))
        self.zero_C.copy_(-zero_C / unit_C)
        self.unit_C.copy_(1 / unit_C)
        self.spread_C.copy_(torch.from_numpy(scaler.spread("target")))

    def forward(
        self,
        target_BTC: Tensor,
        observed_BTC: Tensor,
        past_BTP: Tensor,
        known_BTK: Tensor,
        category_BS: Tensor | None = None,
        *,
        part: Part | None = None,
        state: Tensor | None = None,
        newest: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Scaled inputs to the head's outputs [B, N, H, C, Q]; ``forecast`` makes quantiles of them. The last ``horizon``
        steps are read from ``known`` alone.

        Args:
            known_BTK: known and static columns, the calendar, and those of ``data.lags``.
            category_BS: int64 codes of the categorical statics; None: all unseen.
            part: read these patches alone and answer at the origins among them. Levels are still measured over what lies
                before the part, so its parts together answer as the whole does.
            state: [2, layers, B G, D] that the part before left, detached or not; None: zeros.
            newest: answer at the last origin alone.

        Returns:
            Outputs; with ``part`` also the state that the next part goes on from. With a distribution, its parameters
            take the place of Q.
        """
        seen = target_BTC.shape[1] - self.horizon
        assert seen % self.patch == 0, f"{seen} steps are no whole number of patches"
        assert seen >= self.history, f"{seen} steps are less than the history"
        begin, end = part or (0, seen // self.patch)
        lags = None
        if self.recall is not None:
            known_BTK, lags = self.recall.split(known_BTK, len(self.zero_C), self.difference)
        columns = Inputs(target_BTC[:, :seen], observed_BTC[:, :seen], past_BTP, known_BTK)
        inputs_NBGI, level_NBC1, scale_NBC1 = self._inputs(columns, lags, category_BS, begin, end)
        # The first answered origin's patch, as this part counts.
        first = end - begin - 1 if newest else max(0, self.history // self.patch - 1 - begin)
        states_NBD, new_state = self.body(inputs_NBGI.flatten(1, 2), state=state, first=first)
        states_NBGD = states_NBD.unflatten(1, inputs_NBGI.shape[1:3])
        after = slice((begin + first + 1) * self.patch, None)
        raw_NBCPH = self._decode(states_NBGD, inputs_NBGI[first:], known_BTK[:, after])
        at = Level(
            level_NBC1[first:],
            None if scale_NBC1 is None else scale_NBC1[first:],
            self.zero_C[:, None],
            self.unit_C[:, None],
            self.spread_C[:, None],
        )
        if self.recall is not None and lags is not None:
            lags = Lags(*(part[:, after] for part in lags))
            raw_NBCPH = self.recall(raw_NBCPH, states_NBGD, lags, at.level, at.scale)
        # Each origin's history, the first of which ends with the first origin's patch.
        origin = begin + first + 1 - self.history // self.patch
        read_BTC = target_BTC[:, origin * self.patch : seen]
        if self.highway is not None and self.difference is None:
            raw_NBCPH = self._with_linear(raw_NBCPH, self.highway, read_BTC, at.level, at.scale)
        if self.difference is not None:
            found_NBCPH = self._values(raw_NBCPH, self.difference, read_BTC, at)
        elif self.distribution is not None:
            found_NBCPH = parameters(self.distribution, raw_NBCPH, at)
        else:
            found_NBCPH = ascending(raw_NBCPH, self.quantiles.index(0.5), at, self.output)
        found_BNHCP = found_NBCPH.permute(1, 0, 4, 2, 3)
        return found_BNHCP if part is None else (found_BNHCP, new_state)

    def advance(
        self,
        target_BTC: Tensor,
        observed_BTC: Tensor,
        past_BTP: Tensor,
        known_BTK: Tensor,
        category_BS: Tensor | None = None,
        *,
        part: Part,
        state: Tensor | None = None,
    ) -> Tensor:
        """The state that ``forward`` leaves after a part, which answers nothing: whole patches may be fewer than the history,
        and no horizon follows them."""
        lags = None
        if self.recall is not None:
            known_BTK, lags = self.recall.split(known_BTK, len(self.zero_C), self.difference)
        columns = Inputs(target_BTC, observed_BTC, past_BTP, known_BTK)
        inputs_NBGI, _, _ = self._inputs(columns, lags, category_BS, *part)
        after: Tensor = self.body(inputs_NBGI.flatten(1, 2), state=state)[1]
        return after

    def forecast(self, raw_BNHCP: Tensor, levels: Sequence[float] | None = None) -> Tensor:
        """Outputs to scaled quantile forecasts [B, N, H, C, Q]; the median alone where no quantiles are asked for.

        Args:
            levels: of a distribution's quantiles; None: ``model.quantiles``. Quantiles that were learned are those alone.
        """
        if self.distribution is None:
            assert levels is None or list(levels) == self.quantiles, f"learned {self.quantiles}, not {levels}"
            return raw_BNHCP
        found_BNHCQ = distributions.quantiles(self.distribution, raw_BNHCP, levels or self.quantiles)
        if self.distribution == "negative_binomial":
            return self.zero_C[:, None] + found_BNHCQ * self.unit_C[:, None]
        return found_BNHCQ

    def mean(self, raw_BNHCP: Tensor) -> Tensor:
        """Of the distribution of the outputs, scaled, [B, N, H, C] (model.distribution)."""
        assert self.distribution is not None, "quantiles alone have no mean of their own"
        # Every distribution here is told by its mean first; above two degrees of freedom, Student's t has its location's.
        mean_BNHC = raw_BNHCP[..., 0].float()
        return self.zero_C + mean_BNHC * self.unit_C if self.distribution == "negative_binomial" else mean_BNHC

    def negative_log_likelihood(self, raw_BNHCP: Tensor, actual_BNHC: Tensor) -> Tensor:
        """Of scaled values under the distribution of the outputs, [B, N, H, C] (model.distribution)."""
        assert self.distribution is not None, "without a distribution nothing has a likelihood"
        if self.distribution == "negative_binomial":
            actual_BNHC = ((actual_BNHC - self.zero_C) / self.unit_C).round()
        return distributions.negative_log_likelihood(self.distribution, raw_BNHCP, actual_BNHC)

    def futures(self, values_BTC: Tensor) -> Tensor:
        """The H steps after each origin: [B, T, C] -> [B, N, H, C], as a view in which steps lie side by side."""
        after_BCT = values_BTC[:, self.history :].transpose(1, 2).contiguous()
        return after_BCT.unfold(2, self.horizon, self.patch).permute(0, 2, 3, 1)

    def _inputs(
        self,
        columns: Inputs,
        lags: Lags | None,
        category_BS: Tensor | None,
        begin: int,
        end: int,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """What the LSTM reads at patches ``begin`` to ``end``, [N, B, G, I], and level and scale there, [N, B, C, 1].

        Of each channel: its values (or changes) without their level, which were observed, level, scale, how long ago the
        last one was observed, and lags. Of all: past, known and static inputs.
        """
        if self.difference is not None:
            target_BTC, observed_BTC = self.difference(columns.target_BTC, columns.observed_BTC)
            columns = columns._replace(target_BTC=target_BTC, observed_BTC=observed_BTC)
        # Changes are read in units of a typical one.
        usual = self.spread_C if self.difference is None else 1.0
        level_BNC, scale_BNC = statistics(columns.target_BTC, self.patch, self.read_as, self.read_steps, usual)
        since_BNC = steps_since_observed(columns.observed_BTC, self.patch, self.history)
        level_NBC1, scale_NBC1, since_NBC1 = (
            values[:, begin:end].transpose(0, 1)[..., None] for values in (level_BNC, scale_BNC, since_BNC)
        )
        target_NBpC, observed_NBpC, past_NBpP, known_NBpK = (patches(part, self.patch, begin, end) for part in columns)
        normal_NBCp = target_NBpC.transpose(2, 3) - level_NBC1
        if self.scales:
            normal_NBCp = normal_NBCp / scale_NBC1
        own = [normal_NBCp, observed_NBpC.transpose(2, 3), level_NBC1, scale_NBC1.log(), since_NBC1.log1p()]
        if self.recall is not None and lags is not None:
            own += self.recall.inputs(lags, (begin, end), level_NBC1, scale_NBC1 if self.scales else None)
        own_NBGI = torch.cat(own, -1)
        if self.joint:
            own_NBGI = own_NBGI.flatten(2)[:, :, None]
        shared = [past_NBpP.flatten(2), known_NBpK.flatten(2)]
        if self.categories is not None:
            static_BI = self.categories(category_BS, columns.target_BTC.shape[0])
            shared.append(static_BI.expand(end - begin, -1, -1))
        groups = own_NBGI.shape[2]
        inputs_NBGI = torch.cat([own_NBGI, *(part[:, :, None].expand(-1, -1, groups, -1) for part in shared)], -1)
        return inputs_NBGI, level_NBC1, scale_NBC1 if self.scales else None

    def _decode(self, states_NBGD: Tensor, newest_NBGI: Tensor, known_BTK: Tensor) -> Tensor:
        """Raw outputs [N, B, C, P, H]. ``known`` begins with the step after the first origin."""
        start: Tensor = self.head.bias
        if self.newest is not None:
            start = functional.linear(newest_NBGI.flatten(0, 2), self.newest.weight, start)
        raw = torch.addmm(start, states_NBGD.flatten(0, 2), self.head.weight.T)
        rows = raw.shape[1] // self.horizon * states_NBGD.shape[2]
        raw_NBMH = raw.view(*states_NBGD.shape[:2], rows, self.horizon)
        if self.known is not None and self.respond is not None:
            raw_NBMH = self._respond(raw_NBMH, states_NBGD, known_BTK)
        return raw_NBMH.unflatten(2, (rows // self.num_parameters, self.num_parameters))

    def _values(self, raw_NBCPH: Tensor, difference: Difference, target_BTC: Tensor, at: Level) -> Tensor:
        """Changes added up to values, [N, B, C, P, H]: upon the newest values, or upon the linear map's."""
        rows = [difference.added_up(one) for one in spread(raw_NBCPH, self.quantiles.index(0.5), at)]
        middle_NBCH = rows[self.quantiles.index(0.5)]
        if self.highway is None:
            windows_BNCL = target_BTC.unfold(1, self.history, self.patch)[:, : len(raw_NBCPH)]
            at, away_NBCH = at._replace(level=difference.repeated(windows_BNCL.transpose(0, 1))), middle_NBCH
        else:
            level_BNC, scale_BNC = statistics(
                target_BTC, self.patch, self.normalisation, self.normalisation_steps, self.spread_C
            )
            first = self.history // self.patch - 1
            here = slice(first, first + len(raw_NBCPH))
            level, scale = (part[:, here].transpose(0, 1)[..., None] for part in (level_BNC, scale_BNC))
            at = at._replace(level=level)
            away_NBCH = self.highway(middle_NBCH / scale, target_BTC, level, scale) * scale
        return stacked([bounded(away_NBCH + (row - middle_NBCH), at, self.output) for row in rows])

    def _with_linear(
        self, raw_NBCPH: Tensor, highway: Highway, target_BTC: Tensor, level_NBC1: Tensor, scale_NBC1: Tensor | None
    ) -> Tensor:
        """The highway moves the median, or a distribution's location; the other rows are told from there."""
        row = 0 if self.distribution else self.quantiles.index(0.5)
        rows = list(raw_NBCPH.unbind(-2))
        rows[row] = highway(rows[row], target_BTC, level_NBC1, scale_NBC1)
        return rows[row].unsqueeze(-2) if len(rows) == 1 else torch.stack(rows, -2)

    def _respond(self, raw_NBMH: Tensor, states_NBGD: Tensor, known_BTK: Tensor) -> Tensor:
        """Adds to each lead what the state makes of the inputs known at that step; rows M are channels and parameters.

        The answer is linear in the known inputs, so few of them are read as they are, the map to R responses applied to
        the state instead: nothing then flows back through the futures, which overlap H / p times.
        """
        assert self.known is not None
        assert self.respond is not None
        weight_NBMR = self.respond(states_NBGD).view(*raw_NBMH.shape[:3], RESPONSES)
        if known_BTK.shape[2] <= FEW_KNOWN:
            weight_NBMR, known_BTR = weight_NBMR @ self.known.weight, known_BTK
        else:
            known_BTR = self.known(known_BTK)
        # One pass for each input over a view: the futures side by side would be R times the outputs' size.
        known_BRNH = known_BTR.transpose(1, 2).contiguous().unfold(2, self.horizon, self.patch)[:, :, : len(raw_NBMH)]
        for weight_NBM, known_BNH in zip(weight_NBMR.unbind(-1), known_BRNH.unbind(1), strict=True):
            raw_NBMH = raw_NBMH.addcmul(weight_NBM[..., None], known_BNH.transpose(0, 1)[:, :, None])
        return raw_NBMH


Network = Forecaster | Classifier | Labeller | KernelRidge | Ensemble
"""Called alike, but for an ensemble in training, which answers once for each member."""
KINDS: dict[str, type[Forecaster | Classifier | Labeller]] = {
    "forecast": Forecaster,
    "classify": Classifier,
    "label": Labeller,
}
"""By task."""


def build(config: Config, schema: Schema) -> Network:
    """The network of a config, its weights drawn from the config's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        networks = [
            (KernelRidge if solved_alone(view) else KINDS[config.task])(view, schema) for view in members(config)
        ]
        return networks[0] if len(networks) == 1 else Ensemble(networks, kinds(config))


def forecaster(network: nn.Module) -> Forecaster:
    """What knows the windows of a network that forecasts: itself, or any member."""
    found = network.members[0] if isinstance(network, Ensemble) else network
    assert isinstance(found, Forecaster), f"{type(found).__name__} does not forecast"
    return found


def single(network: nn.Module) -> list[nn.Module]:
    """The networks of which each has weights of its own: the members, or the one there is."""
    return list(network.members) if isinstance(network, Ensemble) else [network]
