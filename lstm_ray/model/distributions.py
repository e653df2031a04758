"""Distributions that a network learns the parameters of: their likelihoods and their quantiles. Knows no network.

A parameter tensor has its parameters on the last axis:
gaussian: mean, deviation; student_t: location, scale, degrees of freedom; negative_binomial: mean, dispersion, of counts.
Location and scale come in the units of the values; the negative binomial speaks of counts, whatever the network scales.
Its variance is mean + dispersion * mean^2, as in DeepAR (Salinas et al. 2020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import torch
from torch import Tensor
from torch.nn import functional

NORMAL = NormalDist()
NUM_PARAMETERS = {"gaussian": 2, "student_t": 3, "negative_binomial": 2}
MIN_FREEDOM = 2.1
"""Smallest degrees of freedom of Student's t: above 2 the variance is finite, and Hill's quantiles are good to 1e-3."""
MIN_SPREAD = 1e-3
"""Smallest scale (in training deviations), mean count and dispersion: likelihoods must not run off on repeated values."""
COUNTED = 256
"""Counts below this are added up one by one; beyond, closed forms are exact to 1e-4 of probability."""
GAMMA_LIKE = 8.0
"""Shape (1 / dispersion) below which a large count is a gamma variable, and above which nearly a normal one."""


def positive(raw: Tensor) -> Tensor:
    """A raw output as a scale, dispersion or count: above MIN_SPREAD, smoothly."""
    return functional.softplus(raw) + MIN_SPREAD


def negative_log_likelihood(name: str, parameters: Tensor, actual: Tensor) -> Tensor:
    """Minus the logarithm of the density (probability, of counts) of each value.

    Args:
        parameters: [..., P].
        actual: [...] in the parameters' units: counts for ``negative_binomial``.

    Returns:
        [...] in nats, float32 whatever the inputs.
    """
    found = parameters.float().unbind(-1)
    if name == "gaussian":
        mean, deviation = found
        return ((actual - mean) / deviation).square() / 2 + deviation.log() + math.log(2 * math.pi) / 2
    if name == "student_t":
        location, scale, freedom = found
        squared = ((actual - location) / scale).square()
        normaliser = torch.lgamma(freedom / 2) - torch.lgamma((freedom + 1) / 2) + (math.pi * freedom).log() / 2
        return normaliser + scale.log() + (freedom + 1) / 2 * torch.log1p(squared / freedom)
    # Log-gammas of a million differ by less than float32 can tell.
    mean, dispersion = (parameter.double() for parameter in found)
    count, shape = actual.double().clamp_min(0), 1 / dispersion
    odds = (dispersion * mean).log()
    log_one_plus = torch.log1p(dispersion * mean)
    combinations = torch.lgamma(count + shape) - torch.lgamma(count + 1) - torch.lgamma(shape)
    return (shape * log_one_plus - combinations - count * (odds - log_one_plus)).float()


def quantiles(name: str, parameters: Tensor, levels: Sequence[float]) -> Tensor:
    """Quantiles [..., Q] of parameters [..., P] at ascending levels, ascending; whole numbers for counts."""
    if name == "negative_binomial":
        return _count_quantiles(parameters, levels)
    found = parameters.float().unbind(-1)
    if name == "gaussian":
        standard_Q = torch.tensor([NORMAL.inv_cdf(level) for level in levels]).to(found[0])
        return found[0][..., None] + found[1][..., None] * standard_Q
    deviates = torch.stack([_student_quantile(found[2], level) for level in levels], -1)
    return found[0][..., None] + found[1][..., None] * deviates


def _student_quantile(freedom: Tensor, level: float) -> Tensor:
    """Quantile of Student's t by Hill's expansion (1970, algorithm 396): 1e-3 at MIN_FREEDOM, far better above."""
    if level == 0.5:
        return torch.zeros_like(freedom)
    tails = 2 * min(level, 1 - level)
    n = freedom.double()
    a = 1 / (n - 0.5)
    b = 48 / a.square()
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * (a * math.pi / 2).sqrt() * n
    far = (d * tails) ** (2 / n)
    # Near the centre, an expansion about the normal deviate; in the tails, one about the tail's power law.
    x = NORMAL.inv_cdf(tails / 2)
    c = c + torch.where(n < 5, 0.3 * (n - 4.5) * (x + 0.6), torch.zeros_like(n))
    c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
    centre = (((((0.4 * x * x + 6.3) * x * x + 36) * x * x + 94.5) / c - x * x - 3) / b + 1) * x
    near = torch.expm1(a * centre.square())
    power = 1 / (((n + 6) / (n * far) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)
    tail = (power * far - 1) * (n + 1) / (n + 2) + 1 / far
    size = (n * torch.where(far > a + 0.05, near, tail)).sqrt().to(freedom.dtype)
    return size if level > 0.5 else -size


def _count_quantiles(parameters: Tensor, levels: Sequence[float]) -> Tensor:
    """Smallest counts whose cumulative probability reaches each level, [..., Q].

    Counts below COUNTED are added up exactly; those beyond are found by bisection of a closed form, 1e-4 of probability
    exact: within a hundredth of a deviation.
    """
    mean_M, dispersion_M = (parameter.flatten().double() for parameter in parameters.unbind(-1))
    shape_M = 1 / dispersion_M
    chance_M = 1 / (1 + dispersion_M * mean_M)
    at_Q = torch.tensor(levels, dtype=torch.float64, device=mean_M.device)
    edge_M = _cumulative(torch.full_like(mean_M, COUNTED - 1), shape_M, chance_M)
    found_MQ = torch.zeros(len(mean_M), len(levels), dtype=torch.float64, device=mean_M.device)
    few_M = edge_M >= at_Q.min()
    if few_M.any():
        found_MQ[few_M] = _counted(shape_M[few_M], chance_M[few_M], at_Q)
    many_M = edge_M < at_Q.max()
    if many_M.any():
        bisected_MQ = _bisected(mean_M[many_M], shape_M[many_M], chance_M[many_M], at_Q)
        beyond_MQ = edge_M[many_M, None] < at_Q
        found_MQ[many_M] = torch.where(beyond_MQ, bisected_MQ, found_MQ[many_M])
    return found_MQ.to(parameters.dtype).unflatten(0, parameters.shape[:-1])


def _counted(shape_M: Tensor, chance_M: Tensor, at_Q: Tensor) -> Tensor:
    """How many counts below COUNTED have a cumulative probability below each level: the quantile, where it is that small."""
    probability_M = (shape_M * chance_M.log()).exp()
    cumulative_M = probability_M.clone()
    found_MQ = torch.zeros(len(shape_M), len(at_Q), dtype=torch.float64, device=shape_M.device)
    for count in range(COUNTED - 1):
        below_MQ = cumulative_M[:, None] < at_Q
        if not below_MQ.any():
            break
        found_MQ += below_MQ
        probability_M = probability_M * (1 - chance_M) * (count + shape_M) / (count + 1)
        cumulative_M = cumulative_M + probability_M
    return found_MQ


def _bisected(mean_M: Tensor, shape_M: Tensor, chance_M: Tensor, at_Q: Tensor) -> Tensor:
    """Smallest count from COUNTED on that reaches each level, below Cantelli's bound on quantiles."""
    deviation_M = (mean_M / chance_M).sqrt()
    high_MQ = (mean_M[:, None] + deviation_M[:, None] * (at_Q / (1 - at_Q)).sqrt()).ceil().clamp_min(COUNTED)
    low_MQ = torch.full_like(high_MQ, COUNTED - 1)
    while bool((high_MQ - low_MQ > 1).any()):
        middle_MQ = ((low_MQ + high_MQ) / 2).floor()
        reached_MQ = _cumulative(middle_MQ, shape_M[:, None], chance_M[:, None]) >= at_Q
        high_MQ = torch.where(reached_MQ, middle_MQ, high_MQ)
        low_MQ = torch.where(reached_MQ, low_MQ, middle_MQ)
    return high_MQ


def _cumulative(count: Tensor, shape: Tensor, chance: Tensor) -> Tensor:
    """Probability of at most ``count``, for counts of some hundreds and more.

    A gamma distribution where the shape is small (Wise 1950), else Peizer & Pratt's normal one (1968): each is good to
    1e-4 of probability there, and neither is where the other is.
    """
    shape, chance = shape.expand_as(count), chance.expand_as(count)
    other = 1 - chance
    skew = 0.02 * (other / shape - chance / (count + 1) + (other - 0.5) / (count + shape + 1))
    distance = shape - 1 / 3 - (count + shape + 1 / 3) * chance + skew
    total = count + shape
    bend = 1 + other * _bend((shape - 0.5) / (total * chance)) + chance * _bend((count + 0.5) / (total * other))
    normal = torch.special.ndtr(-distance / ((total + 1 / 6) * chance * other).sqrt() * bend.clamp_min(0).sqrt())
    small = shape < GAMMA_LIKE
    if small.any():
        arrivals = -(count + (shape + 1) / 2) * torch.log1p(-chance)
        return torch.where(small, torch.special.gammainc(shape.clamp_max(GAMMA_LIKE), arrivals), normal)
    return normal


def _bend(ratio: Tensor) -> Tensor:
    """Peizer & Pratt's g; about 1, where its terms cancel, by its series."""
    ratio = ratio.clamp_min(1e-12)
    away = ratio - 1
    near = away.abs() < 1e-3
    exact = (1 - ratio.square() + 2 * ratio * ratio.log()) / torch.where(near, torch.ones_like(away), away).square()
    return torch.where(near, -away / 3 + away.square() / 6, exact)
