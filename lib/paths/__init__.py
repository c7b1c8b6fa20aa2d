"""The path-lifting Φ of a ReLU network, and what it tells (Gonon et al. 2024, 2025).

Fast, for any network in the vocabulary (`lib.paths.vocabulary`): `path_norm`, `path_magnitude`,
`path_metric`. By definition, for networks one could draw: `path_lifting`, `path_activations`, and
the graphs of `lib.paths.dag`. On copies of a model: `rescale`, `score_prune`, `quantize`.
"""

from lib.paths.bounds import (
    generalization_factor,
    norm_bound,
    normalized,
    operator_norm_product,
    per_output_path_norm,
    sharpened_generalization_factor,
)
from lib.paths.dag import (
    Dag,
    Edge,
    Neuron,
    Path,
    activations,
    ends,
    forward,
    incidence,
    lifting,
    opened,
    paths,
)
from lib.paths.errors import (
    ArchitectureMismatch,
    NotFinite,
    SignMismatch,
    TooManyPaths,
    UnsupportedModule,
)
from lib.paths.metric import PathMetric, path_metric
from lib.paths.norms import path_magnitude, path_norm
from lib.paths.pruning import prunable, quantize, score_prune, synflow
from lib.paths.rescaling import hidden_channels, rescale
from lib.paths.unroll import path_activations, path_lifting, unroll

__all__ = [
    "ArchitectureMismatch",
    "Dag",
    "Edge",
    "Neuron",
    "NotFinite",
    "Path",
    "PathMetric",
    "SignMismatch",
    "TooManyPaths",
    "UnsupportedModule",
    "activations",
    "ends",
    "forward",
    "generalization_factor",
    "hidden_channels",
    "incidence",
    "lifting",
    "norm_bound",
    "normalized",
    "opened",
    "operator_norm_product",
    "path_activations",
    "path_lifting",
    "path_magnitude",
    "path_metric",
    "path_norm",
    "paths",
    "per_output_path_norm",
    "prunable",
    "quantize",
    "rescale",
    "score_prune",
    "sharpened_generalization_factor",
    "synflow",
    "unroll",
]
