"""How widely the features separate the classes, and what linear classifiers need instead.

Source: part 3 of the proof of Theorem 5.1 and Section 6 of Brutzkus & Globerson 2021; companion
where said.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
import sympy as sp
import torch
from sklearn.svm import SVC
from torch import Tensor

from lib.maxpool.dynamics import Hyperparameters
from lib.maxpool.lemmas import Lottery
from lib.maxpool.subsets import outputs, ranking
from lib.maxpool.task import PatternTask


class Support(NamedTuple):
    """The distribution D over pattern sets, each (2^l,) by code."""

    labels: Tensor  # +1, -1, or 0 off the support
    chances: Tensor  # probabilities, with sum 1


def support(
    task: PatternTask, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
) -> Support:
    """Every pattern set, its label and its probability."""
    code = torch.arange(2**task.l, device=device)
    size = sum((code >> pattern) & 1 for pattern in range(2, task.l))
    one = (code & 1) - ((code >> 1) & 1)  # +1 or -1 where just one of o_1, o_2 is in
    labels = torch.where((size >= 1) & (size < task.n), one, 0).to(dtype)
    return Support(labels, labels.abs() * _chances(task).to(device, dtype)[size])


def _chances(task: PatternTask) -> Tensor:
    """The probability of one pattern set, by its number of spurious patterns 0, …, l - 2."""
    sets = [(0, *range(2, 2 + size)) for size in range(task.l - 1)]
    chances = [float(task.probability(1, chosen)) for chosen in sets]
    return torch.tensor(chances, dtype=torch.float64)


def support_margin(task: PatternTask, filters: Tensor, outer: Tensor) -> Tensor:
    """min y·N(x) over the whole support of D, (…,), by enumerating its pattern sets."""
    labels = support(task, dtype=filters.dtype, device=filters.device).labels
    table = outputs(ranking(filters, task.l), outer)
    return (labels * table)[..., labels != 0].amin(-1)


def exact_risk(task: PatternTask, filters: Tensor, outer: Tensor) -> Tensor:
    """P(sign N(x) ≠ y), (…,), exact up to rounding; sign(0) = -1, as in the paper."""
    labels, chances = support(task, dtype=filters.dtype, device=filters.device)
    positive = outputs(ranking(filters, task.l), outer) > 0
    return (chances * (positive != (labels > 0))).sum(-1)


def widest(task: PatternTask, filters: Tensor) -> Tensor:
    """max ‖z(x)‖² of the pooled features over the support of D, (…,)."""
    labels = support(task, device=filters.device).labels
    squares = outputs(ranking(filters, task.l), torch.ones_like(filters[..., 0]), power=2)
    return squares[..., labels != 0].amax(-1)


def real_complexity(task: PatternTask, filters: Tensor, outer: Tensor) -> Tensor:
    """‖a‖² max_x ‖z(x)‖², (…,): the theorem's bound is its root over √m, a with margin 1 on S_2.

    Does not change with the scale of the filters when ``outer`` is rescaled to margin 1.
    """
    return outer.square().sum(-1) * widest(task, filters)


def margin_vector(tickets: Lottery, hyper: Hyperparameters, d: int) -> Tensor:
    """The separator v* of the proof, (…, k): ±80d/(kη_1T_1) on lucky filters, 0 elsewhere.

    Where there are fewer patterns than dimensions, ``d`` may be their number l (companion).
    """
    size = 80 * d / (hyper.k * hyper.rate * hyper.steps)
    return size * (tickets.plus.to(torch.float64) - tickets.minus.to(torch.float64))


class Constants(NamedTuple):
    """Of part 3 of the proof, as expressions in d: the margin of v*, and ‖v*‖²‖z‖²."""

    margin: sp.Expr
    complexity: sp.Expr


def margin_constants(
    *,
    size: sp.Expr | int = 80,
    growth: sp.Expr | Fraction = Fraction(1, 10),
    leak: sp.Expr | Fraction = Fraction(1, 80),
    value: sp.Expr | int = 2,
) -> Constants:
    """The margin and complexity that lemmas with these constants give, all else cancelling.

    Lucky filters number between k/(4d) and k/d for each class; v* is ``size``·d/(kη_1T_1) on them;
    their overlap with their own pattern is at least ``growth``·η_1T_1 and with others at most
    ``leak``·η_1T_1; no channel exceeds ``value``·η_1T_1.
    """
    d, k, rate, steps = sp.symbols("d k eta_1 T_1", positive=True)
    growth, leak, value = (sp.sympify(constant) for constant in (growth, leak, value))
    outer, unit = size * d / (k * rate * steps), rate * steps
    margin = outer * (k / (4 * d) * growth * unit - k / d * leak * unit)
    complexity = 2 * (k / d) * outer**2 * k * (value * unit) ** 2
    return Constants(sp.simplify(margin), sp.simplify(complexity))


def max_margin_linear(task: PatternTask, *, dtype: torch.dtype = torch.float64) -> Tensor:
    """The min-norm w (n, d) such that y w·x ≥ 1 on D: o_1 - o_2 in each patch, so ‖w‖² = 2n.

    Source: companion, sharper than Proposition 6.1 (‖w‖² ≥ n).
    """
    w = torch.zeros(task.n, task.d, dtype=dtype)
    w[:, 0], w[:, 1] = 1, -1
    return w


def solved_margin(task: PatternTask, *, penalty: float = 1e6) -> float:
    """‖w‖² of the linear hard-margin classifier on every input of D, by scikit-learn.

    Its bias is free, and zero here.  Raises ValueError when D has more than 2^20 inputs.
    """
    which, y = task.points()
    x = task.patches(which).flatten(1).numpy()
    machine = SVC(kernel="linear", C=penalty, tol=1e-10).fit(x, y.numpy())
    return float(np.square(machine.coef_).sum())


def partial_luck(l: int, beaten: int, n: int) -> Fraction:  # noqa: E741
    """P(p_i(x) = o_1 | y = 1) for a filter on which ``beaten`` spurious patterns beat o_1.

    It is ((L - h)/L)^(n - 1) with L = l - 2 and w·o_1 > 0.  Raises ValueError unless 0 ≤ h ≤ L.
    Source: companion.
    """
    if not 0 <= beaten <= l - 2:
        raise ValueError(f"beaten = {beaten}: there are {l - 2} spurious patterns")
    return Fraction(l - 2 - beaten, l - 2) ** (n - 1)


def enumerated_luck(l: int, beaten: int, n: int) -> Fraction:  # noqa: E741
    """The same by looking at every positive input of the task."""
    which, y = PatternTask(l, l, n).points()
    positive = which[y > 0]
    won = ~((positive >= 2) & (positive < 2 + beaten)).any(-1)
    return Fraction(int(won.sum()), len(positive))
