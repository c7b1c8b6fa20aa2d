"""Single trained networks of infinite width: what the random start leaves in the outputs.

At the start the outputs are a Gaussian process with the covariance K.  Training is linear, so a
network that starts at f_0 ends at f_0 + Θ(x, X) Θ⁻¹(I − exp(−ηΘt))(Y − f_0(X)) (Jacot et al. 2018).
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from lib.ntk.fcn import fcn_kernels
from lib.ntk.spectrum import mean_predictor
from lib.ntk.tasks import Task, accuracy

JITTER = 1e-10  # of the variance, added to K before it is factored


def starts(nngp: Tensor, copies: int, outputs: int, generator: torch.Generator) -> Tensor:
    """Outputs of random networks of covariance ``nngp`` (N, N): (N, copies · outputs)."""
    small = JITTER * nngp.diagonal().mean() * torch.eye(len(nngp), dtype=nngp.dtype)
    noise = torch.randn(len(nngp), copies * outputs, generator=generator, dtype=nngp.dtype)
    return torch.linalg.cholesky(nngp + small.to(nngp.device)) @ noise.to(nngp.device)


def trained(
    nngp: Tensor,
    ntk: Tensor,
    labels: Tensor,
    *,
    copies: int,
    generator: torch.Generator,
    steps: float | None = None,
) -> Tensor:
    """Outputs (copies, N, outputs) of networks trained on the first m of N inputs.

    ``labels`` (m, outputs); ``copies = 0`` gives the mean of all networks instead, as one copy.
    Time counts steps of 1/λ_max, by the flow; None trains to the end.
    """
    m, outputs = labels.shape
    if copies < 0:
        raise ValueError(f"copies = {copies}: choose a number of networks, or 0 for their mean")
    first = torch.zeros(len(ntk), outputs, dtype=ntk.dtype, device=ntk.device)
    if copies:
        first = starts(nngp, copies, outputs, generator)
    missing = labels.repeat(1, max(copies, 1)) - first[:m]
    eta = 1 / torch.linalg.eigvalsh(ntk[:m, :m])[-1]
    learned = mean_predictor(ntk[:, :m], ntk[:m, :m], missing, steps, eta)
    return (first + learned).unflatten(1, (-1, outputs)).transpose(0, 1)


def accuracies(
    problem: Task,
    labels: Tensor,
    depths: Sequence[int],
    *,
    sigma_w2: float,
    sigma_b2: float,
    activation: str | Callable[[Tensor], Tensor] = "erf",
    copies: int = 0,
    steps: float | None = None,
    seed: int = 0,
) -> Tensor:
    """Accuracy on the training and on the test images at each depth, (depths, 2).

    Of the first training set of ``problem``, with ``labels`` (m, classes); the mean over copies.
    """
    return torch.stack(
        list(
            _by_depth(
                problem,
                labels,
                depths,
                copies,
                steps,
                seed,
                {"sigma_w2": sigma_w2, "sigma_b2": sigma_b2, "activation": activation},
            )
        )
    )


def _by_depth(
    problem: Task,
    labels: Tensor,
    depths: Sequence[int],
    copies: int,
    steps: float | None,
    seed: int,
    network: dict,
) -> Iterator[Tensor]:
    m = len(labels)
    for _, kernels in fcn_kernels(problem.both_x[0], depths=depths, **network):
        generator = torch.Generator().manual_seed(seed)
        found = trained(*kernels, labels, copies=copies, generator=generator, steps=steps)
        right = accuracy(found[:, :m], problem.train[0]), accuracy(found[:, m:], problem.test)
        yield torch.stack(right, -1).mean(0)
