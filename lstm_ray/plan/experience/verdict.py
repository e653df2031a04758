"""Whether synthetic experience helped: base, control and mixed policies on validation, over several seeds. Plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray import figure
from lstm_ray.config import Config
from lstm_ray.evaluate.choosing.candidates import metric_of
from lstm_ray.evaluate.choosing.validation import dependence
from lstm_ray.evaluate.paired import Paired, over_blocks, over_cases, over_times
from lstm_ray.figure import Figure

SIGNIFICANT = 0.05
CONTROL, MIXED = "more real training", "real and synthetic"


@dataclass(frozen=True)
class Scored:
    """What one retrained policy got wrong on the validation part, case by case (``evaluate.validation.Errors``)."""

    metrics: Mapping[str, float]
    error_M: NDArray
    step_M: NDArray
    count_M: NDArray
    """Measured values of each case."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of retraining with synthetic sequences and without."""

    metric: str
    base: float
    """The policy as it was trained."""
    controls: list[float]
    """Retrained on real sequences alone, a value for each seed."""
    mixeds: list[float]
    """Retrained for as many steps of the same size with synthetic sequences among them, by the same seeds."""
    seeds: list[int]
    """The first is the config's own: where synthetic experience is kept, its mixed policy goes on."""
    num_synthetic: dict[str, int]
    """Sequences by kind."""
    num_steps: int
    """Optimiser steps of each retraining."""
    paired: Paired
    """The control's errors less the mixed policy's, both averaged over seeds, case by case."""

    @property
    def control(self) -> float:
        return float(np.mean(self.controls))

    @property
    def mixed(self) -> float:
        return float(np.mean(self.mixeds))

    @property
    def against(self) -> list[str]:
        """What speaks against keeping it; nothing where it is kept."""
        found = []
        if not self._better(self.mixed, self.base):
            found.append("it is no better than the policy as trained")
        if not self._better(self.mixed, self.control):
            found.append("it is no better than as many steps on real sequences alone")
        elif self.paired.p >= SIGNIFICANT:
            found.append(f"so small a gain may be luck (p is not below {SIGNIFICANT:g})")
        if not found and not self._better(self.mixeds[0], self.base):
            found.append(
                f"the policy that would go on, of seed {self.seeds[0]}, is no better than the policy as trained "
                f"({_number(self.mixeds[0])})"
            )
        return found

    @property
    def kept(self) -> bool:
        return not self.against

    @property
    def told(self) -> str:
        return "kept" if self.kept else "dropped, no gain" if self.is_no_gain else "dropped"

    @property
    def brief(self) -> str:
        """The verdict for a summary."""
        return (
            f"synthetic experience {self.told}: validation {self.metric} {_number(self.base)} before, {_number(self.mixed)} "
            f"with it, {_number(self.control)} after as much training without (p {self.paired.p:.2g})."
        )

    @property
    def words(self) -> str:
        kinds = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in self.num_synthetic.items())
        wins = sum(self._better(m, c) for m, c in zip(self.mixeds, self.controls, strict=True))
        found, plural = self.paired, "s" * (len(self.seeds) > 1)
        low_high = (
            f"90 % interval of the fall {found.interval[0]:+.3g} to {found.interval[1]:+.3g}, "
            if found.interval
            else ""
        )
        because = f" - dropped because {' and '.join(self.against)}" if self.against else ""
        return (
            f"Synthetic experience {self.told}: validation {self.metric} {_number(self.base)} before, {_number(self.mixed)} "
            f"after {self.num_steps:,} steps with synthetic sequences ({kinds}) and {_number(self.control)} after as many on "
            f"real ones alone, means of {len(self.seeds)} seed{plural} of which {wins} gained; the {self.unit} "
            f"{'falls' if found.gain >= 0 else 'rises'} by {abs(found.gain):.3g} ({low_high}one-sided p {found.p:.2g}, "
            f"{found.test}, {found.num:,} {self.cases}){because}."
        )

    @property
    def is_no_gain(self) -> bool:
        """Whether one of the others is as good by the plain numbers."""
        return not self._better(self.mixed, min(self.base, self.control, key=self._cost))

    @property
    def unit(self) -> str:
        """What the gain is measured in."""
        return "error" if self.metric == "mae" else "share of wrong answers"

    @property
    def cases(self) -> str:
        """What the test counts."""
        return {"Diebold-Mariano": "origin times", "paired t over blocks of time": "blocks"}.get(
            self.paired.test, "sequences"
        )

    def as_dict(self) -> dict[str, Any]:
        facts = {"kept": self.kept, "control": self.control, "mixed": self.mixed, "against": self.against}
        return asdict(self) | facts | {"words": self.words}

    def table(self) -> dict[str, Any]:
        columns = ["policy", f"validation {self.metric}", *(f"seed {seed}" for seed in self.seeds)]
        rows = [["base, as trained", self.base, *[None] * len(self.seeds)]]
        rows += [[CONTROL, self.control, *self.controls], [MIXED, self.mixed, *self.mixeds]]
        caption = (
            f"Kept only where it beats both others and a paired test on the same cases says that it is no luck (p below "
            f"{SIGNIFICANT:g}; here {self.paired.p:.2g})."
        )
        best = 2 if self.kept else 0
        return {"title": "Before and after", "columns": columns, "rows": rows, "caption": caption, "best": best}

    def picture(self) -> Figure:
        """Each seed's control and mixed policy beside the base; where errors are the metric, the gain's interval too."""
        base = [self.base, self.base]
        arms = {CONTROL: self.controls, MIXED: self.mixeds}
        traces: list[dict[str, Any]] = [
            {
                "type": "scatter",
                "mode": "lines",
                "x": [CONTROL, MIXED],
                "y": figure.plain(base),
                "name": "base, as trained",
            }
        ]
        for turn, seed in enumerate(self.seeds):
            y = [values[turn] for values in arms.values()]
            named = {"name": f"seed {seed}", "x": list(arms), "y": figure.plain(y)}
            traces.append({"type": "scatter", "mode": "lines+markers", **named})
        if self.metric == "mae" and self.paired.interval is not None:
            gain, (low, high) = self.paired.gain, self.paired.interval
            reach = {"type": "data", "array": [gain - low], "arrayminus": [high - gain]}
            name, point = "control less the gain, with its 90 % interval", figure.plain([self.control - gain])
            traces.append(
                {"type": "scatter", "mode": "markers", "x": [MIXED], "y": point, "error_y": reach, "name": name}
            )
        return Figure(
            id="before-after",
            title="Before and after synthetic experience",
            caption=self.words,
            traces=traces,
            layout={"yaxis": {"title": {"text": f"validation {self.metric}"}}},
        )

    def _cost(self, value: float) -> float:
        return value if self.metric == "mae" else -value

    def _better(self, value: float, than: float) -> bool:
        return self._cost(value) < self._cost(than)


def decide(
    config: Config,
    base: Mapping[str, float],
    controls: Sequence[Scored],
    mixeds: Sequence[Scored],
    seeds: Sequence[int],
    num_synthetic: Mapping[str, int],
    num_steps: int,
) -> Verdict:
    """The verdict from what both arms got wrong, by seed."""
    metric = metric_of(config.answers)
    return Verdict(
        metric=metric,
        base=base[metric],
        controls=[one.metrics[metric] for one in controls],
        mixeds=[one.metrics[metric] for one in mixeds],
        seeds=list(seeds),
        num_synthetic=dict(num_synthetic),
        num_steps=num_steps,
        paired=compared(controls, mixeds, config),
    )


def compared(controls: Sequence[Scored], mixeds: Sequence[Scored], config: Config) -> Paired:
    """The task's paired test of errors averaged over seeds, case by case, with the seeds' own spread."""
    cases = mixeds[0]
    assert all(np.array_equal(one.step_M, cases.step_M) for one in (*controls, *mixeds)), "pairs are of the same cases"
    gain_NM = np.stack([c.error_M - m.error_M for c, m in zip(controls, mixeds, strict=True)])
    gain_M, count_M = gain_NM.mean(0), cases.count_M
    if config.task == "classify":
        found = over_cases(gain_M, len(mixeds))
    elif config.task == "label":
        found = over_blocks(gain_M, cases.step_M, dependence(config))
    else:
        found = over_times(gain_M, cases.step_M, config.window.horizon, count_M)
    return found.over_tries(gain_NM @ count_M / count_M.sum())


def _number(value: float) -> str:
    return f"{value:.4g}"
