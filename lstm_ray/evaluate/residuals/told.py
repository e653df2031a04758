"""Everything that errors of the test part show beyond their size, in order. Knows a view and what forecasts."""

from __future__ import annotations

from collections.abc import Mapping

from lstm_ray.evaluate.forecasts.view import View
from lstm_ray.evaluate.gather import Forecaster
from lstm_ray.evaluate.residuals import bias, dependence, shape, spread, worst
from lstm_ray.evaluate.residuals.sample import FEWEST_SERIES, apart, sampled
from lstm_ray.evaluate.told import Told


def told(view: View, forecasters: Mapping[str, Forecaster], distribution: str | None) -> Told:
    """Sentences, figures and numbers.

    Args:
        distribution: of the policy's head (model.distribution).
    """
    whole, few = sampled(view, forecasters), apart(view, forecasters)
    parts = [
        worst.told(view, forecasters),
        bias.told(view, whole),
        spread.told(view, whole, few),
        shape.told(view, whole, few, distribution),
        dependence.told(view),
    ]
    if len(whole.names) >= FEWEST_SERIES:
        # scikit-learn takes half a second to import, and few series need none of it.
        from lstm_ray.evaluate.residuals import alike

        parts.append(alike.told(view, whole))
    return Told(
        "Where it errs",
        [finding for part in parts for finding in part.findings],
        [figure for part in parts for figure in part.figures],
        details={name: value for part in parts for name, value in part.details.items()},
    )
