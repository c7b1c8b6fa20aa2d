"""Max-pooling networks on orthogonal patterns (Brutzkus & Globerson 2021)."""

from lib.maxpool.capacity import (
    interpolating_network,
    malicious_erm,
    malicious_error,
    meets,
    pattern_sets,
    seen,
    set_weights,
    shattering_network,
    shattering_points,
    shattering_weights,
    unseen_probability,
    vc_dimension,
    weighted_network,
)
from lib.maxpool.network import MaxPoolNet, exact_patches, pooled
from lib.maxpool.task import (
    PatternTask,
    Sample,
    noise_ball,
    noise_radius,
    present,
    rotated,
    rotation,
)

__all__ = [
    "MaxPoolNet",
    "PatternTask",
    "Sample",
    "exact_patches",
    "interpolating_network",
    "malicious_erm",
    "malicious_error",
    "meets",
    "noise_ball",
    "noise_radius",
    "pattern_sets",
    "pooled",
    "present",
    "rotated",
    "rotation",
    "seen",
    "set_weights",
    "shattering_network",
    "shattering_points",
    "shattering_weights",
    "unseen_probability",
    "vc_dimension",
    "weighted_network",
]
