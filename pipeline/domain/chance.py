"""How unlikely a count is: tails of the distributions that talk follows."""

from __future__ import annotations

from math import exp, lgamma, log, log1p


def negative_binomial_tail(at_least: float, mean: float, dispersion: float) -> float:
    """P(X ≥ at_least) for a negative binomial with variance mean + dispersion · mean².

    It is the regularised incomplete beta function I_p(at_least, 1/dispersion), with p =
    mean / (mean + 1/dispersion), by its continued fraction: quick, and exact where it is tiny.
    """
    if at_least <= 0:
        return 1.0
    size = 1.0 / dispersion
    if at_least < mean + 1.0:
        # The fraction converges fast in the tail it starts from: here that is the other one.
        below = _incomplete_beta(size, at_least, size, mean)
        return max(0.0, 1.0 - below)
    return min(1.0, _incomplete_beta(at_least, size, mean, size))


def _incomplete_beta(a: float, b: float, odds: float, against: float) -> float:
    """I_x(a, b) for x = odds / (odds + against), by Lentz's method (DLMF 8.17.22)."""
    x = odds / (odds + against)
    front = exp(
        lgamma(a + b)
        - lgamma(a)
        - lgamma(b)
        - a * log1p(against / odds)
        - b * log1p(odds / against)
    )
    if front == 0.0:
        return 0.0
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0))
    fraction = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        d = 1.0 / (1.0 + even * d)
        c = 1.0 + even / c
        fraction *= c * d
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        d = 1.0 / (1.0 + odd * d)
        c = 1.0 + odd / c
        fraction *= c * d
        if abs(c * d - 1.0) < 1e-12:
            break
    return front * fraction / a


def surprise(count: float, mean: float, dispersion: float) -> float:
    """How far beyond `mean` a count is: 0 at or below it.

    The likelihood ratio of the mean that fits `count` best against `mean`, as a logarithm. For
    the negative binomial exp(−surprise) is Chernoff's bound of P(X ≥ count); unlike the tail
    itself it costs two logarithms.
    """
    if count <= mean:
        return 0.0
    size = 1.0 / dispersion
    return count * log(count / mean) - (count + size) * log((count + size) / (mean + size))
