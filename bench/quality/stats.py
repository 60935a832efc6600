"""The statistics of bench/search_quality."""

import math
import statistics


def mean_and_error(values):
    """The mean and its standard error; NaN where there are too few values."""
    if not values:
        return math.nan, math.nan
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return statistics.mean(values), error


def sign_test(wins, losses):
    """One-sided p: the chance of at least so many wins if both are equally good. Ties are left
    out."""
    n = wins + losses
    return sum(math.comb(n, k) for k in range(wins, n + 1)) / 2 ** n


def compare_pairs(pairs):
    """Of pairs (one, other) of the same seed: the difference one - other, its paired standard
    error, wins, ties, losses and the p of the sign test."""
    differences = [one - other for one, other in pairs]
    wins, losses = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    return (*mean_and_error(differences), wins, len(pairs) - wins - losses, losses,
            sign_test(wins, losses))


def kendall_tau(a, b):
    """tau-b, which counts ties; NaN if all values of one are equal."""
    concordant, untied_a, untied_b = 0, 0, 0
    for i, (x1, y1) in enumerate(zip(a, b)):
        for x2, y2 in zip(a[:i], b[:i]):
            p, q = (x1 > x2) - (x1 < x2), (y1 > y2) - (y1 < y2)
            concordant += p * q
            untied_a += p != 0
            untied_b += q != 0
    both = untied_a * untied_b
    return concordant / math.sqrt(both) if both else math.nan


def partial_tau(ab, ac, bc):
    """Kendall's partial correlation of a and b, given c (Kendall 1942), from the three taus."""
    rest = (1 - ac ** 2) * (1 - bc ** 2)
    return (ab - ac * bc) / math.sqrt(rest) if rest > 0 else math.nan


def best_of(choose_by, values, n):
    """The value to be expected of the best by `choose_by` of n cells, over all choices of n. Equal
    ones: the first is better."""
    order = sorted(range(len(values)), key=lambda i: -choose_by[i])
    n = min(n, len(order))
    return sum(math.comb(len(order) - 1 - better, n - 1) * values[i]
               for better, i in enumerate(order)) / math.comb(len(order), n)


def noise(rows):
    """What repeated trainings say of their own noise. A row is a cell, its values are those of
    seeds, the same for all cells. Two-way analysis of variance without interaction (Shrout and
    Fleiss 1979, case 3): what a seed does to all cells alike does not change their order, and
    counts neither here nor there.

    Gives the deviation between cells without noise, the deviation of one training, the share of
    the variance of a cell's mean that is not noise (reliability), the largest tau that a perfect
    score can be expected to have with these means, and that of the two trainings of a pair of
    seeds. The taus are those of normal values: tau = 2/pi asin(r) (Greiner 1909), where a perfect
    score has r = sqrt(reliability of the mean), and two trainings r = reliability of one."""
    n, k = len(rows), len(rows[0]) if rows else 0
    if n < 2 or k < 2:
        return None
    grand = statistics.mean(x for row in rows for x in row)
    cells = [statistics.mean(row) for row in rows]
    seeds = [statistics.mean(row[j] for row in rows) for j in range(k)]
    between = k * sum((c - grand) ** 2 for c in cells) / (n - 1)
    within = sum((x - cells[i] - seeds[j] + grand) ** 2
                 for i, row in enumerate(rows) for j, x in enumerate(row)) / ((n - 1) * (k - 1))
    variance = max(0.0, (between - within) / k)
    reliability = variance / (variance + within / k) if variance else 0.0
    single = variance / (variance + within) if variance else 0.0
    return {"cells": n, "seeds": k, "between": math.sqrt(variance), "within": math.sqrt(within),
            "reliability": reliability, "ceiling": 2 / math.pi * math.asin(math.sqrt(reliability)),
            "repeat": 2 / math.pi * math.asin(single)}
