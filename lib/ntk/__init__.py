"""Kernels of infinitely wide networks in PyTorch, and what they say about training.

`fcn_kernel` and `cnn_kernel` give the NNGP and the NTK of fully connected and of convolutional
networks, `empirical_ntk` the tangent kernel of any module of finite width, `phase` the fixed points
and depth scales of an architecture, `spectrum` and `mean_predictor` what a kernel can learn.
An activation is a name, a function of tensors, or one of the records `RELU`, `ERF`, `TANH`, `GELU`.
"""

from lib.ntk.activations import ERF, RELU, Activation, get_activation
from lib.ntk.checkpoint import OtherConfiguration
from lib.ntk.cnn import cnn_kernel
from lib.ntk.empirical import empirical_ntk
from lib.ntk.errors import NotConverged, NotFinite, OutOfRange, ShapeMismatch, UnknownActivation
from lib.ntk.fcn import fcn_kernel, fcn_kernels
from lib.ntk.finite import wide_cnn, wide_net
from lib.ntk.hermite import GELU, TANH, quadrature, quadrature_error
from lib.ntk.kernels import Kernels
from lib.ntk.phase import Phase, critical_line, critical_sigma_w2, phase
from lib.ntk.spectrum import Spectrum, max_learning_rate, mean_predictor, spectrum
from lib.ntk.trajectory import Trajectory, trajectory

__all__ = [
    "ERF",
    "GELU",
    "RELU",
    "TANH",
    "Activation",
    "Kernels",
    "NotConverged",
    "NotFinite",
    "OtherConfiguration",
    "OutOfRange",
    "Phase",
    "ShapeMismatch",
    "Spectrum",
    "Trajectory",
    "UnknownActivation",
    "cnn_kernel",
    "critical_line",
    "critical_sigma_w2",
    "empirical_ntk",
    "fcn_kernel",
    "fcn_kernels",
    "get_activation",
    "max_learning_rate",
    "mean_predictor",
    "phase",
    "quadrature",
    "quadrature_error",
    "spectrum",
    "trajectory",
    "wide_cnn",
    "wide_net",
]
