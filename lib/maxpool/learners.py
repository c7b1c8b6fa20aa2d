"""The three learners that the paper compares: a max-pooling network, an MLP, a linear SVM.

The two networks have no biases, and train by Adam on minibatches.  All tensors start with an axis
of copies, which share nothing: the loss is the sum over copies, so each gets exactly the gradient
that it would get alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from sklearn.svm import SVC
from torch import Tensor
from torch.nn.functional import embedding_bag, softplus

from lib.maxpool.network import MaxPoolNet

SOFTNESS = 10.0  # C of the support vector machine

Parameters = list[Tensor]  # each starts with the copies; those that require no gradient stay
Network = Callable[[Parameters, Tensor], Tensor]  # outputs (copies, m) for inputs (copies, m, ...)


@dataclass(frozen=True)
class Optimiser:
    """Adam: learning rate, number of steps, and examples drawn (with replacement) for each step.

    The paper names Adam and gives no settings: these are the companion's.
    """

    rate: float = 0.01
    steps: int = 500
    batch: int = 32

    def __post_init__(self) -> None:
        for name, low in (("steps", 0), ("batch", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} = {getattr(self, name)}: choose at least {low}")
        if not self.rate > 0:
            raise ValueError(f"rate = {self.rate}: choose a positive number")


ADAM = Optimiser()


# --- the networks


def initial(
    copies: int,
    width: int,
    inputs: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Parameters:
    """Gaussian weights (copies, width, inputs) and (copies, width), to train.

    Variances are 1/inputs and 1/width, so that rows and outputs start near size 1.
    """
    shapes = (copies, width, inputs), (copies, width)
    draws = [torch.randn(s, generator=generator, dtype=dtype) / s[-1] ** 0.5 for s in shapes]
    return [draw.to(device).requires_grad_() for draw in draws]


def conv_pool(parameters: Parameters, x: Tensor) -> Tensor:
    """The max-pooling network on patches (copies, m, n, d): Equation 1 of the paper."""
    filters, outer = parameters
    return MaxPoolNet(filters, outer)(x)


def conv_pool_patterns(parameters: Parameters, which: Tensor) -> Tensor:
    """The same on patches that are patterns: ``which`` (copies, m, n) tells which.

    The third parameter holds the patterns, (copies, l, d).  Each filter meets each pattern once,
    not once for each patch that holds it.
    """
    filters, outer, patterns = parameters
    copies, m, n = which.shape
    table = (patterns @ filters.mT).relu()  # (copies, l, k)
    first = torch.arange(copies, device=which.device)[:, None, None] * table.shape[1]
    pooled = embedding_bag((which + first).view(-1, n), table.flatten(0, 1), mode="max")
    return (pooled.view(copies, m, -1) @ outer[..., None])[..., 0]


def mlp(parameters: Parameters, x: Tensor) -> Tensor:
    """One hidden layer of ReLUs that sees all patches (copies, m, n, d) as one vector."""
    filters, outer = parameters
    return ((x.flatten(2) @ filters.mT).relu() @ outer[..., None])[..., 0]


def mlp_width(channels: int, n: int, d: int) -> int:
    """The width with which the MLP has as many weights as a max-pooling network, to the nearest.

    The latter has ``channels``·(d + 1), the MLP (nd + 1) for each hidden unit.
    """
    return max(1, round(channels * (d + 1) / (n * d + 1)))


# --- training


def train(
    network: Network,
    parameters: Parameters,
    x: Tensor,
    y: Tensor,
    sizes: Tensor,
    optimiser: Optimiser,
    generator: torch.Generator,
) -> None:
    """Train all copies in place on the logistic loss; copy s has the first ``sizes[s]`` examples.

    ``x`` is (copies, m, ...), ``y`` (copies, m) of ±1, ``sizes`` (copies,) int64 on the CPU, as
    the generator, so that each device draws the same minibatches.
    """
    copies = torch.arange(len(y), device=y.device)[:, None]
    adam = torch.optim.Adam([p for p in parameters if p.requires_grad], lr=optimiser.rate)
    for _ in range(optimiser.steps):
        chances = torch.rand(
            len(y), optimiser.batch, generator=generator, dtype=torch.float64, device="cpu"
        )
        drawn = (chances * sizes[:, None]).long().to(y.device)
        adam.zero_grad()
        outputs = network(parameters, x[copies, drawn])
        softplus(-y[copies, drawn] * outputs).mean(1).sum().backward()
        adam.step()


@torch.no_grad()
def wrong(network: Network, parameters: Parameters, x: Tensor, y: Tensor) -> Tensor:
    """Which examples a network gets wrong, where sign(0) = -1: bool (copies, m).

    One copy at a time, for memory.
    """
    outputs = [network([p[s : s + 1] for p in parameters], x[s : s + 1])[0] for s in range(len(y))]
    return (torch.stack(outputs) > 0) != (y > 0)


# --- the linear learner


class Separator(NamedTuple):
    """An affine classifier, the sign of normal·x + offset.

    ``hard``: no support vector was limited by the softness, so this is the hard-margin solution.
    """

    normal: Tensor
    offset: float
    hard: bool

    def wrong(self, x: Tensor, y: Tensor) -> Tensor:
        """Which of the examples (m, D) with labels (m,) it gets wrong, where sign(0) = -1."""
        return (x.to(self.normal) @ self.normal + self.offset > 0) != (y > 0)


def max_margin(x: Tensor, y: Tensor, *, softness: float = SOFTNESS) -> Separator:
    """The linear support vector machine on examples ``x`` (m, D) with labels ``y`` (m,) of ±1.

    Where the data are separable by a margin that ``softness`` allows, this is the hard-margin
    solution.  When only one label occurs, every point gets that label.  By scikit-learn.
    """
    dense, labels = x.cpu().double().numpy(), y.cpu().numpy()
    if len(set(labels.tolist())) == 1:
        return Separator(torch.zeros(x.shape[1], dtype=torch.float64), float(labels[0]), True)
    machine = SVC(kernel="linear", C=softness).fit(dense, labels)
    limit = abs(machine.dual_coef_).max()
    normal = torch.from_numpy(machine.coef_[0].copy())
    return Separator(normal, float(machine.intercept_[0]), bool(limit < softness))
