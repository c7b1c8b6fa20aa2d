"""Accuracy over variance and depth as sweeps: from the kernels, and from trained networks."""

from functools import partial

from lib.ntk import maps, sgd_map
from lib.ntk.lanczos import RANK
from lib.ntk.maps import MapConfig
from lib.ntk.sgd_map import SgdConfig
from lib.runs.experiment import Arrays, Cell, Experiment, Scale

CHAPTER = "ntk-trainability"
VARIANCES = tuple(round(0.5 + 0.1 * k, 6) for k in range(26))  # 0.5 to 3
NEEDS = "needs the data"


# --- kernels


def kernels_full() -> MapConfig:
    """As in the authors' notebook, on the bundled digits: the deepest network has 105 layers."""
    depths = (*range(10), *range(10, 106, 5))
    return MapConfig(VARIANCES, depths, images=(256,), test=1000, seeds=3)


def photograph_kernels() -> MapConfig:
    """From few images to ten thousand."""
    depths, images = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96), (256, 1024, 4096, 10_000)
    return MapConfig(VARIANCES[::3], depths, data="photographs", images=images, test=2000)


def cifar_kernels() -> MapConfig:
    """Up to 4096 images: what two cores compute in minutes."""
    depths, images = (0, 1, 2, 4, 8, 16, 24, 32, 64, 96), (256, 1024, 4096)
    return MapConfig(VARIANCES[::2], depths, data="cifar10", images=images, test=2000)


def cifar_kernels_gpu() -> MapConfig:
    """The notebook's grid; 10 000 images too."""
    depths = (*range(10), *range(10, 106, 5))
    return MapConfig(VARIANCES, depths, data="cifar10", images=(256, 10_000), test=10_000)


def map_axes(config: MapConfig) -> dict[str, tuple]:
    """The grid; each of its points holds all depths, which one recursion gives, and all seeds."""
    return {"images": config.images, "sigma_w2": config.sigma_w2}


def map_cell(config: MapConfig, cell: Cell, device: str, before: Arrays) -> Arrays:
    """The arrays of :class:`lib.ntk.maps.KernelMap`: (depths, seeds, ...)."""
    found = maps.kernel_map(config, cell["sigma_w2"], config.task(device, cell["images"]))
    return {name: array.numpy() for name, array in vars(found).items()}


def map_flops(config: MapConfig, cell: Cell | None) -> float:
    """Eigenvectors or a Krylov space, and a product, for each depth; thirty operations a layer."""
    n = cell["images"] if cell else 0
    every = n + config.test
    whole, krylov = (10 * n + 2 * every) * n**2, 20 * RANK * n * (n + 2 * RANK)
    each = krylov if n > maps.WHOLE else whole
    each += 2 * every * n * 10 * 2 * len(config.times)
    return float(config.seeds * (len(config.depths) * each + config.depths[-1] * 30 * every * n))


# --- trained networks


def trained_full() -> SgdConfig:
    """The bundled digits: what two cores train in minutes."""
    variances = tuple(round(0.5 + 2.5 * k / 15, 6) for k in range(16))
    depths = (1, 2, 4, 8, 12, 16, 24, 32)
    return SgdConfig(variances, depths, (8, 64, 512), test=1000, seeds=2)


def colour_trained(data: str) -> SgdConfig:
    """What two cores train in minutes: 1024 images."""
    sizes = {"images": 1024, "test": 1000, "batch": 64, "seeds": 2, "at_once": 7}
    depths = (1, 2, 4, 8, 16, 24, 32, 48)
    return SgdConfig(VARIANCES[::2], depths, (8, 64, 512), data=data, **sizes)


def cifar_trained_gpu() -> SgdConfig:
    """Wide networks, more images, longer."""
    depths = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96)
    sizes = {"images": 2048, "test": 10_000, "batch": 256, "width": 512, "seeds": 2}
    return SgdConfig(VARIANCES, depths, (8, 64, 512, 4096), data="cifar10", at_once=4, **sizes)


def sgd_axes(config: SgdConfig) -> dict[str, tuple]:
    """The grid; each of its points holds all variances and all seeds."""
    return {"depth": config.depths}


def sgd_cell(config: SgdConfig, cell: Cell, device: str, before: Arrays) -> Arrays:
    """Accuracies and error, each (sigma_w2, seeds, times)."""
    found = sgd_map.sgd_accuracy(config, cell["depth"], config.task(device))
    return dict(zip(("train", "test", "error"), (a.numpy() for a in found), strict=True))


def sgd_flops(config: SgdConfig, cell: Cell | None) -> float:
    """The training."""
    return sgd_map.flops(config, cell["depth"]) if cell else 0.0


KERNELS = {
    "chapter": CHAPTER,
    "axes": map_axes,
    "run_cell": map_cell,
    "flops": map_flops,
    # On another machine a few images fall otherwise, where the signal is at the level of rounding.
    "atol": 0.05,
    "rtol": 1e-3,
}
TRAINED = {
    "chapter": CHAPTER,
    "axes": sgd_axes,
    "run_cell": sgd_cell,
    "flops": sgd_flops,
    "batch": "at_once",
    "atol": 0.1,  # training amplifies the last bits, most of all in the chaotic phase
    "rtol": 0.1,
}
EXPERIMENTS = (
    Experiment(
        name="kernel-map",
        about="Accuracy and spectrum of infinitely wide networks on digits, by variance and depth.",
        scales={
            "small": Scale(MapConfig.small),
            "paper": Scale(
                kernels_full,
                "The bundled digits stand for CIFAR-10, whose images must be had "
                "(kernel-map-cifar10).",
            ),
        },
        **KERNELS,
    ),
    Experiment(
        name="kernel-map-photographs",
        about="The same on squares of two photographs, by the number of training images.",
        scales={
            "small": Scale(partial(MapConfig.small, data="photographs", test=500)),
            "paper": Scale(photograph_kernels),
        },
        **KERNELS,
    ),
    Experiment(
        name="kernel-map-cifar10",
        about=f"The same on CIFAR-10, by the number of training images; {NEEDS}.",
        scales={
            "small": Scale(partial(MapConfig.small, data="cifar10", test=1000)),
            "paper": Scale(
                cifar_kernels,
                "Two CPU cores allow 4096 images; 10 000 on the notebook's grid are --scale gpu.",
            ),
            "gpu": Scale(cifar_kernels_gpu),
        },
        **KERNELS,
    ),
    Experiment(
        name="sgd-map",
        about="Accuracy of networks trained by SGD on digits, by variance and depth.",
        scales={
            "small": Scale(SgdConfig.small),
            "paper": Scale(
                trained_full,
                "Two CPU cores allow 256 digits, width 128 and 512 steps; wide networks on "
                "CIFAR-10 wait for the data and a GPU (sgd-map-cifar10 --scale gpu).",
            ),
        },
        **TRAINED,
    ),
    Experiment(
        name="sgd-map-photographs",
        about="The same on squares of two photographs.",
        scales={
            "small": Scale(partial(SgdConfig.small, data="photographs")),
            "paper": Scale(
                partial(colour_trained, "photographs"),
                "Two CPU cores allow 1024 squares, width 128 and 512 steps.",
            ),
        },
        **TRAINED,
    ),
    Experiment(
        name="sgd-map-cifar10",
        about=f"The same on CIFAR-10; {NEEDS}.",
        scales={
            "small": Scale(partial(SgdConfig.small, data="cifar10")),
            "paper": Scale(
                partial(colour_trained, "cifar10"),
                "Two CPU cores allow 1024 images, width 128 and 512 steps; 2048 images, width 512 "
                "and 4096 steps are --scale gpu.",
            ),
            "gpu": Scale(cifar_trained_gpu),
        },
        **TRAINED,
    ),
)
