"""The three architectures that the studies on images compare, as kernels between flat images."""

from torch import Tensor

from lib.ntk.cnn import cnn_kernel
from lib.ntk.fcn import fcn_kernel

READOUTS = {"CNN-F": "flatten", "CNN-P": "gap"}
ARCHITECTURES = ("FCN", *READOUTS)


def tangent_kernel(
    architecture: str, x1: Tensor, x2: Tensor | None, shape: tuple[int, ...], **network
) -> Tensor:
    """The infinite tangent kernel of an architecture between flat images, (N1, N2).

    ``shape`` is that of an image, channels first; ``network`` as for :func:`lib.ntk.fcn_kernel`.
    """
    if architecture == "FCN":
        return fcn_kernel(x1, x2, **network).ntk
    pair = (x if x is None else x.unflatten(-1, shape) for x in (x1, x2))
    return cnn_kernel(*pair, readout=READOUTS[architecture], **network).ntk
