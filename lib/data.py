"""Real images for the experiments: small ones that are always there, larger ones by download.

Every loader returns :class:`Images`, split at random by the generator it is given.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.datasets import fetch_openml, load_digits
from torch import Tensor


class Images(NamedTuple):
    """A data set, split: ``*_x`` has shape (N, channels, height, width), ``*_y`` (N,) int64."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        return tuple(self.train_x.shape[1:])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(max(self.train_y.max(), self.test_y.max())) + 1


@dataclass(frozen=True)
class Source:
    """What a downloaded data set must look like before we believe that it is the right one."""

    name: str
    version: int
    shape: tuple[int, int, int]
    counts: tuple[int, ...]  # images of each class


MNIST = Source(
    "mnist_784", 1, (1, 28, 28), (6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958)
)
CIFAR10 = Source("CIFAR_10", 1, (3, 32, 32), (6000,) * 10)


def digits(
    generator: torch.Generator,
    *,
    test: int = 360,
    standardise: bool = True,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Images:
    """1,797 handwritten digits of 8 by 8 pixels, which come with scikit-learn: no network.

    Pixels are in [0, 1]; ``standardise`` shifts and scales them so that the training pixels have
    mean 0 and standard deviation 1.  ``test`` images are held out.
    """
    bunch = load_digits()
    pixels = bunch.images[:, None] / bunch.images.max()
    return _split(pixels, bunch.target, generator, test, standardise, dtype, device)


def mnist(generator: torch.Generator, **options: Any) -> Images:
    """70,000 handwritten digits of 28 by 28 pixels; options as of :func:`downloaded`."""
    return downloaded(MNIST, generator, **options)


def cifar10(generator: torch.Generator, **options: Any) -> Images:
    """60,000 colour photographs of 32 by 32 pixels in ten classes; options as of `downloaded`."""
    return downloaded(CIFAR10, generator, **options)


def downloaded(
    source: Source,
    generator: torch.Generator,
    *,
    folder: Path | str | None = None,
    test: int = 10_000,
    standardise: bool = True,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Images:
    """A data set of OpenML, downloaded once, to ``folder`` (scikit-learn's own by default).

    The split is ours, at random: the downloads do not mark the usual test images.  Pixels, ``test``
    and ``standardise`` are as of :func:`digits`.

    Raises ConnectionError when the data is neither in ``folder`` nor to be had, and ValueError
    when what arrives is not this data set.
    """
    pixels, target = _download(source, folder)
    return _split(pixels, target, generator, test, standardise, dtype, device)


def _download(source: Source, folder: Path | str | None) -> tuple[np.ndarray, np.ndarray]:
    # The parser without pandas is slow, but always there.
    parser = "pandas" if find_spec("pandas") else "liac-arff"
    try:
        bunch = fetch_openml(
            source.name,
            version=source.version,
            data_home=folder,
            as_frame=False,
            parser=parser,
            n_retries=0,
        )
    except OSError as error:  # URLError, timeouts and refused connections alike
        raise ConnectionError(
            f"{source.name} is not in the data folder and could not be downloaded ({error}): "
            "connect once, copy the folder from a machine that has it, or use digits()"
        ) from error
    return _believed(source, bunch.data, bunch.target)


def _believed(
    source: Source, data: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    data, target = np.asarray(data), np.asarray(target).astype(np.int64)
    expected = (sum(source.counts), int(np.prod(source.shape)))
    if data.shape != expected:
        raise _wrong(source, f"its shape is {data.shape}, not {expected}")
    if data.min() < 0 or data.max() > 255 or not (data == np.round(data)).all():
        raise _wrong(source, "its pixels are not whole numbers from 0 to 255")
    counts = tuple(np.bincount(target, minlength=len(source.counts)).tolist())
    if counts != source.counts:
        raise _wrong(source, f"its classes count {counts}, not {source.counts}")
    return data.reshape(-1, *source.shape) / np.float32(255), target


def _wrong(source: Source, why: str) -> ValueError:
    return ValueError(
        f"what was downloaded as {source.name} is another data set or damaged: {why}; "
        "delete it from the data folder and try again"
    )


def _split(
    pixels: np.ndarray,
    target: np.ndarray,
    generator: torch.Generator,
    test: int,
    standardise: bool,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Images:
    if not 0 < test < len(target):
        raise ValueError(
            f"test = {test} images to hold out of {len(target)}: choose 1 to {len(target) - 1}"
        )
    order = torch.randperm(len(target), generator=generator, device=generator.device).cpu()
    held, kept = order[:test], order[test:]
    x = torch.as_tensor(pixels, dtype=dtype)
    y = torch.as_tensor(target, dtype=torch.int64)
    if standardise:
        x = (x - x[kept].mean()) / x[kept].std()
    parts = x[kept], y[kept], x[held], y[held]
    return Images(*(part.to(device) for part in parts))
