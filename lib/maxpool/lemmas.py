"""Each inequality of the proof of Theorem 5.1, as a slack that must not be negative.

Source: Brutzkus & Globerson 2021, Lemmas 5.2, 5.3, 5.5, C.1, C.2 and Corollary 5.4; a statement
marked companion is sharper than the paper's, with its proof in the chapter.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lib.maxpool.dynamics import Halves, Hyperparameters, State, lucky
from lib.maxpool.task import PatternTask

# What each slack is about, and its unit; all start at step 0 except those about growth per step.
STATEMENTS = {
    "fractions": "each class is at least 1/3 of S_1 (in units of 1)",
    "norms": "C.1: ‖w_i‖ ≤ η_1(t + 1) (of the bound)",
    "outputs": "C.2: |N| ≤ kη_1(t + 1), for every pattern set (of the bound)",
    "half": "C.2: |N| ≤ 1/2, for every pattern set (in units of 1)",
    "quarter": "companion: |N| ≤ 1/4, for every pattern set (in units of 1)",
    "growth_plus": "5.3(a): o_1·w_i ≥ tη_1/9 (in units of η_1)",
    "others_plus": "5.3(b): o_j·w_i ≤ r for j ≠ 1 (in units of r)",
    "winner_plus": "5.3(c), for every positive input: o_1 wins, with overlap > 0 (in units of η_1)",
    "growth_minus": "5.4: o_2·w_i ≥ tη_1/9 (in units of η_1)",
    "others_minus": "5.4: o_j·w_i ≤ r for j ≠ 2 (in units of r)",
    "winner_minus": "5.4, for every negative input: o_2 wins, with overlap > 0 (in units of η_1)",
    "values": "5.5: w_i·o_j ≤ 2η_1 t for t ≥ 1 (in units of η_1)",
    "rate_low": "companion: growth per step ≥ f/(1 + e^(1/4)), f the class fraction (units of η_1)",
    "rate_high": "companion: growth per step ≤ f/(1 + e^(-1/4)) (in units of η_1)",
}


class Lottery(NamedTuple):
    """The filters that the proof follows, bool (…, k): W_0^+ ∩ A_+ and W_0^- ∩ A_-."""

    plus: Tensor
    minus: Tensor


def lottery(task: PatternTask, start: Tensor, signs: Tensor) -> Lottery:
    """Which initial filters (…, k, d) with outer signs (…, k) are lucky, for each class."""
    return Lottery(lucky(start, task, 1) & (signs > 0), lucky(start, task, -1) & (signs < 0))


def count_slacks(task: PatternTask, tickets: Lottery) -> Tensor:
    """Lemma 5.2, k/(4l) ≤ count ≤ k/l, as the smallest slack (…,) in units of k/l.

    The paper writes d for l, and its proof has l = d; with l much below d its k/d is too few.
    """
    k, counts = tickets.plus.shape[-1], torch.stack([side.sum(-1) for side in tickets])
    scaled = counts.double() * task.l / k
    return torch.minimum(scaled - 1 / 4, 1 - scaled).amin(0)


def lemma_slacks(
    task: PatternTask,
    half: Halves,
    start: Tensor,
    signs: Tensor,
    state: State,
    hyper: Hyperparameters,
    *,
    growth: float = 1 / 9,
) -> dict[str, Tensor]:
    """The smallest slack (…,) of every inequality in ``STATEMENTS`` at one step, for each copy.

    A minimum over no filter, and a statement that does not speak of step 0, has slack infinity.
    ``growth`` is the constant of Lemma 5.3(a).
    """
    return (
        _sizes(hyper, state)
        | {"fractions": class_fractions(half).amin(-1) - 1 / 3}
        | _dynamics(task, lottery(task, start, signs), state, hyper, growth)
        | _rates(task, half, lottery(task, start, signs), start, state, hyper)
    )


def class_fractions(half: Halves) -> Tensor:
    """The share of positive and of negative inputs in S_1, (…, 2)."""
    positive = (half.first_y > 0).to(half.first_y.dtype).mean(-1)
    return torch.stack([positive, 1 - positive], -1)


def _sizes(hyper: Hyperparameters, state: State) -> dict[str, Tensor]:
    """Lemmas C.1, C.2 and 5.5, of all filters."""
    largest = state.filters.norm(dim=-1).amax(-1)
    output, bound = state.table.abs().amax(-1), hyper.rate * (state.step + 1)
    values = 2 * state.step - state.filters.amax((-2, -1)) / hyper.rate
    return {
        "norms": 1 - largest / bound,
        "outputs": 1 - output / (hyper.k * bound),
        "half": 1 / 2 - output,
        "quarter": 1 / 4 - output,
        "values": values if state.step else torch.full_like(values, math.inf),
    }


def _dynamics(
    task: PatternTask, tickets: Lottery, state: State, hyper: Hyperparameters, growth: float
) -> dict[str, Tensor]:
    """Lemma 5.3 and Corollary 5.4, of lucky filters; (c) for every input that can occur."""
    slacks, overlaps = {}, state.filters[..., : task.l]
    for own, (name, chosen) in enumerate(tickets._asdict().items()):
        rivals = overlaps[..., 2:].amax(-1)
        others = torch.maximum(rivals, overlaps[..., 1 - own])
        grown = overlaps[..., own] / hyper.rate
        slacks[f"growth_{name}"] = _least(grown - state.step * growth, chosen)
        slacks[f"others_{name}"] = _least(1 - others / hyper.radius, chosen)
        lead = grown - rivals.clamp(min=0) / hyper.rate
        slacks[f"winner_{name}"] = _least(lead, chosen)
    return slacks


def _rates(
    task: PatternTask,
    half: Halves,
    tickets: Lottery,
    start: Tensor,
    state: State,
    hyper: Hyperparameters,
) -> dict[str, Tensor]:
    """The two-sided growth rate: both outputs and slopes are known up to |N| ≤ 1/4."""
    low, high = (1 / (1 + math.exp(exponent)) for exponent in (0.25, -0.25))
    sides: dict[str, list[Tensor]] = {"rate_low": [], "rate_high": []}
    for own, chosen in enumerate(tickets):
        gained = state.filters[..., own] - start[..., own]
        per_step = gained / (max(state.step, 1) * hyper.rate)
        share = class_fractions(half)[..., own, None]
        sides["rate_low"].append(_least(per_step - share * low, chosen))
        sides["rate_high"].append(_least(share * high - per_step, chosen))
    slacks = {name: torch.minimum(*pair) for name, pair in sides.items()}
    return slacks if state.step else {n: torch.full_like(s, math.inf) for n, s in slacks.items()}


def _least(slack: Tensor, chosen: Tensor) -> Tensor:
    return torch.where(chosen, slack, math.inf).amin(-1)
