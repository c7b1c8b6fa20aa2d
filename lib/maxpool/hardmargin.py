"""The hard-margin support vector machine without bias, from inner products alone."""

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

NONE_LEFT = 1e-7  # a residual that is rounding
DIGITS = 12  # of inner products that are 1 on average


def hard_margin(gram: Tensor, y: Tensor) -> Tensor:
    """Dual weights α ≥ 0 (…, m) of min ‖a‖² such that y_j a·z_j ≥ 1; then a = Σ_j α_j y_j z_j.

    ``gram`` (…, m, m) holds z_i·z_j and ``y`` (…, m) labels ±1.  An active-set method, so it ends
    at the exact solution up to rounding: Lawson & Hanson's least distance programming (1974).
    Raises ValueError when no a separates the classes.
    """
    m = y.shape[-1]
    grams, labels = gram.reshape(-1, m, m).cpu().numpy(), y.reshape(-1, m).cpu().numpy()
    dual = [_least_distance(*one) for one in zip(grams, labels, strict=True)]
    return torch.as_tensor(np.stack(dual), dtype=y.dtype, device=y.device).view_as(y)


def _least_distance(gram: np.ndarray, y: np.ndarray) -> np.ndarray:
    scale = np.trace(gram) / len(y) or 1.0
    gram = gram * np.outer(y, y) / scale
    kept = _distinct(gram)
    values, vectors = np.linalg.eigh(gram[np.ix_(kept, kept)])
    rows = np.sqrt(values.clip(0))[:, None] * vectors.T  # their inner products are the Gram matrix
    u, residual = nnls(np.vstack([rows, np.ones(len(kept))]), np.eye(len(kept) + 1)[-1])
    if residual < NONE_LEFT:  # it is 1/√(1 + ‖a‖²)
        raise ValueError("no hyperplane through 0 separates the classes: take other features")
    alpha = np.zeros(len(y))
    alpha[kept] = u / (1 - u.sum()) / scale
    return alpha


def _distinct(gram: np.ndarray) -> np.ndarray:
    """One index of each set of inputs with the same label times features, up to rounding."""
    return np.unique(gram.round(DIGITS), axis=0, return_index=True)[1]
