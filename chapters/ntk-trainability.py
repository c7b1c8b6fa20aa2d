# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# (ntk-trainability)=
# # Trainability and generalization of deep networks
#
# *The executable companion of* "Disentangling Trainability and Generalization in Deep Neural Networks" {cite:p}`xiao2020disentangling` (arXiv 1912.13053, version 2).
#
# :::{tally}
# :::
#
# **Three questions.** How deep can a network be, and still be trained? How deep can it be, and still say something about data that it has not seen? Why are these two different questions?
#
# **After this chapter you can** compute the kernels of infinitely wide networks, with and without convolutions; place a network in the ordered, the critical or the chaotic phase, and say from which depth on it cannot be trained or cannot generalize; predict the spectrum of its tangent kernel with all constants; and tell which of its predictions are the data's and which the architecture's.
#
# **You need** Gaussian variables, eigenvalues, and gradient descent on least squares. About an hour to read; about a minute to run on two cores.
#
# Of the paper we have read the abstract, the introduction and the authors' notebook, which states most results for fully connected networks. Its main table and its results for other architectures we remember only: they are printed in our own words, with constants and proofs of our own, as *companion versions*. {doc}`The ledger <ledger>` says which is which.

# %% tags=["remove-cell"]
# This cell is written by `make pairs`. On a hosted notebook it fetches the book's library.
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("lib") is None:
    book = ["https://github.com/OWNER/theory-you-can-run", "--branch", "main", "book"]
    subprocess.check_call(["git", "clone", "-q", "--depth", "1", *book])
    pip = [sys.executable, "-m", "pip", "install", "-q", "./book"]
    subprocess.check_call(pip)  # what the library needs
    sys.path.insert(0, "book")  # and the library itself, beside its recorded results
# End of the written cell.

# %% tags=["hide-input"]
from itertools import pairwise, product
from typing import NamedTuple

import matplotlib.pyplot as plt
import mpmath as mp
import numpy as np
import sympy as sp
import torch
from torch.nn.functional import gelu

# %% tags=["hide-input"]
from lib import ntk
from lib.claims import (
    check,
    each,
    exhaustive,
    measured,
    observed,
    together,
    worst,
)
from lib.figures import COLORS, figure, label_lines, use_style
from lib.frames import slider
from lib.glue import caption, glue, scientific

# %% tags=["hide-input"]
from lib.ntk import copies, curves, deep, flow, members, symbolic, table
from lib.ntk.ensembles import random_kernels
from lib.ntk.experiments import live
from lib.ntk.precise import precise_input, precise_kernels
from lib.ntk.record_width import flow_setting
from lib.ntk.recorded import EXPERIMENTS
from lib.ntk.tasks import task
from lib.ntk.width import deviation, rate
from lib.proof import Chain, identities
from lib.runs.records import read
from lib.smt import decide

use_style()

# %% [markdown]
# ## Two ways to fail
#
# A deep network can fail to learn its training set. Or it can learn it perfectly, and say nothing about a new image. {numref}`fig-ntk-hero` shows both, on images of digits, for infinitely wide networks with the activation erf. Each point of the plane is an architecture: its depth, and the variance $\sigma_w^2$ of its weights. To the left, deep networks stay at chance on the very images that they are trained on. To the right, they learn the training set by heart, and stay at chance on all others.

# %%
digits = task("digits", images=64, test=200, seeds=1)
centred = digits.train_y[0] - digits.train_y[0].mean(0)
variances = [round(0.5 + 0.15 * k, 2) for k in range(18)]
hero_depths = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
plane = torch.stack(
    [
        members.accuracies(
            digits,
            centred,
            hero_depths,
            sigma_w2=w,
            sigma_b2=0.18,
            copies=4,
            steps=4096,
        )
        for w in variances
    ]
)  # (variance, depth, training or test)

# %%
at = ntk.phase(torch.tensor(variances, dtype=torch.float64), 0.18)
borders_at = {
    r"$10\,\xi_1$": 10 * at.xi_1,
    r"$2.5\,\xi_*$": 2.5 * at.xi_star,
}
scale = torch.where(at.chi_1 < 1, *borders_at.values())
deep_enough = torch.tensor(hero_depths) > 2 * scale[:, None]
lost = plane[deep_enough & (at.chi_1 < 1)[:, None]]
learned = plane[deep_enough & (at.chi_1 > 1)[:, None]]
assert (
    lost.max() < 0.2 and learned[:, 0].min() == 1 and learned[:, 1].max() < 0.2
)
assert plane[:, -1, 1].max() > 0.9  # the tongue between them


# %% tags=["hide-input"]
def draw_plane(ax, across, depths, shares, lines, lowest=0):
    """Shares (variances, depths) as a map, depths evenly spaced, lines over it."""
    rows, across = np.arange(len(depths)), np.asarray(across)
    style = {"cmap": "Blues", "vmin": lowest, "vmax": 1, "rasterized": True}
    image = ax.pcolormesh(across, rows, np.asarray(shares).T, **style)
    for name, line in lines.items():
        line = np.asarray(line)
        inside = (line > depths[0]) & (line < depths[-1])
        heights = np.interp(np.log(line[inside]), np.log(depths), rows)
        ax.plot(across[inside], heights, color=COLORS["red"])
        left = r"\xi_1" in name  # each name goes to the pale side of its line
        k = len(heights) // (2 if left else 4)
        place = {"ha": "right" if left else "left", "color": COLORS["red"]}
        place |= {"xytext": (-26, 18) if left else (6, 6)}
        spot = (across[inside][k], heights[k])
        ax.annotate(name, spot, textcoords="offset points", **place)
    ax.set_yticks(rows[::2], [str(d) for d in depths[::2]])
    return image


# %% tags=["hide-input", "remove-output"]
def draw_maps(name, across, depths, shares, lines, note="", lowest=0):
    """Training images above, with the first line; new images below, with both."""
    fig, panels = plt.subplots(2, 1, figsize=(6.4, 6.4), sharex=True)
    both = (("training images", list(lines)[:1]), ("new images", lines))
    for ax, some, (words, chosen) in zip(panels, shares, both, strict=True):
        of_these = {name: lines[name] for name in chosen}
        image = draw_plane(ax, across, depths, some, of_these, lowest)
        ax.set_ylabel(f"depth\n({words})")
    panels[1].set_xlabel(r"variance of the weights, $\sigma_w^2$")
    fig.colorbar(image, ax=panels, label="accuracy", aspect=40)
    place = {"xycoords": "axes fraction", "fontsize": 9}
    panels[1].annotate(note, (0.02, 0.92), **place)
    figure(name, fig)


draw_maps("ntk-hero", variances, hero_depths, plane.movedim(-1, 0), borders_at)

# %% [markdown]
# :::{glue:figure} ntk-hero
# :name: fig-ntk-hero
# :alt: Two maps of accuracy, one above the other, over the variance of the weights from 0.5 to 3 and the depth from 1 to 96. Training images: accuracy 1 everywhere except in a region to the left that widens with depth, where it is near 0.1; a line runs along its border. New images: the same region is lost, and a second one to the right, along a second line; between them a tongue of high accuracy reaches the largest depth.
#
# Accuracy on 8×8 digits of trained networks of infinite width, the mean of four with a random start, after the time of 4096 steps of half the largest stable size. Lines: $10\,\xi_1$ and $2.5\,\xi_*$.
# :::
#
# The lines are multiples of two depths, $\xi_1$ and $\xi_*$. Only the multiples are chosen by eye; the depths depend on the variances of weights and biases and on nothing else: no data, no training. This chapter derives them.
#
# ## Wide networks are kernels
#
# :::{prf:definition} The network
# :label: ntk-network
#
# With the input $x\in\mathbb R^n$, $\sigma_w>0$, $\sigma_b\ge0$ and an activation $\varphi$ (continuous, piecewise smooth, and growing at most like a power, as its derivatives do), let $z^0=\frac{\sigma_w}{\sqrt n}W^0x+\sigma_bb^0$ and $z^{l+1}=\frac{\sigma_w}{\sqrt N}W^{l+1}\varphi(z^l)+\sigma_bb^{l+1}$. All entries of $W$ and $b$ are parameters, which start as independent standard normal numbers. $N$ is the width. A network of *depth* $l$ has $l$ nonlinear layers, and its output $f=z^l$ has one entry.
# :::
#
# Two kernels describe such a network. The *covariance* $K^l(x,x')=\mathbb E\,f(x)f(x')$ says which functions a random network draws. The *tangent kernel* $\Theta^l(x,x')=\langle\nabla_\theta f(x),\nabla_\theta f(x')\rangle$ says how training moves them: a gradient step on the loss at $x'$ changes the output at $x$ in proportion to it. In wide networks both obey a recursion from layer to layer.
#
# :::{prf:definition} Dual maps
# :label: ntk-maps
#
# For a covariance matrix with the diagonal entries $a$, $b$ and the entry $k$ beside, $T=\mathbb E\,\varphi(u)\varphi(v)$ and $\dot T=\mathbb E\,\varphi'(u)\varphi'(v)$, with $(u,v)$ Gaussian of that covariance. $T(K)$ applies $T$ to each pair of inputs; $\odot$ multiplies matrices entry by entry.
# :::
#
# :::{prf:theorem} The two kernels of an infinitely wide network
# :label: ntk-recursions
#
# As the widths grow, layer by layer, the outputs become Gaussian with the covariance $K^l$, and $\Theta^l$ becomes deterministic, with $K^0=\Theta^0=\sigma_w^2\frac{\langle x,x'\rangle}n+\sigma_b^2$ and
#
# $$K^{l+1}=\sigma_w^2T(K^l)+\sigma_b^2,\qquad\Theta^{l+1}=K^{l+1}+\sigma_w^2\,\dot T(K^l)\odot\Theta^l .$$
#
# {status}`ntk-nngp` for the covariance, {status}`ntk-ntk` for the tangent kernel {cite:p}`jacot2018ntk`.
# :::
#
# :::{prf:proof}
# We give the idea. Given layer $l$, the entries of $z^{l+1}$ are independent and Gaussian, with the covariance $\frac{\sigma_w^2}N\sum_i\varphi(z_i^l(x))\varphi(z_i^l(x'))+\sigma_b^2$. By the law of large numbers the mean over $i$ tends to $T(K^l)$. For the tangent kernel, split the parameters. Those of the last layer contribute $\frac{\sigma_w^2}N\sum_i\varphi(z_i^l(x))\varphi(z_i^l(x'))+\sigma_b^2\to K^{l+1}$. The others act through $z^l$: by the chain rule they contribute $\frac{\sigma_w^2}N\sum_{i,j}W_iW_j\,\varphi'(z_i^l(x))\varphi'(z_j^l(x'))\langle\nabla z_i^l(x),\nabla z_j^l(x')\rangle$. The inner product tends to $\Theta^l$ for $i=j$ and to 0 otherwise, and $W_i^2$ has the mean 1.
# :::
#
# The smallest instance: two inputs at an angle of 60°, and one ReLU layer. We compare the recursion with a random network of width 4096.

# %%
sixty_degrees = [[1.0, 0.0], [0.5, 0.75**0.5]]
pair = 2**0.5 * torch.tensor(sixty_degrees, dtype=torch.float64)
relu_net = {"sigma_w2": 2.0, "sigma_b2": 0.0, "activation": "relu"}
infinite = ntk.fcn_kernel(pair, depth=1, **relu_net)
generator = torch.Generator().manual_seed(0)
finite = ntk.wide_net((2, 4096, 1), **relu_net, generator=generator)

torch.set_printoptions(precision=3)
print("infinite width", infinite.ntk, sep="\n")
print("width 4096", ntk.empirical_ntk(finite, pair), sep="\n")


# %% [markdown]
# How well can random networks tell whether the recursion is right? One network of width $N$ misses it by about $1/\sqrt N$, but the *mean* over many networks by less. With one hidden layer it is the recursion exactly, at every width: in the proof, each of the $N$ terms has the right mean. With more layers the covariance that enters $T$ is off by about $1/\sqrt N$, and the mean of a smooth function of it by a multiple of $\frac1N$, up to terms of order $N^{-2}$. So twice the mean at width $2N$ minus the mean at width $N$ misses only by the latter.
#
# For ReLU the mean of the *diagonal* is exact at every width and every depth. For $K$ this is so because $T(a,a,a)=\frac a2$ is linear. For $\Theta$ the terms with $i\ne j$ have the mean 0. In the others, new signs for $W_i^l$ and $b_i^l$ change the sign of $z_i^l$, but not $|\nabla z_i^l|^2$. So $\varphi'(z_i^l)^2$, which is 0 or 1, is independent of it, and its mean is $\frac12=\dot T$.
#
# We compare all entries for four digits; for a finite network, $K$ is the covariance given all layers but the last. We measure the distance in standard errors (that of Mahalanobis: with the covariance of the means). If the recursion is right, and the terms of order $N^{-2}$ are small, the square of this distance is nearly a $\chi^2$ variable, with ten degrees of freedom for all entries and four for the diagonal, and the distance exceeds 5.5 in less than one comparison of a thousand.

# %%
def upper(kernels):
    """All entries of symmetric matrices, each once."""
    i, j = torch.triu_indices(*kernels.shape[-2:])
    return kernels[..., i, j].double()


def diagonal(kernels):
    return kernels.diagonal(dim1=-2, dim2=-1).double()


def standard_errors(samples, weights, limit, entries):
    """How far Σ weight·mean(samples), one sample a width, is from a limit."""
    pairs = list(zip(weights, map(entries, samples), strict=True))
    far = sum(w * some.mean(0) for w, some in pairs) - entries(limit)
    spread = sum(w**2 * some.T.cov() / len(some) for w, some in pairs)
    return float((far @ torch.linalg.solve(spread, far)).sqrt())


# %%
def mean_is(samples, weights=(1,), entries=upper):
    """Is Σ weight·mean(samples), one sample of kernels a width, a limit?"""

    def verify(limit):
        far = standard_errors(samples, weights, limit, entries)
        n, what = sum(map(len, samples)), "distance in standard errors"
        return measured(far, 0, atol=5.5, n=n, seed=0, what=what)

    return verify


# %%
four = digits.train_x[0, :4]
net_of_four = {"sigma_w2": 1.5, "sigma_b2": 0.05}


def drawn_kernels(activation, depth, width, networks, generator, at_once=500):
    """Both kernels of random networks, each (networks, 4, 4)."""
    sizes = [four.shape[-1], *[width] * depth, 1]
    scales = copies.scales(*net_of_four.values(), at_once, four.float())

    def draw(*shape):
        return torch.randn(at_once, *shape, generator=generator)

    def some():
        weights = [draw(out, into) for into, out in pairwise(sizes)]
        biases = [draw(1, out) for out in sizes[1:]]
        phi = copies.function(activation)
        nets = copies.Networks(weights, biases, scales, phi)
        return copies.kernels(nets, four.float())

    parts = [some() for _ in range(networks // at_once)]
    return copies.Empirical(*map(torch.cat, zip(*parts, strict=True)))


def limit_of(activation, depth, kind, times=1, **more):
    """By the recursion, with so many times the variance of the weights."""
    sigma_w2 = times * net_of_four["sigma_w2"]
    changed = net_of_four | {"sigma_w2": sigma_w2} | more
    both = ntk.fcn_kernel(four, depth=depth, activation=activation, **changed)
    return getattr(both, kind)


# %%
generator = torch.Generator().manual_seed(0)
one_layer = {
    name: drawn_kernels(name, 1, 32, 20_000, generator)
    for name in ("erf", "relu")
}
for (name, drawn), kind in product(one_layer.items(), ("nngp", "ntk")):
    check(
        f"ntk-{kind}",
        mean_is([getattr(drawn, kind)]),
        limit_of(name, 1, kind),
        counterfeit=limit_of(name, 1, kind, times=1.02),
        says="that of weights whose variance is two per cent larger",
        scope=f"the mean at width 32, one hidden layer, {name}",
    )

# %%
three_layers = {
    name: [drawn_kernels(name, 3, N, 30_000, generator) for N in (16, 32)]
    for name in ("erf", "relu")
}
for (name, samples), kind in product(three_layers.items(), ("nngp", "ntk")):
    check(
        f"ntk-{kind}",
        mean_is([getattr(some, kind) for some in samples], (-1, 2)),
        limit_of(name, 3, kind),
        counterfeit=limit_of(name, 3, kind, times=1.02),
        says="that of weights whose variance is two per cent larger",
        scope=f"the mean of three layers, extrapolated in the width, {name}",
    )

# %%
narrow = three_layers["relu"][0]
for kind in ("nngp", "ntk"):
    check(
        f"ntk-{kind}",
        mean_is([getattr(narrow, kind)], entries=diagonal),
        limit_of("relu", 3, kind),
        counterfeit=limit_of("relu", 3, kind, times=1.02),
        says="that of weights whose variance is two per cent larger",
        scope="the mean of three layers, the diagonal at width 16, relu",
    )

# %% [markdown]
# {numref}`fig-ntk-width` shows single networks, and how they approach the recursion: from a recorded run, to width $2^{14}$.

# %%
wide = read(EXPERIMENTS["kernel-width"])
wide_sizes, names = wide.axes["width"], wide.axes["activation"]


def distances(kind, k):
    """From the limit, for the k-th activation, at each width."""
    limit = torch.tensor(wide[f"{kind}_limit"][k])
    found = torch.tensor(wide[kind][k].astype(float))
    return [float(deviation(some, limit)) for some in found]


far = {
    (name, kind): distances(kind, k)
    for k, name in enumerate(names)
    for kind in ("nngp", "ntk")
}


# %%
def recorded_rate(kind):
    def verify(exponent):
        found = [rate(wide_sizes, far[name, kind]) for name in names]
        error = worst(abs(some - exponent) for some in found)
        n, seed = wide[kind][..., 0, 0].size, wide.info["seed"]
        what = "largest gap of the exponent"
        return measured(error, 0, atol=0.1, n=n, seed=seed, what=what)

    return verify


# %%
for kind in ("nngp", "ntk"):
    check(
        f"ntk-{kind}",
        recorded_rate(kind),
        -1 / 2,
        counterfeit=-1,
        says="like 1/N",
        scope=f"erf and ReLU, to width {max(wide_sizes)}, recorded",
    )

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots()
palette = {
    ("erf", "nngp"): "blue",
    ("erf", "ntk"): "purple",
    ("relu", "nngp"): "green",
    ("relu", "ntk"): "red",
}
for (name, kind), series in far.items():
    style = {"color": COLORS[palette[name, kind]], "marker": "o"}
    ax.loglog(
        wide_sizes,
        series,
        **style,
        label=f"{name}, {'K' if kind == 'nngp' else 'Θ'}",
    )
reference = series[0] * (np.array(wide_sizes) / wide_sizes[0]) ** -0.5
ax.loglog(wide_sizes, reference, ":", color=COLORS["grey"], label="slope −½")
ax.set_xscale("log", base=2)
ax.set_xlabel("width")
ax.set_ylabel("relative distance to the limit")
ax.annotate(wide.note, (0.02, 0.05), xycoords="axes fraction")
label_lines(ax)
figure("ntk-width", fig)
caption("ntk-width-stamp", wide.stamp)

# %% [markdown]
# :::{glue:figure} ntk-width
# :name: fig-ntk-width
# :alt: Relative distance of the kernels of finite networks from those of infinite width, against the width from 16 to 16384, both axes logarithmic. Four lines, for erf and ReLU and for both kernels, fall along a dotted line of slope minus one half.
#
# Kernels of random networks with three hidden layers against the recursion; root mean square over the networks. {glue:md}`ntk-width-stamp`
# :::
#
# ### Training in closed form
#
# :::{prf:assumption} Constant kernel
# :label: ntk-lazy
#
# During training the tangent kernel stays what it was at the start, and the network starts at $f_0=0$.
# :::
#
# The first half becomes true as the width grows {cite:p}`jacot2018ntk`; the second is arranged by subtracting the first output from all others. What the assumption buys: training is a linear differential equation.
#
# :::{prf:theorem} Gradient flow
# :label: ntk-flow
#
# {status}`ntk-flow` Under {prf:ref}`ntk-lazy`, gradient flow at rate $\eta$ on half the squared error to labels $Y$ gives at time $t$, on the training images and, if $\Theta_{\mathrm{tr,tr}}$ is invertible, on others,
#
# $$f_t=(I-e^{-\eta\Theta t})\,Y,\qquad f_t=\Theta_{\mathrm{te,tr}}\,\Theta_{\mathrm{tr,tr}}^{-1}(I-e^{-\eta\Theta_{\mathrm{tr,tr}}t})\,Y .$$
# :::
#
# :::{prf:proof}
# The outputs at the training images obey $\dot f=-\eta\,\Theta\,(f-Y)$, the others $\dot f_{\mathrm{te}}=-\eta\,\Theta_{\mathrm{te,tr}}(f-Y)$. In the basis of eigenvectors of $\Theta$ the first is one equation for each eigenvalue $\lambda$. Insert its solution into the second and integrate.
# :::

# %%
eta, lam, t = sp.symbols("eta lambda t", positive=True)
y, row = sp.symbols("y r", real=True)  # r: the row of a new image


def flow_of_one_mode(rate):
    learned = (1 - sp.exp(-rate * t)) * y
    new = row / lam * learned
    slopes = [
        Chain(sp.diff(f, t)).eq(-eta * entry * (learned - y), where)
        for f, entry, where in (
            (learned, lam, "a training image"),
            (new, row, "a new image"),
        )
    ]
    starts = identities([(f.subs(t, 0), 0) for f in (learned, new)])
    return together(*(slope.evidence() for slope in slopes), starts)


# %%
check(
    "ntk-flow",
    flow_of_one_mode,
    eta * lam,
    counterfeit=eta / lam,
    says="large eigenvalues are learned last",
    scope="one eigenvector",
)

# %% [markdown]
# So an eigenvector of $\Theta$ with eigenvalue $\lambda$ is learned after the time $1/(\eta\lambda)$: large eigenvalues first. How large can $\eta$ be? With steps instead of a flow, each step multiplies the error by $1-\eta\lambda$.
#
# :::{prf:proposition} The largest step
# :label: ntk-divergence
#
# {status}`ntk-divergence` Under {prf:ref}`ntk-lazy`, gradient descent with step $\eta>0$ converges for all labels if and only if $\eta<2/\lambda_{\max}$.
# :::
#
# :::{prf:proof}
# After $t$ steps the error along an eigenvector is $(1-\eta\lambda)^t$ times that at the start. If $\lambda=0$, it stays; if $\lambda>0$, it converges if and only if $|1-\eta\lambda|<1$, which is $\eta\lambda<2$. The largest eigenvalue decides.
# :::

# %%
check(
    "ntk-divergence",
    lambda bound: decide(
        sp.Equivalent(sp.Abs(1 - eta * lam) < 1, eta * lam < bound)
    ),
    2,
    counterfeit=1,
    says="steps above 1/λ already diverge",
    scope="one eigenvector, all η, λ > 0",
)

# %% [markdown]
# The ratio of the two eigenvalues at the ends matters: with half the largest stable step, the error along the slowest eigenvector falls by a factor $e$ in about $\kappa$ steps, where $\kappa=\lambda_{\max}/\lambda_{\min}$ is the *condition number*. So $\kappa$ measures **trainability**. And as $t\to\infty$ the outputs on new images are $P(\Theta)Y$ with the *mean predictor* $P(\Theta)=\Theta_{\mathrm{te,tr}}\Theta_{\mathrm{tr,tr}}^{-1}$. If $P(\Theta)Y$ does not depend on the new image, nothing has been learned about it. So $P(\Theta)Y$ measures **generalization**. The labels $Y$ are centred: their mean is 0.
#
# Real networks are not infinitely wide. We train some, on sixteen digits, and compare their outputs with the closed form. (Their training takes steps, so $(1-\eta\lambda)^t$ replaces $e^{-\eta\lambda t}$.) It needs a kernel: that of infinite width, or that of the network itself at its start.

# %%
flows = live("gradient-flow")
config = flows.config
known = flow_setting(config, "cpu")
runs = []  # for each width: the networks' own kernels, and what they learn
for width in config.widths:
    nets = flow.drawn(config, width, config.seeds, known)
    first = nets(known.x)
    own_kernels = copies.kernels(nets, known.x).ntk[..., : config.images]
    runs.append((own_kernels, flow.trained(nets, first, known, config.times)))


def follows(kernel):
    """Exponent at which trained networks approach the closed form of a kernel."""
    far = [
        outputs - flow.closed_form(kernel(own), known, config.times, flow=False)
        for own, outputs in runs
    ]
    exponent = rate(config.widths, [x.square().mean() ** 0.5 for x in far])
    n, what = config.seeds * len(runs), "exponent of the width"
    return measured(exponent, -1, atol=0.15, n=n, seed=0, what=what)


# %%
check(
    "ntk-flow",
    follows,
    lambda own: own,
    counterfeit=lambda own: 1.02 * own,
    says="a kernel that is two per cent larger does as well",
    scope="networks trained in steps, by their own kernel",
)
check(
    "ntk-flow",
    follows,
    lambda own: own,
    counterfeit=lambda own: known.limit,
    says="that of infinite width is as near",
    scope="networks trained in steps, own kernel or infinite width",
)
glue("ntk-flow-infinite", f"{flows['infinite'][-1].mean(0).max():.1%}")
glue("ntk-flow-own", f"{flows['own'][-1].mean(0).max():.1%}")
glue("ntk-flow-width", config.widths[-1])

# %% [markdown]
# At width {glue:text}`ntk-flow-width` the outputs miss the closed form of the infinite kernel by up to {glue:text}`ntk-flow-infinite` of the size of the labels, and that of the network's *own* kernel at the start by {glue:text}`ntk-flow-own`. So most of the gap is the randomness of the start, which goes like $1/\sqrt N$; the movement of the kernel is much smaller, and goes like $\frac1N$.
#
# The largest step can be seen, too. We give networks in all three phases steps around $2/\lambda_{\max}$, and watch the error along the top eigenvector.

# %%
steps = live("largest-step", steps=20)
ratios, own = np.array(steps.config.ratios), steps["own"]


def factor_a_step(limit):
    """Measured growth against |1 − limit·ratio|; ratio: the step over 2/λ_max."""
    expected = abs(1 - limit * ratios[:, None] * own[:, :, None])
    large = expected > 0.6  # smaller factors end in rounding before 20 steps
    error = worst(abs(steps["growth"] / expected - 1)[large])
    return measured(
        error, 0, atol=0.02, n=int(large.sum()), seed=0, what="relative error"
    )


# %%
check(
    "ntk-divergence",
    factor_a_step,
    2,
    counterfeit=1,
    says="the factor is |1 − step/(2/λ_max)|",
    scope="networks of width 128, small residuals",
)
over = ratios[None, None, :, None] * own[:, :, None] > 1
assert ((steps["growth"] > 1) == over).all()

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots()
line = np.linspace(0.5, 1.9, 100)
ax.plot(line, abs(1 - 2 * line), color=COLORS["grey"], label="theory")
for k, (name, color) in enumerate(
    zip(
        ("ordered", "critical", "chaotic"),
        ("blue", "purple", "red"),
        strict=True,
    )
):
    reach, growth = ratios[:, None] * own[k, 0], steps["growth"][k, 0]
    shown = reach > 0.8  # below, the error is lost in rounding
    ax.plot(reach[shown], growth[shown], "o", color=COLORS[color], label=name)
ax.axhline(1, color=COLORS["black"], linewidth=0.8)
ax.set_xlabel(r"step over $2/\lambda_{\max}$")
ax.set_ylabel("factor of the error, a step")
ax.legend()
figure("ntk-steps", fig)

# %% [markdown]
# :::{glue:figure} ntk-steps
# :name: fig-ntk-steps
# :alt: Factor by which the error changes in a step, against the step size over two over lambda max, from 0.5 to 1.9. Points of three colours, one for each phase, lie on a straight line, which crosses the factor 1 at the step size 1.
#
# The error along the top eigenvector, in networks of width 128 with two hidden layers: three in each phase. Below 1 it shrinks, above 1 it grows. ($\lambda_{\max}$ is each network's own.)
# :::
#
# ## The dual maps
#
# Everything below follows from $T$ and $\dot T$. For erf and ReLU they have closed forms.
#
# :::{prf:lemma} The derivative of a dual map
# :label: ntk-price
#
# {status}`ntk-price` If $\varphi$ is continuous and piecewise smooth, and it and its derivatives grow at most like a power, then $\frac{\partial T}{\partial k}=\dot T$ for $|k|<\sqrt{ab}$ (from one side at $k=\pm\sqrt{ab}$), and at $k=0$, $T=\mathbb E\varphi(u)\,\mathbb E\varphi(v)$.
# :::
#
# :::{prf:proof}
# Let $p(u,v)$ be the Gaussian density. It satisfies $\partial_kp=\partial_u\partial_vp$, which is a computation. So $\partial_kT=\int\varphi(u)\varphi(v)\,\partial_u\partial_vp$, and two integrations by parts move the derivatives to $\varphi$. Where $|k|=\sqrt{ab}$ there is no density, but $T$ and $\dot T$ are continuous. At $k=0$ the two variables are independent.
# :::

# %%
a, b, q, w = sp.symbols("a b q sigma_w^2", positive=True)
k, u_, v_ = sp.symbols("k u v", real=True)


def heat_equation(times):
    D = a * b - k**2
    exponent = -(b * u_**2 - 2 * k * u_ * v_ + a * v_**2) / (2 * D)
    density = sp.exp(exponent) / (2 * sp.pi * sp.sqrt(D))

    def over_density(f):
        return sp.expand(sp.simplify(f / density))

    left = over_density(sp.diff(density, k))
    right = over_density(sp.diff(density, u_, v_))
    return identities([(left, times * right)])


# %%
check(
    "ntk-price",
    heat_equation,
    1,
    counterfeit=sp.Rational(1, 2),
    says="with a factor 1/2, as in the heat equation",
    scope="the density",
)


# %% [markdown]
# :::{prf:lemma} erf
# :label: ntk-erf-dual
#
# {status}`ntk-erf-dual` For $\varphi=\operatorname{erf}$ {cite:p}`williams1997infinite`,
#
# $$T=\frac2\pi\arcsin\frac{2k}{\sqrt{(1+2a)(1+2b)}},\qquad\dot T=\frac4\pi\,\frac1{\sqrt{(1+2a)(1+2b)-4k^2}} .$$
# :::
#
# :::{prf:proof}
# Since $\operatorname{erf}'(u)=\frac2{\sqrt\pi}e^{-u^2}$, $\dot T$ is a Gaussian integral: $\frac4\pi\frac1{2\pi\sqrt D}\int e^{-\frac12(\alpha u^2+2\gamma uv+\beta v^2)}$ with $D=ab-k^2$, $\alpha=\frac bD+2$, $\beta=\frac aD+2$ and $\gamma=-\frac kD$. Complete two squares: the integral is $\frac{2\pi}{\sqrt{\alpha\beta-\gamma^2}}$, and $D(\alpha\beta-\gamma^2)=(1+2a)(1+2b)-4k^2$. By {prf:ref}`ntk-price` $T$ is the integral of $\dot T$ from $k=0$, where it vanishes, for erf is odd.
# :::

# %%
def gaussian_integral(power):
    D = a * b - k**2
    alpha, beta, gamma = b / D + 2, a / D + 2, -k / D
    squares = (
        alpha * u_**2 + 2 * gamma * u_ * v_ + beta * v_**2,
        alpha * (u_ + gamma * v_ / alpha) ** 2
        + (beta - gamma**2 / alpha) * v_**2,
    )
    determinant = Chain(D * (alpha * beta - gamma**2), assuming=(D > 0,)).eq(
        (1 + 2 * a) * (1 + 2 * b) - 4 * k**power, "the determinant"
    )
    return together(identities([squares]), determinant.evidence())


def antiderivative(power):
    root = sp.sqrt((1 + 2 * a) * (1 + 2 * b) - 4 * k**power)
    T = symbolic.erf_dual(a, b, k)
    slope = Chain(sp.diff(T, k)).eq(4 / sp.pi / root, "differentiate")
    return together(slope.evidence(), identities([(T.subs(k, 0), 0)]))


# %%
check(
    "ntk-erf-dual",
    lambda power: each(
        lambda: gaussian_integral(power), lambda: antiderivative(power)
    ),
    2,
    counterfeit=1,
    says="4k instead of 4k² under the root",
)

# %% [markdown]
# :::{prf:lemma} ReLU
# :label: ntk-relu-dual
#
# {status}`ntk-relu-dual` For ReLU and $k=\sqrt{ab}\cos\theta$ {cite:p}`cho2009kernel`,
#
# $$T=\frac{\sqrt{ab}}{2\pi}\bigl(\sin\theta+(\pi-\theta)\cos\theta\bigr),\qquad\dot T=\frac{\pi-\theta}{2\pi} .$$
# :::
#
# :::{prf:proof}
# Write $u=\sqrt a\,r\cos\phi$ and $v=\sqrt b\,r\cos(\phi-\theta)$ with $r,\phi$ the polar coordinates of a standard Gaussian point of the plane: these have the right variances and the right covariance. Both are positive on the arc $\theta-\frac\pi2<\phi<\frac\pi2$. Then $\dot T$ is the share of that arc, and $T$ is the integral of $uv$ over it.
# :::

# %%
theta = sp.Symbol("theta", positive=True)
phi = sp.Symbol("phi", real=True)
r = sp.Symbol("r", positive=True)


def over_the_arc(end):
    arc = (phi, theta - sp.pi / 2, end)
    share = Chain(sp.Integral(1 / (2 * sp.pi), arc)).eq(
        symbolic.relu_slope(theta), "share of the arc"
    )
    radial = sp.Integral(r**3 * sp.exp(-(r**2) / 2), (r, 0, sp.oo))
    angular = sp.Integral(sp.cos(phi) * sp.cos(phi - theta), arc)
    mean = Chain(sp.sqrt(a * b) * radial * angular / (2 * sp.pi)).eq(
        symbolic.relu_dual(a, b, theta), "polar coordinates"
    )
    return together(share.evidence(), mean.evidence())


# %%
check(
    "ntk-relu-dual",
    over_the_arc,
    sp.pi / 2,
    counterfeit=sp.pi / 2 + theta,
    says="the arc is half a circle",
)

# %% [markdown]
# For other activations there is quadrature, and the library says what it is worth.
#
# :::{prf:observation} Quadrature
# :label: ntk-quadrature
#
# {status}`ntk-quadrature` A Hermite expansion of a smooth $\varphi$ by Gauss–Hermite quadrature gives $T$ and $\dot T$. For erf the kernels agree with the closed form to twelve digits; for tanh and GELU at variance 1, doubling the order moves nothing beyond that.
# :::

# %%
eight = digits.train_x[0, :8]
deep_net = {"depth": 5, "sigma_w2": 1.5, "sigma_b2": 0.05}
exact_erf = ntk.fcn_kernel(eight, **deep_net, activation="erf").ntk


def by_quadrature(function):
    found = ntk.fcn_kernel(eight, **deep_net, activation=function).ntk
    error, n = float((found / exact_erf - 1).abs().max()), exact_erf.numel()
    return measured(error, 0, atol=1e-12, n=n, seed=0, what="relative error")


def doubled(terms):
    """How far T and Ṫ move at twice as many terms, with at most so many."""
    found = [
        float(ntk.quadrature_error(f, 1.0, order=terms))
        for f in (torch.tanh, gelu)
    ]
    what = "relative change"
    return measured(worst(found), 0, atol=1e-12, n=2, seed=0, what=what)


# %%
check(
    "ntk-quadrature",
    lambda both: each(lambda: by_quadrature(both[0]), lambda: doubled(both[1])),
    (lambda z: torch.erf(z), 3072),
    counterfeit=(lambda z: torch.tanh(2 * z / np.pi**0.5), 12),
    says="tanh with the slope of erf is as good, and twelve terms do",
)

# %% [markdown]
# One trap is worth a paragraph. For ReLU, $\theta$ is small where inputs are near each other, and $\cos\theta$ then forgets it: near 1 a double has no room for $1-\cos\theta$. With the gap $1-\cos\theta$ as the variable, nothing is lost.
#
# :::{prf:observation} Near inputs
# :label: ntk-relu-angle
#
# {status}`ntk-relu-angle` For two inputs at an angle of $10^{-7}$ and ten ReLU layers, the separation $\frac12(\Theta_{aa}+\Theta_{bb})-\Theta_{ab}$ of the library is right to six digits. By way of $\cos\theta$ it is off by {glue:text}`ntk-naive`.
# :::

# %%
near = 2**0.5 * torch.tensor(
    [[1.0, 0.0], [np.cos(1e-7), np.sin(1e-7)]], dtype=torch.float64
)


def separation(kernel):
    return float((kernel[0, 0] + kernel[1, 1]) / 2 - kernel[0, 1])


# %%
def through_cosines(x, depth):
    """Both recursions as they are written, for ReLU with σ_w² = 2 and σ_b = 0."""
    K = Theta = x @ x.T
    for _ in range(depth):
        angle = torch.acos((K / K[0, 0]).clamp(-1, 1))
        K = K[0, 0] * (angle.sin() + (np.pi - angle) * angle.cos()) / np.pi
        Theta = K + (1 - angle / np.pi) * Theta
    return Theta


# %%
with mp.workdps(50):
    start = precise_input(near.tolist(), 2, 0)
    network = {"sigma_w2": 2, "sigma_b2": 0, "activation": "relu"}
    ((_, in_digits),) = precise_kernels(start, depths=(10,), **network)
    exact_separation = separation(in_digits.ntk)


def keeps_its_digits(kernel):
    error = separation(kernel) / exact_separation - 1
    return measured(error, 0, atol=1e-6, n=1, seed=0, what="relative error")


ours = ntk.fcn_kernel(near, depth=10, **relu_net).ntk
naive = separation(through_cosines(near, 10)) / exact_separation - 1
glue("ntk-naive", f"{abs(naive):.1%}")

# %%
check(
    "ntk-relu-angle",
    keeps_its_digits,
    ours,
    counterfeit=through_cosines(near, 10),
    says="cosines do as well",
)


# %% [markdown]
# ## Order and chaos
#
# Follow two inputs of one norm down the network. Their variance obeys $q\mapsto\mathcal Q(q)=\sigma_w^2T(q,q,q)+\sigma_b^2$. For erf it soon reaches a fixed point.
#
# :::{prf:proposition} The variance settles
# :label: ntk-q-star
#
# {status}`ntk-q-star` For erf, $\mathcal Q$ is increasing and strictly concave. If $\sigma_b>0$ it has exactly one positive fixed point $q^*$, and $q^l\to q^*$ from every start $q^0>0$. If $\sigma_b=0$ there is a positive one if and only if $\sigma_w^2>\pi/4$.
# :::
#
# :::{prf:proof}
# $\mathcal Q$ is bounded, and $\mathcal Q'=\frac4\pi\sigma_w^2\big/\bigl((1+2q)\sqrt{1+4q}\bigr)$ is positive and decreasing. A concave function that is positive at 0 and bounded crosses the diagonal once, from above; with $\mathcal Q(0)=0$ it does so if and only if $\mathcal Q'(0)=\frac4\pi\sigma_w^2>1$. An increasing $\mathcal Q$ moves $q^l$ monotonically to the crossing.
# :::

# %%
def concave(denominator):
    slope = 4 * w / sp.pi / denominator
    Q = w * symbolic.erf_dual(q, q, q)
    first = Chain(sp.diff(Q, q)).eq(slope, "differentiate")
    second = Chain(sp.diff(slope, q)).lt(0, "concave")
    steepest = identities([(slope.subs(q, 0), 4 * w / sp.pi)])
    return together(first.evidence(), second.evidence(), steepest)


check(
    "ntk-q-star",
    concave,
    (1 + 2 * q) * sp.sqrt(1 + 4 * q),
    counterfeit=sp.sqrt(1 + 4 * q),
    says="without the factor 1 + 2q",
    scope="the two derivatives",
)

# %% [markdown]
# :::{prf:assumption} Normalised inputs
# :label: ntk-normal
#
# All inputs have the norm for which $q^0=q^*$, and no two are equal. (ReLU without biases has no $q^*$; there any one norm will do.)
# :::
#
# Then only the correlation $c=k/q^*$ moves, by $c^{l+1}=C(c^l)$ with $C(c)=(\sigma_w^2T(q^*,q^*,q^*c)+\sigma_b^2)/q^*$. An input stays equal to itself: $C(1)=1$. Whether two *near* inputs become nearer is decided by the slope there, $\chi_1=C'(1)$. In general $\chi(c)=C'(c)=\sigma_w^2\dot T$, by {prf:ref}`ntk-price`: the very number by which the tangent kernel is multiplied.
#
# :::{prf:theorem} Three phases
# :label: ntk-phases
#
# {status}`ntk-c-star` For erf and $\sigma_b>0$: if $\chi_1\le1$, then $c^l\to1$ from every $c^0$ in $[-1,1]$. If $\chi_1>1$, there is exactly one other fixed point $c^*$ in $[-1,1]$; it is positive, $\chi_{c^*}=C'(c^*)<1$, and $c^l\to c^*$ from every $c^0<1$. The phases $\chi_1<1$, $\chi_1=1$ and $\chi_1>1$ are called *ordered*, *critical* and *chaotic*.
# :::
#
# :::{prf:proof}
# On $[0,1]$, $C$ is increasing and strictly convex. If $\chi_1\le1$, it lies above its tangent at 1, so above the diagonal, and $c^l$ increases; its limit is a fixed point, so 1. If $\chi_1>1$, then $C(c)-c$ is convex, positive at 0, where it is $\sigma_b^2/q^*$, negative just left of 1, and 0 at 1: it has exactly one more zero $c^*$, and crosses it downwards, so $\chi_{c^*}<1$. Between 0 and 1, $c^l$ moves monotonically to it. On $[-1,0]$, $C(c)-c$ is concave, for erf is odd, and positive at both ends: $2\sigma_b^2/q^*$ and $\sigma_b^2/q^*$. So there is no fixed point there, and $c^l$ rises above 0.
# :::

# %%
c, sb2 = sp.Symbol("c", real=True), sp.Symbol("sigma_b^2", positive=True)
s = sp.Symbol("s", positive=True)  # c = s/(1 + s) runs through (0, 1)


# %%
def convex(power):
    C = symbolic.erf_correlation(c, q, w, sb2)
    slope = Chain(sp.diff(C, c)).eq(w * symbolic.erf_slope(q, q, q * c), "χ(c)")
    rest = (1 + 2 * q) ** 2 - 4 * q**2 * c**2
    bend = 16 * w * q**2 * c / (sp.pi * rest**power)
    second = Chain(sp.diff(slope.last, c)).eq(bend, "differentiate again")
    positive = Chain(bend.subs(c, s / (1 + s))).gt(0, "convex on (0, 1)")
    return together(*(e.evidence() for e in (slope, second, positive)))


check(
    "ntk-c-star",
    convex,
    sp.Rational(3, 2),
    counterfeit=sp.Rational(1, 2),
    says="the root is not cubed",
    scope="the two derivatives",
)


# %% [markdown]
# The theorem does not hold for every activation. For ReLU, $C$ is convex, too, but there is no chaotic phase: we come back to it.
#
# Where is the border? At $c=1$ everything can be solved.
#
# :::{prf:proposition} The critical line
# :label: ntk-critical-line
#
# {status}`ntk-critical-line` For erf, $\chi_1=\frac4\pi\sigma_w^2/\sqrt{1+4q^*}$. The critical points are
#
# $$\sigma_w^2=\frac\pi4\sqrt{1+4q},\qquad\sigma_b^2=q-\frac12\sqrt{1+4q}\,\arcsin\frac{2q}{1+2q},\qquad q>0 .$$
#
# Both grow with $q$, from $(\frac\pi4,0)$, where $\sigma_b^2\simeq\frac43q^3$ (the ratio of the two sides of $\simeq$ tends to 1).
# :::
#
# :::{prf:proof}
# $(1+2q)^2-4q^2=1+4q$ gives $\chi_1$. Solve $\chi_1=1$ for $\sigma_w^2$, and then $q=\mathcal Q(q)$ for $\sigma_b^2$. With $y=\frac{2q}{\sqrt{1+4q}}$ the arc sine is $\arctan y$, so $\sigma_b^2=\frac12\sqrt{1+4q}\,(y-\arctan y)$, a product of two positive functions that grow with $q$.
# :::

# %%
def on_the_line(cubic):
    sigma_w2, sigma_b2 = symbolic.erf_critical(q)
    steps = [
        Chain(sigma_w2 * symbolic.erf_slope(q, q, q)).eq(1, "χ₁ = 1"),
        Chain(sigma_w2).to(sp.pi / 4, q, 0, "where it starts"),
        Chain(sigma_b2).sim(cubic * q**3, q, 0, "how it starts"),
    ]
    at_q, y = 2 * q / sp.sqrt(1 + 4 * q), sp.Symbol("y", positive=True)
    fixed = identities(
        [
            (sigma_w2 * symbolic.erf_dual(q, q, q) + sigma_b2, q),
            (sp.sin(sp.atan(at_q)), 2 * q / (1 + 2 * q)),
        ]
    )
    for growing, by in ((at_q, q), (y - sp.atan(y), y)):
        steps.append(Chain(sp.diff(growing, by)).gt(0, "it grows"))
    return together(*(step.evidence() for step in steps), fixed)


# %%
check(
    "ntk-critical-line",
    on_the_line,
    sp.Rational(4, 3),
    counterfeit=sp.Rational(2, 3),
    says="it starts half as steep",
)

# %% [markdown]
# So each $\sigma_b>0$ has exactly one critical $\sigma_w^2$. To its left is the ordered phase, and to its right the chaotic one. For $\chi_1$ is continuous in $\sigma_w^2$ and takes the value 1 only there; it tends to 0 as $\sigma_w^2\to0$ and, since $q^*\le\sigma_w^2+\sigma_b^2$, to infinity as $\sigma_w^2\to\infty$.
#
# `phase` finds the fixed points by Newton's method, and names the phase.

# %%
for sigma_w2 in (1.25, ntk.critical_sigma_w2(0.05), 1.5):
    at = ntk.phase(sigma_w2, 0.05)
    print(
        f"{sigma_w2:.4f} {at.name:9} q* {at.q:.4f} c* {at.c:.4f} χ₁ {at.chi_1:.4f}"
    )

# %%
grid_w = torch.linspace(0.05, 3, 60, dtype=torch.float64)[:, None]
grid_b = torch.linspace(0.01, 0.25, 25, dtype=torch.float64)
grid = ntk.phase(grid_w, grid_b)


def border(critical):
    angle = torch.asin(2 * grid.q * grid.c / (1 + 2 * grid.q))
    again = (2 / np.pi * grid_w * angle + grid_b) / grid.q  # C(c*)
    fixed = (again - grid.c).abs() < 1e-12
    below_one, beyond = grid.c < 1, grid_w > critical(grid_b)
    cases = (x.flatten().tolist() for x in (fixed, below_one, beyond))
    return exhaustive(
        lambda case: case[0] and case[1] == case[2], zip(*cases, strict=True)
    )


check(
    "ntk-phase-diagram",
    border,
    ntk.critical_sigma_w2,
    counterfeit=lambda sigma_b2: torch.full_like(sigma_b2, np.pi / 4),
    says="the border is at π/4 for all biases",
    scope="a grid of 60 × 25 points",
)


# %% tags=["hide-input", "remove-output"]
def draw_fixed_point(ax):
    """c* over the plane of variances, and the critical line."""
    style = {"cmap": "Blues", "vmin": 0, "vmax": 1, "rasterized": True}
    plane = (x.numpy() for x in (grid_w[:, 0], grid_b, grid.c.T.clamp(0, 1)))
    image = ax.pcolormesh(*plane, **style)
    ax.figure.colorbar(image, ax=ax, label="$c^*$", aspect=15)
    line_w, line_b = ntk.critical_line(torch.linspace(0.01, 2, 200).double())
    inside = (line_b <= 0.25) & (line_b >= 0.01)
    ax.plot(line_w[inside], line_b[inside], color=COLORS["red"])
    ax.annotate("ordered", (0.35, 0.12), color="white")
    ax.annotate("chaotic", (2.3, 0.03))
    ax.set_ylabel(r"$\sigma_b^2$")


# %% tags=["hide-input", "remove-output"]
fine = torch.linspace(0.5, 3, 400, dtype=torch.float64)
along = ntk.phase(fine, 0.05)
chaos = along.chi_1 > 1
assert bool((along.xi_star[chaos] < along.xi_c[chaos]).all())
assert torch.allclose(along.xi_c[~chaos], along.xi_1[~chaos])
fig, panels = plt.subplots(2, 1, figsize=(6.4, 7.2))
draw_fixed_point(panels[0])
for name, depth, color, dash in (
    (r"$\xi_{c^*}$", along.xi_c, "grey", "-"),
    ("", along.xi_1, "blue", "--"),  # its end is not at the right
    (r"$\xi_*$", along.xi_star, "red", "-"),
):
    shown = torch.where((depth > 0) & (depth < 200), depth, torch.nan)
    panels[1].semilogy(fine, shown, dash, color=COLORS[color], label=name)
panels[1].annotate(r"$\xi_1$", (0.75, 5.5), color=COLORS["blue"])
panels[1].set_xlabel(r"$\sigma_w^2$")
panels[1].set_ylabel(r"layers, at $\sigma_b^2=0.05$")
label_lines(panels[1])
figure("ntk-phases", fig)

# %% [markdown]
# :::{glue:figure} ntk-phases
# :name: fig-ntk-phases
# :alt: Above, a map of the fixed point of the correlation over the variances of weights, from 0 to 3, and biases, from 0.01 to 0.25. It is 1 to the left of a line that starts near 1.1 and rises steeply to the right, and falls off to its right. Below, depth scales on a logarithmic axis against the variance of the weights: all diverge at 1.38. To the left the scale of the signal and that of training coincide; to the right that of generalization stays well below that of the signal.
#
# Above: the fixed point $c^*$, with the critical line of {prf:ref}`ntk-critical-line` {status}`ntk-phase-diagram`. Below: the three depth scales along $\sigma_b^2=0.05$.
# :::
#
# ### Three depths
#
# :::{prf:proposition} Depth scales
# :label: ntk-depth-scales
#
# {status}`ntk-depth-scales` Let $C$ be smooth at $c^*$, with $0<\chi_{c^*}<1$, and let $c^l\to c^*$ without reaching it. (For erf with $\sigma_b>0$, off the critical line, this excludes $c^0=c^*$ and $c^0=1$ only.) Then $c^l-c^*$ decays like $\chi_{c^*}^l=e^{-l/\xi_{c^*}}$ with $\xi_{c^*}=-1/\log\chi_{c^*}$. In the ordered phase this is $\xi_1=-1/\log\chi_1$. In the chaotic phase the paper adds $\xi_*=-1/(\log\chi_{c^*}-\log\chi_1)$, the scale on which $c^l-c^*$ decays beside $\chi_1^l$.
# :::
#
# :::{prf:proof}
# Each layer multiplies $c^l-c^*$ by a slope of $C$ between $c^l$ and $c^*$. These slopes tend to $\chi_{c^*}<1$. So $c^l\to c^*$ exponentially, the slopes tend to $\chi_{c^*}$ exponentially, too, and their product is $\chi_{c^*}^l$ times a factor that converges.
# :::
#
# After a few multiples of $\xi_{c^*}$ the covariance has forgotten which two inputs it belongs to. Training and generalization end at depths of their own: training in the ordered phase, at a multiple of $\xi_1$; generalization in the chaotic phase, at a multiple of $\xi_*$, which is less than $\xi_{c^*}$. At $(\sigma_w^2,\sigma_b^2)=(1.5,0.05)$ for example, $\xi_{c^*}$ is {glue:text}`ntk-xi-c`, and $\xi_*$ only {glue:text}`ntk-xi-star`.

# %%
TWO = {"ordered": 1.25, "chaotic": 1.5}  # σ_w² at σ_b² = 0.05
paths = {
    name: ntk.trajectory(300, sigma_w2=w, sigma_b2=0.05)
    for name, w in TWO.items()
}
fixed = {name: ntk.phase(w, 0.05) for name, w in TWO.items()}

# %%
away = {name: paths[name].gap - (1 - fixed[name].c) for name in TWO}
shrinking = {
    "ξ_1": away["ordered"],
    "ξ_c": away["chaotic"],
    "ξ_*": away["chaotic"] / paths["chaotic"].p_aa,  # which grows like χ₁^l
}


def shrink_over(scales):
    """Do these sequences lose a factor e in so many layers?"""
    errors = [
        float(some[281] / some[280] * np.exp(1 / scales[name]) - 1)
        for name, some in shrinking.items()
    ]
    error, n = worst(map(abs, errors)), len(errors)
    what = "relative error of the factor a layer"
    return measured(error, 0, atol=1e-4, n=n, seed=0, what=what)


# %%
chaotic = fixed["chaotic"]
in_layers = {
    "ξ_1": fixed["ordered"].xi_1,
    "ξ_c": chaotic.xi_c,
    "ξ_*": chaotic.xi_star,
}
check(
    "ntk-depth-scales",
    shrink_over,
    in_layers,
    counterfeit=in_layers | {"ξ_*": chaotic.xi_c},
    says="generalization ends with the signal",
    scope="one network in either phase",
)
glue("ntk-xi-c", round(fixed["chaotic"].xi_c, 1))
glue("ntk-xi-star", round(fixed["chaotic"].xi_star, 1))
glue("ntk-critical-018", round(ntk.critical_sigma_w2(0.18), 4))

# %% [markdown]
# ## The tangent kernel, deep down
#
# Write $p_{aa}$ and $p_{ab}$ for the diagonal and the other entries of $\Theta^l$. Under {prf:ref}`ntk-normal` the recursion reads
#
# $$p_{aa}^{l+1}=q^*+\chi_1\,p_{aa}^l,\qquad p_{ab}^{l+1}=q^*c_{ab}^{l+1}+\chi(c_{ab}^l)\,p_{ab}^l .$$
#
# :::{prf:proposition} The diagonal
# :label: ntk-diagonal
#
# {status}`ntk-diagonal` $p_{aa}^l=q^*\dfrac{1-\chi_1^{l+1}}{1-\chi_1}$, and $q^*(l+1)$ at $\chi_1=1$. In the ordered phase it tends to $p^*=\dfrac{q^*}{1-\chi_1}$; in the chaotic phase it grows like $\chi_1^l$.
# :::

# %%
chi = sp.Symbol("chi", positive=True)
L = sp.Symbol("l", positive=True)


def diagonal_recursion(shift):
    def p(depth):
        return q * (1 - chi ** (depth + shift)) / (1 - chi)

    def critical(depth):
        return q * (depth + shift)

    step = Chain(p(L + 1)).eq(q + chi * p(L), "one layer").evidence()
    straight = Chain(critical(L + 1)).eq(q + critical(L), "χ₁ = 1").evidence()
    starts = identities([(p(0), q), (critical(0), q)])
    return together(step, straight, starts)


check(
    "ntk-diagonal",
    diagonal_recursion,
    1,
    counterfeit=0,
    says="the exponent is l",
)

# %% [markdown]
# The other entries have a limit in both phases: $p^*_{ab}=q^*c^*/(1-\chi_{c^*})$, which is $p^*$ in the ordered phase. What matters is how they approach it. Near the fixed point write $c^l=c^*+e^l$ and $p_{ab}^l=p_{ab}^*+\delta^l$. To first order $e^{l+1}=\chi e^l$ and $\delta^{l+1}=\chi\,(\delta^l+g\,e^l)$, with one and the same $\chi=\chi_{c^*}$ and with $g=q^*+C''(c^*)p_{ab}^*/\chi$. A system that is driven at its own rate resonates.
#
# :::{prf:theorem} Resonance
# :label: ntk-resonance
#
# {status}`ntk-resonance` The solution of $e^{l+1}=\chi e^l$, $\delta^{l+1}=\chi\,(\delta^l+g\,e^l)$ is $\delta^l=\chi^l\bigl(\delta^0+l\,g\,e^0\bigr)$.
# :::

# %%
delta_0, force = sp.symbols("delta0 g", real=True)  # force: g e⁰


def resonates(factor):
    def delta(depth):
        return chi**depth * (delta_0 + factor(depth) * force)

    driven = chi * (delta(L) + force * chi**L)
    step = Chain(delta(L + 1)).eq(driven, "one layer")
    return together(step.evidence(), identities([(delta(0), delta_0)]))


check(
    "ntk-resonance",
    resonates,
    lambda depth: depth,
    counterfeit=lambda depth: 0 * depth,
    says="the pure power χ^l solves it",
)


# %% [markdown]
# So the tangent kernel forgets more slowly than the covariance, by a factor $l$, and the factor in front can be given. The limit $\zeta_{ab}=\lim_l e_{ab}^l\chi^{-l}$ exists, by the proof of {prf:ref}`ntk-depth-scales`. Up to its sign it is the *Koenigs function* of $C$: the coordinate in which $C$ is a multiplication.
#
# :::{prf:theorem} Both limits, with constants (companion)
# :label: ntk-limits
#
# Let {prf:ref}`ntk-normal` hold, and $C$ and $c_{ab}^l$ be as in {prf:ref}`ntk-depth-scales`. Let $g=q^*+C''(c^*)\,p_{ab}^*/\chi_{c^*}$. In the ordered phase {status}`ntk-ordered-constant`, with $\zeta_{ab}=\lim\chi_1^{-l}(1-c_{ab}^l)$, and in the chaotic phase {status}`ntk-chaotic-constant`,
#
# $$p^*-p_{ab}^l\simeq l\,\chi_1^l\,g\,\zeta_{ab},\qquad p_{ab}^l-p_{ab}^*\simeq l\,(c_{ab}^l-c^*)\,g .$$
# :::
#
# :::{prf:proof}
# Let $\delta^l=\chi^l\eta^l$. The exact recursion is $\eta^{l+1}=\eta^l+(q^*e^{l+1}+(C'(c^*+e^l)-C'(c^*))(p^*_{ab}+\delta^l))\chi^{-(l+1)}$. With $e^l=\zeta\chi^l(1+O(\chi^l))$ the right side is $\eta^l(1+O(\chi^l))+g\zeta+O(\chi^l)$. So $\eta^l$ grows at most like $l$, the terms $\eta^l\,O(\chi^l)$ have a finite sum, and $\eta^l=l\,g\,\zeta+O(1)$.
# :::
#
# The proof says that $\chi^{-l}\delta^l$ grows by $g\zeta$ a layer, up to something exponentially small. This is how we measure the constant: at 50 digits, since $\delta^l$ itself is far below what a double can see.

# %%
def growth_per_layer(phase, gain):
    """What χ^(−l) δ^l gains in a layer, against g ζ; one pair of inputs."""
    at, kept = deep.regime(phase), deep.deep(phase, 1)
    first, pair = deep.DEPTHS[phase][0], (0, 0, 1, 0)
    with mp.workdps(deep.DIGITS):
        scaled = [
            (kept[n][1][pair] - at.p) * at.chi_c**-n for n in (first, first + 1)
        ]
        zeta = (kept[first][0][pair] / at.q - at.c) * at.chi_c**-first
        return float((scaled[1] - scaled[0]) / (gain(at) * zeta) - 1)


def constant(phase):
    def verify(gain):
        gap = growth_per_layer(phase, gain)
        what = "relative gap to g ζ"
        return measured(gap, 0, atol=1e-4, n=1, seed=0, what=what)

    return verify


# %%
for phase in ("ordered", "chaotic"):
    check(
        f"ntk-{phase}-constant",
        constant(phase),
        lambda at: at.gain,
        counterfeit=lambda at: at.q,
        says="g = q*: the change of χ is forgotten",
        scope="one pair of inputs, one network",
    )

# %% [markdown]
# ### A kernel with two eigenvalues
#
# Deep down all entries beside the diagonal are nearly equal, so that the kernel is nearly $aI+b\mathbf 1\mathbf 1^\top$, with $\mathbf 1$ the vector of ones, $a=p_{aa}-p_{ab}$ and $b=p_{ab}$. (As indices, $a$ and $b$ still name two inputs.)
#
# :::{prf:lemma} Two eigenvalues
# :label: ntk-two-eigenvalues
#
# {status}`ntk-two-eigenvalues` For $m\ge2$ inputs and $a,b>0$, $aI+b\mathbf 1\mathbf 1^\top$ has the eigenvalue $\lambda_{\max}=a+mb$ on $\mathbf 1$, and $\lambda_{\mathrm{bulk}}=a$ on the $m-1$ dimensions of vectors of sum 0. So $\kappa=1+mb/a$. The inverse is $\frac1aI-\frac b{a(a+mb)}\mathbf 1\mathbf 1^\top$, and for the test row $b\mathbf 1^\top$, $P=\frac{b}{a+mb}\mathbf 1^\top$.
# :::
#
# Let $J=\mathbf 1\mathbf 1^\top$. All that is needed is $J^2=mJ$: SymPy computes with polynomials in $J$ modulo this relation, so $m$ may stay a symbol.

# %%
m, J = sp.Symbol("m", positive=True), sp.Symbol("J", real=True)


def algebra_of_ones(trace):
    """trace: what J² = trace·J."""

    def reduce(product):
        return symbolic.modulo_ones(product, J, trace)

    kernel = a + b * J
    inverse = 1 / a - b / (a * (a + m * b)) * J
    return identities(
        [
            (reduce(kernel * J), (a + m * b) * J),  # on the ones
            (reduce(kernel * (m - J)), a * (m - J)),  # on the others
            (sp.cancel(reduce(kernel * inverse)), 1),
            (sp.cancel(reduce(b * J * inverse)), b / (a + m * b) * J),
        ]
    )


# %%
check(
    "ntk-two-eigenvalues",
    algebra_of_ones,
    m,
    counterfeit=m - 1,
    says="J² = (m − 1) J",
)

# %% [markdown]
# Here is the whole chapter in one line: *the spectrum is decided by $a$ and $b$, the predictor by how the entries differ from a constant*. In the ordered phase $a\to0$ and $\kappa$ explodes: no training. In the chaotic phase $a$ grows and $b$ does not, so $\kappa\to1$, training is easy, and a test row is small beside $a$: no generalization.
#
# ## The critical line
#
# On the line itself both failures are postponed. There is no exponential rate, and the powers of $l$ decide.
#
# :::{prf:lemma} Correlations at criticality
# :label: ntk-critical-decay
#
# {status}`ntk-critical-decay` Let $\chi_1=1$, and let $C$ be smooth at 1, with $u=C''(1)>0$ and $v=C'''(1)$. If $c^l\to1$ without reaching it, then
#
# $$\frac1{1-c^l}=\frac u2\,l+\Bigl(\frac u2-\frac v{3u}\Bigr)\log l+O(1) .$$
#
# For erf $u=\frac{4q^{*2}}{1+4q^*}$ and $v=u+3u^2$. So $1-c^l\simeq\frac2{ul}$ and $1-\chi(c^l)\simeq\frac2l$.
# :::
#
# :::{prf:proof}
# Let $\varepsilon=1-c$. One layer maps it to $\varepsilon-\frac u2\varepsilon^2+\frac v6\varepsilon^3+O(\varepsilon^4)$. So $\frac1\varepsilon$ becomes $\frac1\varepsilon+\frac u2+\bigl(\frac{u^2}4-\frac v6\bigr)\varepsilon+O(\varepsilon^2)$. Summed over the layers, the second term gives $\frac u2l$, hence $\varepsilon\simeq\frac2{ul}$. The third gives $\bigl(\frac{u^2}4-\frac v6\bigr)\frac2u\log l$, and the last a convergent series. Finally $\chi(1-\varepsilon)=1-u\varepsilon+O(\varepsilon^2)$.
# :::

# %%
eps, u, v = sp.symbols("epsilon u v", positive=True)


def one_critical_layer(third):
    """1/ε after a layer, exactly, minus the first three terms."""
    after = eps - u / 2 * eps**2 + v / 6 * eps**3
    gap = 1 / after - (1 / eps + u / 2 + third * eps)
    rest = 9 * u**3 - 12 * u * v + eps * (2 * v**2 - 3 * u**2 * v)
    rest /= 12 * (6 - 3 * u * eps + v * eps**2)
    return Chain(gap).eq(eps**2 * rest, "of order ε²").evidence()


check(
    "ntk-critical-decay",
    one_critical_layer,
    u**2 / 4 - v / 6,
    counterfeit=u**2 / 4,
    says="the third derivative does not matter",
    scope="one layer, to second order",
)


# %%
def erf_derivatives(third):
    C = symbolic.erf_correlation(c, q, *symbolic.erf_critical(q))
    bend = 4 * q**2 / (1 + 4 * q)
    steps = [
        Chain(sp.diff(C, c).subs(c, 1)).eq(1, "χ₁"),
        Chain(sp.diff(C, c, 2).subs(c, 1)).eq(bend, "u"),
        Chain(sp.diff(C, c, 3).subs(c, 1)).eq(third(bend), "v"),
    ]
    return together(*(step.evidence() for step in steps))


check(
    "ntk-critical-decay",
    erf_derivatives,
    lambda u: u + 3 * u**2,
    counterfeit=lambda u: 3 * u**2,
    says="v = 3u²",
    scope="u and v for erf",
)

# %% [markdown]
# :::{prf:theorem} The critical recursion, solved
# :label: ntk-critical-exact
#
# {status}`ntk-critical-exact` With $\chi=1-\frac rl$ exactly, the recursion $p^{l+1}=q^*+\chi\,p^l$ has the solution $p^l=\frac{q^*l}{r+1}$. To leading order $r=2$ for smooth activations, and $p_{ab}\simeq\frac{q^*l}3$ is a third of the diagonal; for ReLU without biases $r=3$, and it is a quarter. ({prf:ref}`ntk-logs` deals with what is left of $\chi$.)
# :::
#
# :::{prf:proof}
# Insert it. Every other solution has the same leading term: the difference of two solutions is multiplied by $1-\frac rl$ in each layer, and so it decays like $l^{-r}$.
# :::

# %%
share = sp.Symbol("r", positive=True)


def solves(fraction):
    def p(depth):
        return q * depth * fraction

    return (
        Chain(p(L + 1)).eq(q + (1 - share / L) * p(L), "one layer").evidence()
    )


check(
    "ntk-critical-exact",
    solves,
    1 / (share + 1),
    counterfeit=1 / (share + 2),
    says="1/(r + 2) of q*l",
)

# %% [markdown]
# With $a=q^*l-\frac{q^*l}{r+1}$ and $b=\frac{q^*l}{r+1}$, {prf:ref}`ntk-two-eigenvalues` gives $\kappa\to1+\frac mr$: on the critical line depth does not spoil the condition number. For erf the limit is $\frac{m+2}2$, for ReLU $\frac{m+3}3$. How fast is it reached?
#
# :::{prf:theorem} The logarithms (companion)
# :label: ntk-logs
#
# Let {prf:ref}`ntk-normal` hold. For erf on the critical line {status}`ntk-critical-log-erf`, and for ReLU with $\sigma_w^2=2$, $\sigma_b=0$ {status}`ntk-critical-log-relu` {cite:p}`terjek2025mlps`,
#
# $$\frac{p_{ab}^l}{q^*}=\frac l3-\Bigl(\frac13+\frac2{9u}\Bigr)\log l+O(1),\qquad\frac{p_{ab}^l}{q}=\frac l4+\frac38\log l+O(1) .$$
#
# So {status}`ntk-critical-residual` $\kappa$ approaches its limit like $\frac{\log l}l$:
#
# $$\kappa=\frac{m+2}2-m\Bigl(\frac34+\frac1{2u}\Bigr)\frac{\log l}l+O\Bigl(\frac1l\Bigr),\qquad\kappa=\frac{m+3}3+\frac{2m}3\,\frac{\log l}l+O\Bigl(\frac1l\Bigr) .$$
# :::
#
# :::{prf:proof}
# By {prf:ref}`ntk-critical-decay`, $\chi(c^l)=1-\frac rl\bigl(1+h\frac{\log l}l\bigr)+O(l^{-2})$ with $r=2$ and $h=1+\frac2{3u}$. For ReLU the angle obeys $\theta\mapsto\theta-\frac{\theta^2}{3\pi}-\frac{\theta^3}{18\pi^2}+O(\theta^4)$, so in the same way $\frac1\theta=\frac l{3\pi}+\frac{\log l}{2\pi}+O(1)$, and $\chi=1-\frac\theta\pi$ gives $r=3$ and $h=-\frac32$. Put $p_{ab}^l=q^*\bigl(\frac l{r+1}+B\log l+w^l\bigr)$ into the recursion. The terms in $\frac{\log l}l$ cancel if $-\frac{rh}{r+1}-rB=0$, that is $B=-\frac h{r+1}$. What is left is $w^{l+1}=\bigl(1-\frac rl+o(\tfrac1l)\bigr)w^l+O(\frac1l)$, whose solutions are bounded. For $\kappa=1+mb/a$ insert $b=q^*(\frac l{r+1}+B\log l)$ and $a=q^*l-b$ to first order in $B$: the term is $m\frac{(r+1)^2}{r^2}B\frac{\log l}l$. (Among the pairs, $p_{ab}$ differs by $O(1)$ only. This moves the eigenvalues, which grow like $l$, by $O(1)$, and $\kappa$ by $O(\frac1l)$.)
# :::
#
# Two steps of this proof are algebra, for SymPy.

# %%
B, h, log_l = sp.symbols("B h Lambda", real=True)


def balance(B):
    """The coefficient of log l in l times the gain of p/q* in a layer."""
    gain = 1 - share / L * (1 + h * log_l / L) * (L / (share + 1) + B * log_l)
    return identities([(sp.expand(L * gain).coeff(log_l, 1), 0)])


# %%
def residual(B):
    def over_a(z):
        return (1 / (share + 1) + z) / (1 - 1 / (share + 1) - z)

    first = sp.diff(m * over_a(log_l), log_l).subs(log_l, 0) * B
    return Chain(first).eq(
        -m * (share + 1) * h / share**2, "of κ, at first order"
    )


def logarithm(B):
    return together(balance(B), residual(B).evidence())


# %%
check(
    "ntk-critical-residual",
    logarithm,
    -h / (share + 1),
    counterfeit=-h / share,
    says="B = −h/r",
    scope="the coefficient, given that of χ",
)


# %%
def relu_angle(cubic):
    """cos(next angle) minus its value at the expansion, over θ⁴."""
    after = theta - theta**2 / (3 * sp.pi) - theta**3 / (cubic * sp.pi**2)
    gap = sp.cos(after) - symbolic.relu_cosine(theta)
    return (
        Chain(gap / theta**4).to(0, theta, 0, "no term is missing").evidence()
    )


check(
    "ntk-critical-log-relu",
    relu_angle,
    18,
    counterfeit=9,
    says="θ³/(9π²)",
    scope="the angle after one layer",
)

# %% [markdown]
# The logarithms can be seen: from depth $l$ to $2l$, $p_{ab}/q^*-\frac l{r+1}$ moves by $B\log2$, up to a multiple of $\frac1l$ that we cancel with a second doubling.

# %%
q_critical = torch.tensor([0.25, 1.0, 4.0], dtype=torch.float64)
line_w, line_b = ntk.critical_line(q_critical)
smooth = ntk.trajectory(4000, sigma_w2=line_w, sigma_b2=line_b)
rough = ntk.trajectory(4000, sigma_w2=2.0, sigma_b2=0.0, activation="relu")
bends = ntk.phase(line_w, line_b).curvature


def log_coefficient(series, depth=1000):
    """Of log l, from the gains from l to 2l and to 4l, so that const/l cancels."""

    def doubled(depth):
        return series[2 * depth] - series[depth]

    return (2 * doubled(2 * depth) - doubled(depth)) / np.log(2)


def excess(path, r):
    """p_ab/q* without its leading term."""
    layers = torch.arange(4001)[:, None]
    return (path.p_ab / path.q[0]).view(4001, -1) - layers / (r + 1)


# %%
def one_by_one(found, what, rtol=0.01, atol=None, n=1, seed=0):
    """Numbers beside predictions: each of them must refuse a counterfeit."""
    near = {"rtol": rtol} if atol is None else {"atol": atol}

    def one(x, y):
        some = near | {"n": n, "seed": seed, "what": what}
        return lambda: measured(float(x), float(y), **some)

    def verify(expected):
        pairs = zip(found, expected, strict=True)
        return each(*(one(*pair) for pair in pairs))

    return verify


# %%
layers = torch.arange(4001)[:, None]
of_time = log_coefficient(1 / smooth.gap - bends / 2 * layers)
check(
    "ntk-critical-decay",
    one_by_one(of_time, "coefficient of log l in 1/(1 − c)"),
    -(bends / 2 + 1 / 3),  # u/2 − v/(3u), with v = u + 3u²
    counterfeit=bends / 2,
    says="u/2: the third derivative does not matter",
    scope="the logarithm, three erf networks",
)
check(
    "ntk-critical-log-erf",
    one_by_one(log_coefficient(excess(smooth, 2)), "coefficient of log l"),
    -(1 / 3 + 2 / (9 * bends)),
    counterfeit=torch.full_like(bends, -1 / 3),
    says="the coefficient is −1/3 for every q*",
)
check(
    "ntk-critical-log-relu",
    one_by_one(log_coefficient(excess(rough, 3)), "coefficient of log l"),
    torch.tensor([3 / 8]),
    counterfeit=torch.tensor([1 / 4]),
    says="1/4 in place of 3/8",
)

# %%
inputs = 8


def scaled_residual(path, limit):
    """l times what κ is off its limit."""
    kappa = 1 + inputs * (path.p_ab / path.p_gap).view(4001, -1)
    return (kappa - limit) * torch.arange(4001)[:, None]


of_kappa = torch.cat(
    [
        log_coefficient(scaled_residual(smooth, (inputs + 2) / 2)),
        log_coefficient(scaled_residual(rough, (inputs + 3) / 3)),
    ]
)

# %%
check(
    "ntk-critical-residual",
    one_by_one(of_kappa, "coefficient of log l in κ l"),
    torch.cat(
        [-inputs * (3 / 4 + 1 / (2 * bends)), torch.tensor([2 * inputs / 3])]
    ),
    counterfeit=torch.cat(
        [-inputs * (3 / 4 + 1 / bends), torch.tensor([inputs / 3])]
    ),
    says="1/u in place of 1/(2u), and half of it for ReLU",
)

# %% [markdown]
# One might expect a residual of the order $\frac1l$. The logarithm grows slowly, but it is there.
#
# One more contrast. The covariance alone is *not* well conditioned at criticality: its $a=q^*(1-c^l)$ tends to 0.
#
# :::{prf:proposition} Only the tangent kernel saturates
# :label: ntk-nngp-conditioning
#
# {status}`ntk-nngp-conditioning` At criticality and under {prf:ref}`ntk-normal`, $\kappa_K\simeq\frac{mu}2\,l$ for erf and, without biases, $\simeq\frac{2m}{9\pi^2}\,l^2$ for ReLU.
# :::
#
# :::{prf:proof}
# $a=q^*(1-c^l)$ with $1-c^l\simeq\frac2{ul}$, and for ReLU $1-\cos\theta\simeq\frac{\theta^2}2\simeq\frac{9\pi^2}{2l^2}$. Then $\kappa_K\simeq mq^*/a$.
# :::

# %%
layers_deep = 4000
gaps = torch.cat([smooth.gap[layers_deep], rough.gap[layers_deep][None]])
worse = 1 + inputs * (1 - gaps) / gaps
expected_kappa = torch.cat(
    [
        inputs * bends * layers_deep / 2,
        torch.tensor([2 * inputs * layers_deep**2 / (9 * np.pi**2)]),
    ]
)

# %%
check(
    "ntk-nngp-conditioning",
    one_by_one(worse, "κ_K", rtol=0.02),
    expected_kappa,
    counterfeit=2 * expected_kappa,
    says="twice as large",
    scope="depth 4000, three erf networks and ReLU",
)

# %% [markdown]
# ## Table 1, cell by cell
#
# The paper's main table gives, as we remember it, for three phases and three architectures, the leading behaviour of $\lambda_{\max}$, $\lambda_{\mathrm{bulk}}$, $\kappa$ and $P(\Theta)Y$. The architectures are fully connected networks (FCN), convolutional networks whose read-out sees every position (CNN-F), and convolutional networks with global average pooling (CNN-P). We state every cell with its constant. Convolutions come {ref}`below <ntk-convolutions>`; for now it is enough that a CNN with $d$ positions keeps an entry for each pair of positions, and that after the last layer CNN-F averages over the $d$ pairs of equal positions, and CNN-P over all $d^2$ pairs.
#
# Some constants belong to the data, and theory can still say which ones. Each pair of inputs $a,b$ (and positions) has one number that survives the depth:
#
# - ordered: $\zeta_{ab}=\lim\chi_1^{-l}(1-c_{ab}^l)$. The matrix $Z$ holds their averages over positions, $z_*$ those of the test input. $g=q^*+C''(1)p^*/\chi_1$.
# - critical: $s_{ab}=\lim\bigl(\frac2{u(1-c_{ab}^l)}-\frac2{u(1-c^l)}\bigr)$, where $c^l$ starts at some fixed correlation. It counts by how many layers the pair is ahead. $S$ and $s_*$ as before, with zeros where a position of an input meets itself.
# - chaotic: $\zeta_{ab}=\lim\chi_{c^*}^{-l}(c_{ab}^l-c^*)$, and $\zeta_*$ holds the averages for the test input. $g=q^*+C''(c^*)p^*_{ab}/\chi_{c^*}$.
#
# :::{prf:theorem} Table 1 with constants (companion)
# :label: ntk-table
#
# Let {prf:ref}`ntk-normal` hold, in a CNN at each position, and let the labels have mean zero. For CNN-P let no image be a circular shift of another (pooling could not tell them apart) or of itself. Then for erf with $\sigma_b>0$ the cells of {numref}`table-ntk-ordered`, {numref}`table-ntk-critical` and {numref}`table-ntk-chaotic` hold; where the constant of a cell is 0, the next term decides.
# :::
#
# :::{table} Ordered phase. $\mu$, the least eigenvalue of $-Z$ on vectors of sum 0, is taken to be positive.
# :name: table-ntk-ordered
#
# | quantity | FCN | CNN-F | CNN-P |
# |---|---|---|---|
# | $\lambda_{\max}=mp^*-\dots$ | $l\chi_1^l\,g\,\frac{\mathbf 1^\top Z\mathbf 1}m$ {status}`ntk-t1-ordered-lambda-max-fcn` | the same {status}`ntk-t1-ordered-lambda-max-cnn-f` | the same {status}`ntk-t1-ordered-lambda-max-cnn-p` |
# | mean $\lambda_{\mathrm{bulk}}$ | $l\chi_1^l\,g\,\frac{\mathbf 1^\top Z\mathbf 1/m-\operatorname{tr}Z}{m-1}$ {status}`ntk-t1-ordered-lambda-bulk-fcn` | the same {status}`ntk-t1-ordered-lambda-bulk-cnn-f` | the same {status}`ntk-t1-ordered-lambda-bulk-cnn-p` |
# | $\kappa$ | $\frac{mp^*}{g\mu}\,\frac{\chi_1^{-l}}l$ {status}`ntk-t1-ordered-kappa-fcn` | the same {status}`ntk-t1-ordered-kappa-cnn-f` | the same {status}`ntk-t1-ordered-kappa-cnn-p` |
# | $P(\Theta)Y$ | kriging with $Z$ {status}`ntk-t1-ordered-predictor-fcn` | the same {status}`ntk-t1-ordered-predictor-cnn-f` | the same {status}`ntk-t1-ordered-predictor-cnn-p` |
# :::
#
# :::{table} Critical line.
# :name: table-ntk-critical
#
# | quantity | FCN | CNN-F | CNN-P |
# |---|---|---|---|
# | $\lambda_{\max}$ | $\frac{m+2}3\,lq^*$ {status}`ntk-t1-critical-lambda-max-fcn` | the same {status}`ntk-t1-critical-lambda-max-cnn-f` | $\frac{md+2}{3d}\,lq^*$ {status}`ntk-t1-critical-lambda-max-cnn-p` |
# | $\lambda_{\mathrm{bulk}}$ | $\frac23\,lq^*$ {status}`ntk-t1-critical-lambda-bulk-fcn` | the same {status}`ntk-t1-critical-lambda-bulk-cnn-f` | $\frac2{3d}\,lq^*$ {status}`ntk-t1-critical-lambda-bulk-cnn-p` |
# | $\kappa$ | $\frac{m+2}2$ {status}`ntk-t1-critical-kappa-fcn` | the same {status}`ntk-t1-critical-kappa-cnn-f` | $\frac{md+2}2$ {status}`ntk-t1-critical-kappa-cnn-p` |
# | $P(\Theta)Y$ | $\frac1{2l}\bigl(s_*^\top-\frac{\mathbf 1^\top S}{m+2}\bigr)Y$ {status}`ntk-t1-critical-predictor-fcn` | the same {status}`ntk-t1-critical-predictor-cnn-f` | $\frac d{2l}\bigl(s_*^\top-\frac{d\,\mathbf 1^\top S}{md+2}\bigr)Y$ {status}`ntk-t1-critical-predictor-cnn-p` |
# :::
#
# :::{table} Chaotic phase. $d=1$ for FCN and CNN-F.
# :name: table-ntk-chaotic
#
# | quantity | FCN | CNN-F | CNN-P |
# |---|---|---|---|
# | $\lambda_{\max}$ | $\frac{q^*}{\chi_1-1}\,\chi_1^{l+1}$ {status}`ntk-t1-chaotic-lambda-max-fcn` | the same {status}`ntk-t1-chaotic-lambda-max-cnn-f` | over $d$ {status}`ntk-t1-chaotic-lambda-max-cnn-p` |
# | $\lambda_{\mathrm{bulk}}$ | $\frac{q^*}{\chi_1-1}\,\chi_1^{l+1}$ {status}`ntk-t1-chaotic-lambda-bulk-fcn` | the same {status}`ntk-t1-chaotic-lambda-bulk-cnn-f` | over $d$ {status}`ntk-t1-chaotic-lambda-bulk-cnn-p` |
# | $\kappa-1$ | $\frac{mp_{ab}^*(\chi_1-1)}{q^*}\,\chi_1^{-(l+1)}$ {status}`ntk-t1-chaotic-kappa-fcn` | the same {status}`ntk-t1-chaotic-kappa-cnn-f` | times $d$ {status}`ntk-t1-chaotic-kappa-cnn-p` |
# | $P(\Theta)Y$ | $\frac{(\chi_1-1)g}{q^*\chi_1}\,\zeta_*^\top Y\;l\bigl(\frac{\chi_{c^*}}{\chi_1}\bigr)^l$ {status}`ntk-t1-chaotic-predictor-fcn` | the same {status}`ntk-t1-chaotic-predictor-cnn-f` | times $d$ {status}`ntk-t1-chaotic-predictor-cnn-p` |
# :::
#
# :::{prf:proof}
# *Convolution.* Along each diagonal of positions the entries become equal, exponentially faster than they approach their limit ({prf:ref}`ntk-circulant` below). From then on the pairs $(\alpha,\alpha')$ of one offset $\alpha'-\alpha$ follow the recursion of an FCN, and all that is left of the positions is in the averages.
#
# *Pooling.* The pooled diagonal is the mean over $d$ pairs of equal positions and $d(d-1)$ others, so $a$ is $\frac1d$ of $p_{aa}-p_{ab}$, up to the data's constants. All else is first-order perturbation of {prf:ref}`ntk-two-eigenvalues`.
#
# *Ordered.* By {prf:ref}`ntk-limits`, $\Theta=p^*\mathbf 1\mathbf 1^\top-l\chi_1^lg\,Z$ up to $O(\chi_1^l)$. The top eigenvalue moves by $-\mathbf 1^\top Z\mathbf 1/m$ times the factor, the trace by $-\operatorname{tr}Z$, and the others are eigenvalues of $-Z$ on $\mathbf 1^\perp$. $P(\Theta)Y$ is {prf:ref}`ntk-kriging` below, with $\epsilon=l\chi_1^lg$ and a $Z$ that is off by $O(\frac1l)$: the limit is continuous in $Z$. (Its conditions hold. Since $\mu>0$ and $\mathbf 1^\top Z\mathbf 1>0$, $Z$ has $m-1$ negative eigenvalues and a positive one. And $v=Z^{-1}\mathbf 1$ cannot have the sum 0: then $v^\top Zv$, which is this sum, would have to be negative.)
#
# *Critical.* The limits $s_{ab}$ exist: a layer multiplies the difference of two values of $\frac1{1-c}$ by $1+O(l^{-2})$. A pair that is ahead by $s_{ab}$ layers has $\chi=1-\frac2{l+s_{ab}}=1-\frac2l+\frac{2s_{ab}}{l^2}$, up to common terms and smaller ones. In the proof of {prf:ref}`ntk-logs` this adds $\frac{2s_{ab}}{3l}$ to the right side of the recursion for $w$, and so $\frac{s_{ab}}3$ to $w$: up to common terms $p_{ab}=\frac{q^*}3(l+s_{ab})$. So $\Theta=a I+b\mathbf 1\mathbf 1^\top+\frac{q^*}3S$ with $a=\frac{2q^*l}{3d}$ and $b=\frac{q^*l}3$, up to multiples of $I$ and $\mathbf 1\mathbf 1^\top$ of order $\log l$. To first order in $S$ and with $\Theta_0=aI+b\mathbf 1\mathbf 1^\top$, $\Theta^{-1}Y=\frac1aY-\frac{q^*}{3a}\Theta_0^{-1}SY$, whence $\mathbf 1^\top\Theta^{-1}Y=-\frac{q^*}{3a(a+mb)}\mathbf 1^\top SY$. Multiply by the test row $b\mathbf 1^\top+\frac{q^*}3s_*^\top$.
#
# *Chaotic.* $a=\frac1d\,q^*\chi_1^{l+1}/(\chi_1-1)$ dominates everything, and $b\to p^*_{ab}$: so $\lambda_{\max}$ and $\lambda_{\mathrm{bulk}}$ are $a$ to leading order, and $\kappa-1\simeq\frac{mb}a$. Since $Y$ has mean zero, $P(\Theta)Y\simeq\frac1a\sum_b(p_{*b}-p^*_{ab})Y_b$, with $p_{*b}-p^*_{ab}\simeq l\chi_{c^*}^l\,g\,\zeta_{*b}$ by {prf:ref}`ntk-limits`.
# :::
#
# We measure every cell, at 50 digits, on three training images and a test image with four positions. At criticality and in the ordered phase the next terms are smaller by no more than a factor of $l$, up to logarithms. So we do not compare leading terms, but what isolates their constants.
#
# - Ordered: over $\chi_1^l$ the eigenvalues are affine in $l$, and we take their gain from one layer to the next. $\kappa l\chi_1^l$ and $P(\Theta)Y$ miss their limits by a multiple of $\frac1l$, and two depths cancel it.
# - Critical: let $f$ be one of $\lambda_{\max}$, $\lambda_{\mathrm{bulk}}$, $l\kappa$ and $l^2P(\Theta)Y$. It is a multiple of $l$, plus a multiple of $\log l$, plus a constant. The last two drop out of $f(4l)-2f(2l)+f(l)$, which leaves $l$ times the factor of $l$: the constant of the table.
# - Chaotic: the corrections are exponentially small, and one depth is enough. $P(\Theta)Y$, which has the factor $l$, is measured by its gain in a layer.
#
# The code names for each comparison the depths and the relative tolerance. Each cell of the table has to refuse all its neighbours, too, one by one: the gain $q^*$ in place of $g$, kriging without its constraint, the decay of ReLU, or an exponent shifted by a layer; and, in the column of one convolutional network, the formula of the other.

# %%
COMPARED = {  # what is compared, at which depths, and the relative tolerance
    "ordered": {
        "lambda_max": ("(mp* − λ_max)/χ₁^l, from depth 100 to 101", 1e-4),
        "lambda_bulk": ("mean λ_bulk/χ₁^l, from depth 100 to 101", 1e-4),
        "kappa": ("κ l χ₁^l, from depths 100 and 200", 3e-3),
        "P(Theta)Y": ("P(Θ)Y, from depths 100 and 200", 1e-3),
    },
    "critical": {
        "lambda_max": ("λ_max/l, from depths 100, 200 and 400", 1e-3),
        "lambda_bulk": ("mean λ_bulk/l, from depths 100, 200 and 400", 1e-3),
        "kappa": ("κ, from depths 100, 200 and 400", 1e-3),
        "P(Theta)Y": ("l P(Θ)Y, from depths 100, 200 and 400", 1e-2),
    },
    "chaotic": {
        "lambda_max": ("λ_max at depth 100", 1e-9),
        "lambda_bulk": ("mean λ_bulk at depth 100", 1e-9),
        "kappa": ("κ − 1 at depth 100", 1e-5),
        "P(Theta)Y": ("P(Θ)Y (χ₁/χ_c)^l, from depth 100 to 101", 1e-5),
    },
}
named = {"ordered": (100, 200), "critical": (100, 200, 400)}
assert named | {"chaotic": (100,)} == deep.DEPTHS
SLUGS = {
    "lambda_max": "lambda-max",
    "lambda_bulk": "lambda-bulk",
    "kappa": "kappa",
    "P(Theta)Y": "predictor",
}


# %%
def neighbours(phase, quantity, architecture):
    """False cells near a true one: their words, and how they alter it."""
    predictor, at = quantity == "P(Theta)Y", deep.regime(phase)
    gain = {"g = q*": {"gain": at.q}}
    shifted = {"one layer less in the exponent": {"layers": 0}}
    simple = {"simple kriging": {"kriging": "simple"}}
    false = {
        "ordered": simple if predictor else gain,
        "critical": {"the decay of ReLU": {"r": 3}},
        "chaotic": shifted | gain if predictor else shifted,
    }[phase]
    flipped = {
        "CNN-F": {"the cell of CNN-P": {"pooled": True}},
        "CNN-P": {"the cell of CNN-F": {"pooled": False}},
    }
    return false | flipped.get(architecture, {})


# %%
def cell(phase, quantity, architecture):
    """Verifies alterations of a cell, all of which must stand or fall."""
    what, rtol = COMPARED[phase][quantity]

    def one(altered):
        pair = table.cell(phase, architecture, quantity, **altered)
        some = {"rtol": rtol, "n": 1, "seed": 0, "what": what}
        return lambda: measured(*map(float, pair), **some)

    return lambda alterations: each(*map(one, alterations))


# %% tags=["hide-output"]
for phase, quantity, architecture in product(
    deep.DEPTHS, table.QUANTITIES, table.ARCHITECTURES
):
    false, at = neighbours(phase, quantity, architecture), deep.regime(phase)
    check(
        f"ntk-t1-{phase}-{SLUGS[quantity]}-{architecture.lower()}",
        cell(phase, quantity, architecture),
        [{}],
        counterfeit=false.values(),
        says="; ".join(false),
        scope=f"three images, σ_w² = {float(at.sigma_w2):.2f}",
    )


# %% [markdown]
# Two remarks. In the ordered phase one might expect a plain factor $d$ for CNN-P, as in the other two. It is right if within an image the offsets correlate like different images do; in general the averages in $Z$ decide. And the columns FCN and CNN-F agree because their *formulas* do; their data's constants need not.
#
# ## What the predictor remembers
#
# ### Ordered: kriging
#
# In the ordered phase $P(\Theta)Y$ tends to a constant of the data, as the paper says. It is a well-known one: the prediction of geostatistics, where a field is interpolated from its *variogram*, the mean squared difference at two places, with weights that add up to one.
#
# :::{prf:theorem} The ordered limit is ordinary kriging (companion)
# :label: ntk-kriging
#
# {status}`ntk-kriging` Let $\Theta=p^*\mathbf 1\mathbf 1^\top-\epsilon Z$ and the test row be $p^*\mathbf 1^\top-\epsilon z^\top$, with $p^*>0$, $Z$ invertible and $\mathbf 1^\top Z^{-1}\mathbf 1\ne0$. As $\epsilon\to0$ the weights tend to
#
# $$w=Z^{-1}z+\frac{Z^{-1}\mathbf 1}{\mathbf 1^\top Z^{-1}\mathbf 1}\,\bigl(1-\mathbf 1^\top Z^{-1}z\bigr).$$
# :::
#
# :::{prf:proof}
# With $A=-Z$, $B=-z$ the weights $w=\Theta^{-1}(p^*\mathbf 1+\epsilon B)$ satisfy $\epsilon Aw=p^*(1-\mathbf 1^\top w)\mathbf 1+\epsilon B$. So $w=A^{-1}B+\nu A^{-1}\mathbf 1$ with $\nu=\frac{p^*}\epsilon(1-\mathbf 1^\top w)$. Sum the entries: $1-\frac\epsilon{p^*}\nu=\mathbf 1^\top A^{-1}B+\nu\,\mathbf 1^\top A^{-1}\mathbf 1$, which gives $\nu=\bigl(1-\mathbf 1^\top A^{-1}B\bigr)\big/\bigl(\mathbf 1^\top A^{-1}\mathbf 1+\frac\epsilon{p^*}\bigr)$. Let $\epsilon\to0$.
# :::
#
# For three training inputs the weights with this $\nu$ solve the system as an identity between rational functions.

# %%
def kriging_weights(share):
    """N w, with N the denominator of ν: no division, so that it holds everywhere."""
    z, p = (
        sp.symbols("z01 z02 z12", positive=True),
        sp.Symbol("p", positive=True),
    )
    z_test = sp.Matrix(sp.symbols("z0:3", positive=True))
    one = sp.ones(3, 1)
    A = -sp.Matrix([[0, z[0], z[1]], [z[0], 0, z[2]], [z[1], z[2], 0]])
    simple, spread = A.inv() * -z_test, A.inv() * one
    N = sum(spread) + share * eps / p
    weights = N * simple + (1 - sum(simple)) * spread
    left = (p * one * one.T + eps * A) * weights
    return identities([(left, N * (p * one - eps * z_test))])


# %%
check(
    "ntk-kriging",
    kriging_weights,
    1,
    counterfeit=0,
    says="the limit is reached at every ε",
    scope="the weights at ε > 0, three inputs",
)

# %% [markdown]
# How far is the limit? We follow all pairs of six scattered points, with their differences as the variables, so that nothing is lost at any depth, and solve for $P(\Theta)Y$ at 60 digits.

# %%
places = torch.tensor([0.0, 0.5, 1.3, 2.0, 3.1, 0.3], dtype=torch.float64)
values = torch.tensor([1.0, 2.0, -1.0, 0.5, -2.5], dtype=torch.float64)
start = 2.0 ** -(places[:, None] - places).abs()
field = ntk.trajectory(1600, sigma_w2=1.25, sigma_b2=0.05, c0=start)


def predicted(gap, diagonal):
    """P(Θ)Y, Θ by its diagonal and what the other entries lack; 60 digits."""
    with mp.workdps(60):
        kernel = diagonal - mp.matrix(gap.tolist())
        weights = mp.lu_solve(kernel[:5, :5], kernel[:5, 5])
        return float(mp.fdot(weights, values.tolist()))


shape = field.gap[400] / field.gap[400].max()  # nearly Z, up to a factor
limit = float(curves.kriging_weights(shape[:5, :5], shape[5, :5]) @ values)

# %%
ours = {
    n: predicted(field.p_gap[n], float(field.p_aa[n, 0, 0]))
    for n in (800, 1600)
}
covariances = {n: predicted(field.gap[n], 1.0) for n in (200, 201)}
glue("ntk-kriging-limit", round(limit, 3))
glue("ntk-kriging-1600", round(ours[1600], 3))
glue("ntk-kriging-nngp-200", round(covariances[200], 3))


def extrapolated(target):
    """Errors of order 1/l cancel."""
    found = 2 * ours[1600] - ours[800]
    return measured(
        found, target, rtol=1e-3, n=1, seed=0, what="limit of P(Θ)Y"
    )


# %%
check(
    "ntk-kriging",
    extrapolated,
    limit,
    counterfeit=float(torch.linalg.solve(shape[:5, :5], shape[5, :5]) @ values),
    says="simple kriging: the weights need not add up to 1",
)

# %%
at = fixed["ordered"]


def error_a_layer(factor):
    found = (covariances[201] - limit) / (covariances[200] - limit)
    return measured(
        found, factor, rtol=1e-3, n=1, seed=0, what="factor a layer"
    )


# %%
check(
    "ntk-kriging-nngp",
    error_a_layer,
    at.chi_1,
    counterfeit=200 / 201,
    says="its error decays like 1/l, too",
    scope="the covariance",
)
slow = (ours[1600] - limit) / (ours[800] - limit)
check(
    "ntk-kriging-nngp",
    lambda ratio: measured(
        slow, ratio, rtol=0.05, n=1, seed=0, what="error at twice the depth"
    ),
    0.5,
    counterfeit=0.25,
    says="like 1/l²",
    scope="the tangent kernel",
)


# %% [markdown]
# The limit is {glue:text}`ntk-kriging-limit`. After 200 layers the covariance predicts {glue:text}`ntk-kriging-nngp-200` {status}`ntk-kriging-nngp`; after 1600 layers the tangent kernel is still at {glue:text}`ntk-kriging-1600`. The resonance is to blame: $\Theta$ is $l\chi_1^lg\,Z$ plus something of the order $\chi_1^l$, so its error is of the order $\frac1l$, while $K$ has no factor $l$.
#
# ### Chaotic: the mean is special
#
# :::{prf:proposition} A label mean decays more slowly
# :label: ntk-label-mean
#
# {status}`ntk-label-mean` In the chaotic phase $P(\Theta)Y$ decays like $l\,(\chi_{c^*}/\chi_1)^l$ for labels of mean zero (if $\zeta_*^\top Y\ne0$), and like $\chi_1^{-l}$ for constant labels.
# :::
#
# :::{prf:proof}
# For large $l$, $P(\Theta)Y=\frac1a\sum_bp_{*b}Y_b$ up to smaller terms, with $a\simeq q^*\chi_1^{l+1}/(\chi_1-1)$. A constant label meets $p^*_{ab}$, the others only meet $p_{*b}-p^*_{ab}$.
# :::

# %%
def decay(labels):
    """Factor of P(Θ)Y from depth 100 to depth 101."""
    networks = table.Sequence("chaotic", "FCN")
    with mp.workdps(deep.DIGITS):
        sizes = []
        for depth in (100, 101):
            train, test = networks.matrices(depth)
            sizes.append(mp.fdot(test, mp.lu_solve(train, mp.matrix(labels))))
        return sizes[1] / sizes[0]


# %%
at = deep.regime("chaotic")
one_more = mp.mpf(101) / 100  # what a factor l gains
check(
    "ntk-label-mean",
    one_by_one(
        [decay((2, -3, 1)), decay((1, 1, 1))], "factor a layer", rtol=2e-3
    ),
    [one_more * at.chi_c / at.chi_1, 1 / at.chi_1],
    counterfeit=[at.chi_c / at.chi_1, one_more * at.chi_c / at.chi_1],
    says="no factor l; constant labels decay like the others",
)

# %% [markdown]
# This has a consequence for the accuracy. The *class* that a network predicts is the largest of ten outputs, and does not change when all of them shrink alike. So the accuracy ends where something else is larger than $P(\Theta)Y$, and it matters what.
#
# :::{prf:observation} What ends the accuracy (companion)
# :label: ntk-competitors
#
# {status}`ntk-competitors` Deep in the chaotic phase, on digits: for the mean of all networks and labels of mean zero, nothing competes, and the accuracy stays. A mean of the labels that differs between the classes competes: the ratio is $l\chi_{c^*}^l$, and accuracy ends at a few $\xi_{c^*}$. The random start of a single network competes: the ratio is $l(\chi_{c^*}/\chi_1)^l$, and accuracy ends at a few $\xi_*$.
# :::

# %%
at = ntk.phase(2.45, 0.18)
long = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 80)
cases = {
    "labels of mean zero": (centred, 0),
    "labels with a mean": (digits.train_y[0], 0),
    "a random start": (centred, 8),
}
ends = {
    name: members.accuracies(
        digits, labels, long, sigma_w2=2.45, sigma_b2=0.18, copies=copies
    )[:, 1]
    for name, (labels, copies) in cases.items()
}


# %%
def half_life(name):
    """The depth at which half of the accuracy above chance is gone, or inf."""
    above = (ends[name] - 0.1) / (ends[name][0] - 0.1)
    lost = (d for d, share in zip(long, above, strict=True) if share < 0.5)
    return next(lost, np.inf)


# %%
def ends_between(depths):
    """Each of the three between two depths."""

    def one(name, between):
        depth, (low, high) = half_life(name), between
        words = f"{name}: half of it is gone at depth {depth}"
        return lambda: observed(low <= depth <= high, words, n=200, seed=0)

    pairs = zip(cases, depths, strict=True)
    return each(*(one(*pair) for pair in pairs))


# %%
never = long[-1], np.inf  # not in the depths that we look at
few_c, few_star = ((x, 4 * x) for x in (at.xi_c, at.xi_star))
check(
    "ntk-competitors",
    ends_between,
    (never, few_c, few_star),
    counterfeit=(few_c, few_star, few_c),
    says="at a few ξ_c, a few ξ_*, and a few ξ_c",
    scope="to depth 80, on digits",
)

# %% tags=["hide-input", "remove-output"]
assert (round(at.xi_star, 1), round(at.xi_c, 1)) == (3.5, 8.2)
assert ends["labels of mean zero"].min() > 0.85
fig, ax = plt.subplots()
for (name, shares), color in zip(
    ends.items(), ("blue", "purple", "red"), strict=True
):
    ax.plot(long, 100 * shares, color=COLORS[color], label=name)
for depth, name in ((at.xi_star, r"$\xi_*$"), (at.xi_c, r"$\xi_{c^*}$")):
    ax.axvline(depth, color=COLORS["grey"], linewidth=0.8)
    ax.annotate(name, (depth * 1.05, 2), color=COLORS["grey"])
ax.set_ylim(0, 100)
ax.set_xscale("log", base=2)
ax.set_xticks(long[::2], [str(d) for d in long[::2]])
ax.set_xlabel("depth l")
ax.set_ylabel("accuracy on new digits (%)")
label_lines(ax)
figure("ntk-ends", fig)

# %% [markdown]
# :::{glue:figure} ntk-ends
# :name: fig-ntk-ends
# :alt: Test accuracy against depth from 1 to 80, three lines; two vertical ones mark ξ_* at 3.5 and ξ_c at 8.2. With labels of mean zero it stays near 90 per cent. With labels that have a mean it falls from above 80 to near 20 per cent between depths 16 and 32. With a random start it is lower from the beginning, and near chance from depth 24 on.
#
# Accuracy on new digits at $\sigma_w^2=2.45$, $\sigma_b^2=0.18$, trained to the end on 64 digits. The upper two lines are the mean of all networks of infinite width, for labels centred on the training set and for labels that are $\frac9{10}$ and $-\frac1{10}$; the lowest is the mean accuracy of eight random ones.
# :::
#
# So $P(\Theta)Y\to0$ is the end of generalization for a network with a random start. To subtract the start, and to centre the labels, would save it.
#
# ### On images
#
# {numref}`fig-ntk-curves` follows the kernel of sixteen digits through 200 layers in all three phases, beside the theory {status}`ntk-fig-curves`. Nothing is fitted: the data's constants are read off the covariance at depth 100.

# %%
PHASES = {
    "ordered": 1.25,
    "critical": ntk.critical_sigma_w2(0.05),
    "chaotic": 1.5,
}
PHASE_COLORS = dict(zip(PHASES, ("blue", "purple", "red"), strict=True))
parity = (digits.train[0, :16] % 2).double()  # learn odd or even
parity -= parity.mean()
layers_shown = range(4, 201, 4)
studies = {
    name: curves.study(
        digits.train_x[0, :16],
        digits.test_x[:1],
        parity,
        layers_shown,
        sigma_w2=w,
        sigma_b2=0.05,
    )
    for name, w in PHASES.items()
}

# %% [markdown]
# Do the curves have the powers of $l$ that the theory gives them? A curve that the theory has at $l\,t(l)$ is really $(l+B)\,t(l)$, or with a multiple of $\log l$ besides, and at depth 200 the $B$ still shows. So we divide by $t(l)$, take two or three large depths, and solve for the coefficient of $l$, with the constant and the logarithm as further unknowns. It must be 1, and with $l^{0.9}$ or $l^{1.1}$ in place of $l$ it must not be 1. (Where the theory has a constant or $\frac1l$, the curve is multiplied by the powers of $l$ that are missing; of $\kappa$ in the chaotic phase we take what it is above 1; the data's constants are read off at depth 400.)

# %%
FAR = {
    "ordered": (200, 400),
    "critical": (400, 800, 1600),
    "chaotic": (400, 800),
}
POWERS = {"critical": ("top", "bulk", "predictor"), "chaotic": ("predictor",)}
POWERS["ordered"] = ("bulk", "kappa")  # the curves that are l or 1/l times χ^l


def far_study(name):
    options = {"sigma_w2": PHASES[name], "sigma_b2": 0.05, "read_at": 400}
    images = digits.train_x[0, :16], digits.test_x[:1]
    return curves.study(*images, parity, FAR[name], **options)


far_away = {name: far_study(name) for name in FAR}


# %%
def coefficient(name, quantity, power):
    """That of l^power in found/t, beside a constant and, if needed, log l."""
    layers = np.array(FAR[name], dtype=float)
    power = power if quantity in POWERS[name] else 1
    _, *both = far_away[name]
    found, theory = (getattr(some, quantity) for some in both)
    if (name, quantity) == ("chaotic", "kappa"):
        found, theory = found - 1, theory - 1  # κ tends to 1 all too soon
    ratio = found / theory
    terms = [layers**power, np.ones_like(layers), np.log(layers)]
    columns = np.column_stack(terms[: len(layers)])
    return np.linalg.solve(columns, ratio.numpy() * layers)[0]


def leading_terms(some):
    """Coefficients of (phase, curve, power of l): each of them must be 1."""
    found = [coefficient(*case) for case in some]
    return one_by_one(found, "coefficient")([1] * len(found))


all_curves = [*product(FAR, curves.Curves._fields)]
of_power = [(name, curve) for name in FAR for curve in POWERS[name]]

# %%
check(
    "ntk-fig-curves",
    one_by_one([coefficient(*case, 1) for case in all_curves], "coefficient"),
    [1] * len(all_curves),
    counterfeit=[1.02] * len(all_curves),
    says="all constants are two per cent larger",
    scope="λ, κ and P(Θ)Y: the constants",
)
for power in (0.9, 1.1):
    check(
        "ntk-fig-curves",
        leading_terms,
        [(*case, 1) for case in of_power],
        counterfeit=[(*case, power) for case in of_power],
        says=f"like l^{power}",
        scope=f"where the theory has l or 1/l: l, and not l^{power}",
    )


# %% tags=["hide-input"]
def against_theory(name):
    """For each panel: what is found at the depths shown, and the theory."""
    at, found, theory = studies[name]
    depths = torch.tensor(layers_shown, dtype=torch.float64)
    path = ntk.trajectory(200, sigma_w2=PHASES[name], sigma_b2=0.05)
    gap = (path.gap - (1 - at.c)).abs()[list(layers_shown)]
    decay = at.chi_c ** (depths - depths[-1]) * gap[-1]
    if name == "critical":
        decay = 2 / (at.curvature * depths)
    of_predictor = found.predictor.abs(), theory.predictor.abs()
    of_spectrum = (found.bulk, theory.bulk), (found.kappa, theory.kappa)
    return (gap, decay), *of_spectrum, of_predictor


# %% tags=["hide-input", "remove-output"]
fig, panels = plt.subplots(4, 1, figsize=(6.4, 10.5), sharex=True)
for name in PHASES:
    style = {"color": COLORS[PHASE_COLORS[name]]}
    for ax, (ours, expected) in zip(panels, against_theory(name), strict=True):
        ax.semilogy(layers_shown, ours, label=name, **style)
        ax.semilogy(layers_shown, expected, linestyle=":", **style)
labels = (
    r"$|c-c^*|$",
    r"mean $\lambda_{\mathrm{bulk}}$",
    r"$\kappa$",
    r"$|P(\Theta)Y|$",
)
for ax, label in zip(panels, labels, strict=True):
    ax.set_ylabel(label)
    label_lines(ax)
panels[3].set_xlabel("depth l")
figure("ntk-curves", fig)

# %% [markdown]
# :::{glue:figure} ntk-curves
# :name: fig-ntk-curves
# :alt: Four panels against the depth, to 200 layers, logarithmic vertical axes, three solid lines each with a dotted one that it approaches. The distance of the correlation from its limit falls exponentially in the ordered and the chaotic phase, and like one over the depth at criticality. The bulk eigenvalue rises at first and then falls in the ordered phase, rises slowly at criticality, and fast in the chaotic phase. The condition number dips and then rises exponentially in the ordered phase, falls slowly towards a constant at criticality, and to 1 in the chaotic phase. The predictor soon levels off in the ordered phase, falls slowly at criticality, and exponentially in the chaotic phase.
#
# Sixteen digits in the three phases, at $\sigma_b^2=0.05$. Solid: computed. Dotted: the leading terms of {prf:ref}`ntk-table`. (The first panel follows one pair that starts at $c^0=\frac12$; there the dotted exponentials have the height of the last point.)
# :::
#
# Move $\sigma_w^2$ yourself:

# %% tags=["hide-input"]
steps_w = [round(0.8 + 0.1 * k, 1) for k in range(21)]
shown = [1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 72, 80]
x = torch.cat([digits.train_x[0, :16], digits.test_x[:40]])
network = {"sigma_w2": torch.tensor(steps_w).double(), "sigma_b2": 0.18}
columns = parity.expand(len(steps_w), 16)[..., None]
series = []  # at each depth: κ and the spread of P(Θ)Y, for all variances
for _, kernel in ntk.fcn_kernels(x, depths=shown, **network, activation="erf"):
    train, test = kernel.ntk[:, :16, :16], kernel.ntk[:, 16:, :16]
    P = ntk.mean_predictor(test, train, columns)[..., 0]
    kappa = ntk.spectrum(train).kappa
    seen = kappa < 1e11  # beyond, rounding swamps the smallest eigenvalue
    series.append([torch.where(seen, y, torch.nan) for y in (kappa, P.std(1))])
frames = [torch.stack(some, 1).numpy() for some in zip(*series, strict=True)]

# %% tags=["hide-input", "remove-output"]
fig, panels = plt.subplots(2, 1, figsize=(6.4, 5.4), sharex=True)
rows = ((r"$\kappa$", "blue", 0.7), (r"spread of $P(\Theta)Y$", "red", 1e-4))
drawn = []
for ax, heights, (label, color, low) in zip(panels, frames, rows, strict=True):
    ax.set_yscale("log")
    ax.set_ylim(low, min(np.nanmax(heights) * 1.5, 1e7))
    ax.set_xlim(0, shown[-1])
    ax.set_ylabel(label)
    drawn += ax.plot(shown, heights[0], color=COLORS[color])
panels[1].set_xlabel("depth l")
critical_w = ntk.critical_sigma_w2(0.18)
words = [
    f"{w:.1f} ({'ordered' if w < critical_w else 'chaotic'}), κ at depth 40: {k[10]:.3g}"
    for w, k in zip(steps_w, frames[0], strict=True)
]

# %% tags=["hide-input"]
slider(
    "ntk-slider",
    fig,
    list(zip(drawn, frames, strict=True)),
    words,
    label="variance of the weights",
    alt="Condition number and spread of the predictor over 40 new digits, against depth to 80 layers, logarithmic axes. As the variance of the weights grows from 0.8 to 2.8, the condition number turns from exponential growth to decay towards 1, and the spread from a constant to exponential decay.",
)

# %% [markdown]
# Sixteen digits, $\sigma_b^2=0.18$; the lower line ends where $\kappa$ exceeds $10^{11}$, and rounding decides. In the ordered phase the predictor stays spread over new images while $\kappa$ grows out of reach; in the chaotic phase it is the other way around.
#
# ## ReLU, and other architectures
#
# ReLU has no scale of its own: $\operatorname{relu}(\lambda z)=\lambda\operatorname{relu}(z)$ for $\lambda>0$. So without biases there is nothing like $q^*$ to settle at, and the phase diagram is another one, as the authors' notebook warns.
#
# :::{prf:proposition} ReLU without biases
# :label: ntk-relu-scale
#
# {status}`ntk-relu-scale` With $\sigma_b=0$, $K^l$ and $\Theta^l$ are $(\sigma_w^2)^{l+1}$ times kernels without $\sigma_w^2$. So $\kappa$ and $P(\Theta)$ do not depend on $\sigma_w^2$, at any depth.
# :::
#
# :::{prf:proof}
# $T$ is homogeneous of degree 1 and $\dot T$ of degree 0 in the covariance matrix. By induction each layer adds one factor $\sigma_w^2$ to every term of both recursions.
# :::

# %%
twelve = digits.train_x[0, :12]
several = torch.tensor([0.5, 2.0, 3.7], dtype=torch.float64)  # σ_w²


def a_power_times_a_matrix(**kind):
    """Is Θ at depth 20 this power of σ_w², times a matrix without σ_w²?"""

    def verify(setting):
        power, sigma_b2 = setting
        network = {"sigma_w2": several, "sigma_b2": sigma_b2} | kind
        kernels = ntk.fcn_kernel(twelve, depth=20, **network).ntk
        rest = kernels / several[:, None, None] ** power
        spread = float((rest / rest[0] - 1).abs().max())
        what = "relative spread of the matrix"
        return measured(spread, 0, atol=1e-10, n=len(rest), seed=0, what=what)

    return verify


# %%
for what, setting, says in (
    ("the power", (20, 0.0), "a layer adds one, and the input none"),
    ("without biases", (21, 0.1), "with biases, too"),
):
    check(
        "ntk-relu-scale",
        a_power_times_a_matrix(activation="relu"),
        (21, 0.0),
        counterfeit=setting,
        says=says,
        scope=f"Θ of twelve digits at depth 20, {what}",
    )


# %% [markdown]
# :::{prf:proposition} ReLU with biases
# :label: ntk-relu-bias
#
# {status}`ntk-relu-bias` With $\sigma_b>0$ and $\sigma_w^2<2$ ReLU networks are ordered: $q^*=\sigma_b^2/(1-\frac{\sigma_w^2}2)$, $\chi_1=\frac{\sigma_w^2}2$, and $c^*=1$. Under {prf:ref}`ntk-normal` the tangent kernel approaches its limit at half the rate of {prf:ref}`ntk-limits`: $p^*-p_{ab}^l\simeq p^*\,\frac{\sqrt{2\chi_1\zeta_{ab}}}{\pi(1-\sqrt{\chi_1})}\,\chi_1^{l/2}$. For $\sigma_w^2\ge2$ the variance grows without limit.
# :::
#
# :::{prf:proof}
# On the diagonal $T=\frac q2$, so $q\mapsto\frac{\sigma_w^2}2q+\sigma_b^2$, and $\dot T=\frac12$. $C$ is convex, since $\dot T=\frac{\pi-\theta}{2\pi}$ increases with $c=\cos\theta$. With the slope $\chi_1<1$ at 1 it lies above the diagonal, so $c^l\to1$. But $C$ is not smooth at 1: $\chi_1-\chi(c)=\chi_1\frac\theta\pi\simeq\frac{\chi_1}\pi\sqrt{2(1-c)}$. Along $c^l$ this is still exponentially small, so $\zeta_{ab}$ exists, as in {prf:ref}`ntk-depth-scales`. And $\delta^l=p^*-p_{ab}^l$ obeys $\delta^{l+1}=\chi_1\delta^l+p^*\frac{\chi_1}\pi\sqrt{2\zeta_{ab}}\,\chi_1^{l/2}$ up to smaller terms. Insert a multiple of $\chi_1^{l/2}$.
# :::

# %%
def relu_fixed_point(share):
    q_star = sb2 / (1 - share * w)
    at_zero = symbolic.relu_dual(q_star, q_star, sp.Integer(0))
    fixed = Chain(w * at_zero + sb2, assuming=(w < 2,))
    slope = Chain(w * symbolic.relu_slope(sp.Integer(0)))
    return each(
        lambda: fixed.eq(q_star, "fixed point").evidence(),
        lambda: slope.eq(share * w, "χ₁").evidence(),
    )


check(
    "ntk-relu-bias",
    relu_fixed_point,
    sp.Rational(1, 2),
    counterfeit=sp.Rational(1, 4),
    says="σ_w²/4: as if a quarter of the neurons were open",
    scope="q* and χ₁",
)

# %%
at = ntk.phase(1.0, 0.2, "relu")
rough_order = ntk.trajectory(
    60, sigma_w2=1.0, sigma_b2=0.2, activation="relu"
)
zeta = float(rough_order.gap[60]) * at.chi_1**-60


def half_as_fast(loss):
    expected = at.p * (2 * at.chi_1 * zeta) ** 0.5 / np.pi / loss
    found = (at.p - float(rough_order.p_ab[60])) * at.chi_1**-30
    what = "χ₁^(−l/2) (p* − p_ab)"
    return measured(found, expected, rtol=1e-3, n=1, seed=0, what=what)


check(
    "ntk-relu-bias",
    half_as_fast,
    1 - at.chi_1**0.5,
    counterfeit=1 - at.chi_1,
    says="1 − χ₁ in place of 1 − √χ₁",
    scope="how p_ab approaches p*, one network, depth 60",
)

# %% [markdown]
# So ReLU networks have no phase with $\kappa\to1$. Without biases and for inputs of one norm, $\kappa\to\frac{m+3}3$ at every $\sigma_w^2$, by {prf:ref}`ntk-relu-scale` and {prf:ref}`ntk-logs`. With biases and $\sigma_w^2<2$ it grows, but like $\chi_1^{-l/2}$: training reaches twice as deep as $\xi_1$ says. {ref}`An exercise <ntk-ex-border>` finds the limits of $\kappa$ at 2 and beyond.
#
# ### Dropout
#
# :::{prf:proposition} Dropout before the read-out
# :label: ntk-dropout
#
# {status}`ntk-dropout` Keep each neuron of the last hidden layer with probability $\rho<1$, by a mask drawn for each input alone, and divide by $\rho$. The entries beside the diagonal stay. In the ordered phase $a\to(\frac1\rho-1)(p^*-\sigma_b^2)$, so
#
# $$\kappa\to1+\frac{m\,\rho\,p^*}{(1-\rho)(p^*-\sigma_b^2)},$$
#
# which is bounded: dropout cures training. But $P(\Theta)$ tends to a constant row, and $P(\Theta)Y\to0$.
# :::
#
# :::{prf:proof}
# A mask that is 0, or $\frac1\rho$ with probability $\rho$, has mean 1 and mean square $\frac1\rho$. Different inputs have independent masks, and nothing changes. On the diagonal a neuron meets itself under one mask, and $\mathbb E\varphi^2$ and $\mathbb E\varphi'^2$ are multiplied by $\frac1\rho$. All of $p_{aa}$ but $\sigma_b^2$ has passed the mask: $p_{aa}\to\frac1\rho(p^*-\sigma_b^2)+\sigma_b^2$, and $b\to p^*$. With {prf:ref}`ntk-two-eigenvalues`, $P\to\frac{p^*}{a+mp^*}\mathbf 1^\top$, which sends labels of mean zero to 0.
# :::

# %%
rho, p = sp.Symbol("rho", positive=True), sp.Symbol("p", positive=True)


def dropout_limit(passed):
    """passed: the part of p* that goes through the mask."""
    gap = passed / rho + (p - passed) - p
    at = (rho < 1, p > sb2)
    top = Chain(gap, assuming=at).eq((1 / rho - 1) * (p - sb2), "a")
    ratio = Chain(1 + m * p / top.last, assuming=at).eq(
        1 + m * rho * p / ((1 - rho) * (p - sb2)), "κ"
    )
    return together(top.evidence(), ratio.evidence())


# %%
check(
    "ntk-dropout",
    dropout_limit,
    p - sb2,
    counterfeit=p,
    says="the bias of the read-out is dropped, too",
    scope="the algebra",
)

# %%
KEEPS, drop_depths = (0.5, 0.8, 0.99, 1.0), (*range(10, 300, 10), 600)
network = {"sigma_w2": 1.25, "sigma_b2": 0.05, "activation": "erf"}
dropped = {}
for keep in KEEPS:
    kernels = ntk.fcn_kernels(
        eight, depths=drop_depths, **network, keep_prob=keep
    )
    dropped[keep] = np.array(
        [float(ntk.spectrum(k.ntk).kappa) for _, k in kernels]
    )

# %%
at = ntk.phase(1.25, 0.05)


def bound(keep, bias=0.05):
    return 1 + 8 * keep * at.p / ((1 - keep) * (at.p - bias))


def bounded_by(bias):
    errors = [dropped[keep][-1] / bound(keep, bias) - 1 for keep in KEEPS[:3]]
    error, what = worst(map(abs, errors)), "relative error of κ"
    return measured(error, 0, atol=1e-5, n=3, seed=0, what=what)


# %%
check(
    "ntk-dropout",
    bounded_by,
    0.05,
    counterfeit=0.0,
    says="the bias of the read-out is dropped, too",
    scope="κ at depth 600",
)
glue("ntk-dropout-99", round(dropped[0.99][-1]))


# %%
def forgets_the_digit(keep):
    """Is the row of P(Θ) for a new digit the constant p*/(a + mp*)?"""
    kind = network | {"depth": 600, "keep_prob": keep}
    train = ntk.fcn_kernel(eight, **kind).ntk
    row = ntk.fcn_kernel(digits.test_x[:1], eight, **kind).ntk[0]
    constant = at.p / ((1 / keep - 1) * (at.p - 0.05) + 8 * at.p)
    weights = torch.linalg.solve(train, row)
    error = float((weights / constant - 1).abs().max())
    what = "relative error of a weight"
    return measured(error, 0, atol=1e-5, n=len(row), seed=0, what=what)


check(
    "ntk-dropout",
    forgets_the_digit,
    0.99,
    counterfeit=1.0,
    says="without dropout, too",
    scope="the row of P(Θ) for a new digit, depth 600",
)

# %% [markdown]
# Do random networks with masks agree? With one hidden layer their mean kernels are exact at every width, as without masks: the masks multiply a term with $i=j$ by a factor of mean $\frac1\rho$ or 1, and the terms of $\Theta$ with $i\ne j$ have the mean 0 in any case.

# %%
RANDOM = {"generator": torch.Generator().manual_seed(0)}


def random_nets(depth, width, keep_prob=1.0, count=20_000, **kind):
    """Both kernels of random networks of a kind, for the four digits."""
    sizes = (four.shape[-1], *[width] * depth, 1)
    kind = net_of_four | RANDOM | {"dtype": torch.float32} | kind
    net = ntk.wide_net(sizes, **kind)
    masks = {"keep_prob": keep_prob, **RANDOM}
    return random_kernels(net, four.float(), count, **masks)


# %%
masked = random_nets(1, 32, keep_prob=0.5, activation="erf")
bias = net_of_four["sigma_b2"]
for name, kind in (("K", "nngp"), ("Θ", "ntk")):
    limit = limit_of("erf", 1, kind, keep_prob=0.5)
    dropped_bias = limit + bias * torch.eye(4)  # (1/ρ − 1) σ_b² more
    one_mask = 2 * limit_of("erf", 1, kind) - bias
    for what, wrong, says in (
        ("the bias", dropped_bias, "the bias of the read-out is dropped, too"),
        ("the masks", one_mask, "all inputs have the same mask"),
    ):
        check(
            "ntk-dropout",
            mean_is([getattr(masked, kind)]),
            limit,
            counterfeit=wrong,
            says=says,
            scope=f"the mean {name} at width 32, one hidden layer, {what}",
        )

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(6.4, 3.4))
colors = zip(KEEPS, ("blue", "purple", "green", "red"), strict=True)
for keep, color in colors:
    style = {"color": COLORS[color]}
    name = f"keep {keep:.0%}" if keep < 1 else "no dropout"
    ax.semilogy(drop_depths[:-1], dropped[keep][:-1], label=name, **style)
    if keep < 1:
        ax.hlines(bound(keep), 10, 290, linestyle=":", **style)
        assert (np.diff(dropped[keep]) > 0).all()
        assert (dropped[keep] < bound(keep)).all()
assert [round(bound(keep)) for keep in KEEPS[:3]] == [9, 33, 797]
assert dropped[1.0][-2] > 1e5  # at depth 290
ax.set_xlabel("depth l")
ax.set_ylabel(r"$\kappa$, eight digits")
label_lines(ax)
figure("ntk-dropout-kappa", fig)


# %% [markdown]
# :::{glue:figure} ntk-dropout-kappa
# :name: fig-ntk-dropout
# :alt: Condition number against depth from 10 to 290, logarithmic vertical axis, four lines. With 50, 80 and 99 per cent of the neurons kept it rises towards dotted levels at 9, 33 and 797, and stays below them. Without dropout it goes on rising, to above 100000.
#
# Condition number of the tangent kernel of eight digits in the ordered phase, $(\sigma_w^2,\sigma_b^2)=(1.25,0.05)$, with dropout before the read-out. Dotted: the limits of {prf:ref}`ntk-dropout`.
# :::
#
# Even if only one neuron in a hundred is dropped, $\kappa$ tends to {glue:text}`ntk-dropout-99` for eight images; without dropout it grows without limit ({numref}`fig-ntk-dropout`). The price is generalization: what dropout adds to the diagonal drowns the differences by which images are told apart.
#
# ### Skip connections and layer normalisation
#
# Without biases, {prf:ref}`ntk-relu-scale` already gives a ReLU network the condition number of the critical one, at every $\sigma_w^2$; only the size of its kernels grows or shrinks exponentially. A skip connection keeps the limit of $\kappa$, and delays it. Normalisation keeps the size, too.
#
# :::{prf:proposition} Residual ReLU networks
# :label: ntk-residual
#
# {status}`ntk-residual` Let the inputs have one norm, and no two be equal. For layers $z\mapsto z+\mathrm{Dense}(\operatorname{relu}(z))$ with $\sigma_b=0$, let $\alpha=\frac{\sigma_w^2/2}{1+\sigma_w^2/2}$. Up to the growth of the variance, $p_{aa}=q(\alpha l+1)$ and $p_{ab}\simeq\frac14\,\alpha lq$. So $\kappa\to\frac{m+3}3$, for every $\sigma_w^2$.
# :::
#
# :::{prf:proof}
# A layer multiplies the variance by $1+\frac{\sigma_w^2}2$. Divided by it, the next cosine is $(1-\alpha)\cos\theta$ plus $\alpha$ times that of a plain layer, which is $\cos\theta+\frac{\theta^3}{3\pi}+\dots$ So $\theta\mapsto\theta-\alpha\frac{\theta^2}{3\pi}+\dots$ and $\theta\simeq\frac{3\pi}{\alpha l}$. The tangent kernel obeys $p_{aa}^{l+1}=p_{aa}^l+\alpha q$, and beside the diagonal $p_{ab}^{l+1}=(1-\alpha\frac\theta\pi)\,p_{ab}^l+\alpha q+\dots$, where $\alpha\frac\theta\pi\simeq\frac3l$. That is {prf:ref}`ntk-critical-exact` with $\alpha q$ in place of $q^*$ and $r=3$.
# :::
#
# :::{prf:proposition} Layer normalisation
# :label: ntk-layernorm
#
# {status}`ntk-layernorm` For layers LayerNorm, ReLU, Dense: with $\sigma_b=0$, $\chi_1=1$ and $\kappa$ does not depend on $\sigma_w^2$; with biases $\chi_1=\frac{\sigma_w^2/2}{\sigma_w^2/2+\sigma_b^2}<1$. With erf in place of ReLU and $\sigma_b=0$, $\chi_1=\frac{2/\sqrt5}{\arcsin(2/3)}>1$: always chaotic.
# :::
#
# :::{prf:proof}
# Normalisation makes the variance before the activation 1. Without biases it divides $\sigma_w^2$ out of both kernels before each layer, and the layer puts one factor back. In general $\chi_1=\sigma_w^2\dot T(1,1,1)\big/(\sigma_w^2T(1,1,1)+\sigma_b^2)$. For ReLU $T=\dot T=\frac12$; for erf $T=\frac2\pi\arcsin\frac23$ and $\dot T=\frac4{\pi\sqrt5}$.
# :::

# %%
def one_residual_layer(cubic):
    """The next cosine, and by what the tangent kernel is multiplied."""
    growth = 1 + w / 2
    alpha = (w / 2) / growth
    plain = symbolic.relu_cosine(theta)
    gain = plain - sp.cos(theta)  # of a layer without skip connection
    cosine = Chain((sp.cos(theta) + w / 2 * plain) / growth).eq(
        sp.cos(theta) + alpha * gain, "next cosine"
    )
    small = Chain(gain / theta**3)
    slope = Chain((1 + w * symbolic.relu_slope(theta)) / growth)
    parts = each(
        lambda: small.to(1 / (cubic * sp.pi), theta, 0).evidence(),
        lambda: slope.eq(1 - 3 * alpha * theta / (cubic * sp.pi)).evidence(),
    )
    return together(cosine.evidence(), parts)


check(
    "ntk-residual",
    one_residual_layer,
    3,
    counterfeit=6,
    says="a plain layer adds θ³/(6π) to the cosine, with slope 1 − θ/(2π)",
    scope="one layer",
)

# %%
six = digits.train_x[0, :6]
residual_depths = 100, 200, 400
residual_nets = {}
for sigma_w2 in (1.0, 2.0, 4.0):
    network = {"sigma_w2": sigma_w2, "sigma_b2": 0.0, "activation": "relu"}
    layers = ntk.fcn_kernels(
        six, depths=residual_depths, **network, residual=True
    )
    residual_nets[sigma_w2] = [kernels for _, kernels in layers]


def diagonal_grows(alpha):
    """Is p_aa/q = αl + 1 at every depth?"""
    errors = [
        float(kernels.ntk[0, 0] / kernels.nngp[0, 0]) / (alpha(w) * l + 1) - 1
        for w, nets in residual_nets.items()
        for l, kernels in zip(residual_depths, nets, strict=True)
    ]
    error, n = worst(map(abs, errors)), len(errors)
    what = "relative error of the diagonal"
    return measured(error, 0, atol=1e-12, n=n, seed=0, what=what)


# %%
def residual_kappa(nets):
    """The limit of κ, from three depths: terms in log l/l and 1/l cancel."""
    kappas = [float(ntk.spectrum(kernels.ntk).kappa) for kernels in nets]
    low, middle, high = np.multiply(residual_depths, kappas)
    return (high - 2 * middle + low) / residual_depths[0]


def for_every_variance(limit):
    found = [residual_kappa(nets) for nets in residual_nets.values()]
    error = worst(abs(x / limit - 1) for x in found)
    n, what = len(found), "relative error of κ"
    return measured(error, 0, atol=0.01, n=n, seed=0, what=what)


# %%
check(
    "ntk-residual",
    diagonal_grows,
    lambda w: w / (2 + w),
    counterfeit=lambda w: 1,
    says="like l + 1, as without skip connections",
    scope="the diagonal for a digit, to depth 400",
)
check(
    "ntk-residual",
    for_every_variance,
    (6 + 3) / 3,
    counterfeit=(6 + 2) / 2,
    says="(m + 2)/2, as for smooth activations",
    scope="six digits, to depth 400",
)


# %%
def normalised(bias):
    share = w * symbolic.relu_slope(0)
    slope = Chain(share / (w * symbolic.relu_dual(1, 1, 0) + bias))
    return slope.eq(w / 2 / (w / 2 + sb2), "ReLU").evidence()


def normalised_erf(q):
    T, slope = symbolic.erf_dual(q, q, q), symbolic.erf_slope(q, q, q)
    chain = Chain(slope / T).eq(2 / sp.sqrt(5) / sp.asin(sp.Rational(2, 3)))
    return together(chain.evidence(), Chain(chain.last).gt(1).evidence())


# %%
check(
    "ntk-layernorm",
    normalised,
    sb2,
    counterfeit=2 * sb2,
    says="the bias counts twice",
    scope="χ₁ of ReLU",
)
check(
    "ntk-layernorm",
    normalised_erf,
    sp.Integer(1),
    counterfeit=sp.Integer(2),
    says="with variance 2, too",
    scope="χ₁ of erf",
)
check(
    "ntk-layernorm",
    a_power_times_a_matrix(activation="relu", layer_norm=True),
    (1, 0.0),
    counterfeit=(21, 0.0),
    says="σ_w² to the power 21, as without normalisation",
    scope="Θ of twelve digits at depth 20",
)


# %% [markdown]
# The proofs start from recursions. Do random networks obey them? With skip connections $K^{l+1}-K^l$ and $\Theta^{l+1}-\Theta^l$ are what a layer gives without them; an output is a neuron of the last block, and $K$ the mean over its neurons. With one block the mean kernels are exact at every width: $z^0$ is Gaussian with the covariance $K^0$, and what is linear in the weights of the block has the mean 0.
#
# Normalisation divides $K^l$ and $\Theta^l$ by the roots of the variances at both ends, before the next layer sees them. At finite width the size of a layer fluctuates and takes part in the gradient. This, like several blocks, moves the means by multiples of $\frac1N$, and we extrapolate.

# %%
def mean_kernels_agree(row, what, depth, widths, **more):
    """Check both mean kernels; two widths are extrapolated."""
    kind = {"activation": "relu"} | more
    drawn = [random_nets(depth, N, **kind) for N in widths]
    weights = (1,) if len(widths) == 1 else (-1, 2)
    for name, which in (("K", "nngp"), ("Θ", "ntk")):
        check(
            row,
            mean_is([getattr(some, which) for some in drawn], weights),
            limit_of("relu", depth, which, **more),
            counterfeit=limit_of("relu", depth, which, times=1.02, **more),
            says="that of weights whose variance is two per cent larger",
            scope=f"the mean {name} of random networks, {what}",
        )


# %%
RANDOM["generator"].manual_seed(0)
for row, *case, option in (
    ("ntk-residual", "one block of width 32", 1, (32,), "residual"),
    ("ntk-residual", "two blocks, extrapolated", 2, (16, 32), "residual"),
    ("ntk-layernorm", "two layers, extrapolated", 2, (32, 64), "layer_norm"),
):
    mean_kernels_agree(row, *case, **{option: True})

# %% [markdown]
# (ntk-convolutions)=
# ## Convolution and pooling
#
# :::{prf:theorem} Kernels of convolutional networks (companion)
# :label: ntk-cnn
#
# {status}`ntk-cnn-recursion` In a convolutional network with circular padding, a neuron sees a window of positions around its own, in all channels, by weights of variance $\sigma_w^2$ over their number. $K$ and $\Theta$ have an entry for each pair of inputs and each pair $(\alpha,\alpha')$ of positions. As the number of channels grows, $K^0=\Theta^0=\mathcal A\bigl[\sigma_w^2\frac{\langle x_\alpha,x'_{\alpha'}\rangle}n+\sigma_b^2\bigr]$ and
#
# $$K^{l+1}=\mathcal A\bigl[\sigma_w^2T(K^l)+\sigma_b^2\bigr],\qquad\Theta^{l+1}=K^{l+1}+\sigma_w^2\,\mathcal A\bigl[\dot T(K^l)\odot\Theta^l\bigr],$$
#
# where $n$ is the number of channels of the images, and $\mathcal A$ averages along the diagonal: $(\mathcal AM)_{\alpha,\alpha'}=\operatorname{mean}_\beta M_{\alpha+\beta,\alpha'+\beta}$ over the window. A read-out from all positions (CNN-F) takes the mean over $\alpha=\alpha'$, global average pooling (CNN-P) that over all pairs.
# :::
#
# :::{prf:proof}
# As for {prf:ref}`ntk-recursions`. The weights at different places of the window are independent, so a pair of positions $\alpha,\alpha'$ receives only pairs at the same place of both windows. The read-out takes the place of the last window. The first kind has independent weights for different positions, the second one weight for all; $\mathcal A$ changes neither of the two means.
# :::
#
# Here are two layers, just as the theorem has them. We compare with real convolutional networks with random weights: their mean, extrapolated in the number of channels, as above. All but one of the five by five pixels of our images are 0. So the positions differ much, and an average too few shows.

# %%
READOUTS = {"CNN-F": "flatten", "CNN-P": "gap"}
generator = torch.Generator().manual_seed(0)
spots = torch.zeros(3, 2, 5, 5, dtype=torch.float64)  # image, channel, position
spots[..., 1, 2] = 8 * torch.randn(3, 2, generator=generator).double()


def window_mean(M):
    """𝒜 for windows of three by three: both positions move alike."""
    M, moves = M.view(3, 5, 5, 3, 5, 5), product((-1, 0, 1), repeat=2)
    moved = (M.roll((*move, *move), (1, 2, 4, 5)) for move in moves)
    return (sum(moved) / 9).view(75, 75)


def one_layer_of(K, Theta):
    """σ_w² T(K) + σ_b² and σ_w² Ṫ(K) ⊙ Θ, for erf."""
    weights, bias = net_of_four.values()
    size = 1 + 2 * K.diagonal()
    square = size[:, None] * size
    T = 2 / np.pi * torch.asin(2 * K / square.sqrt())
    slope = 4 / np.pi / (square - 4 * K**2).sqrt()
    return weights * T + bias, weights * slope * Theta


# %%
def by_the_recursion(name, averaged="KΘ"):
    """Both kernels after two layers; the first averages what is named."""
    weights, bias = net_of_four.values()
    pixels = spots.movedim(1, -1).flatten(0, 2)
    K = window_mean(weights * pixels @ pixels.T / 2 + bias)
    K, rest = one_layer_of(K, K)
    K = window_mean(K) if "K" in averaged else K
    rest = window_mean(rest) if "Θ" in averaged else rest
    K, rest = one_layer_of(K, K + rest)

    def read_out(M):
        M = M.view(3, 25, 3, 25)
        equal = M.diagonal(dim1=1, dim2=3)
        return M.mean((1, 3)) if name == "CNN-P" else equal.mean(-1)

    return {"K": read_out(K), "Θ": read_out(K + rest)}


# %%
def random_cnns(name, channels, count=12_000):
    """Both kernels of random networks, on the three images."""
    kind = net_of_four | RANDOM | {"activation": "erf", "dtype": torch.float32}
    kind |= {"shape": spots.shape[2:], "readout": READOUTS[name]}
    net = ntk.wide_cnn((2, channels, channels, 1), **kind)
    found = random_kernels(net, spots.float(), count, **RANDOM)
    return {"K": found.nngp, "Θ": found.ntk}


# %%
RANDOM["generator"].manual_seed(0)
drawn_cnns = {
    name: [random_cnns(name, channels) for channels in (8, 16)]
    for name in READOUTS
}
for (name, other), which in product(pairwise([*READOUTS, "CNN-F"]), "KΘ"):
    forgotten = by_the_recursion(name, averaged={"K": "Θ", "Θ": "K"}[which])
    for what, wrong, says in (
        ("read-out", by_the_recursion(other), f"that of {other}"),
        ("average", forgotten, "that without its average in the first layer"),
    ):
        check(
            "ntk-cnn-recursion",
            mean_is([some[which] for some in drawn_cnns[name]], (-1, 2)),
            by_the_recursion(name)[which],
            counterfeit=wrong[which],
            says=says,
            scope=f"the mean {which} of {name} with two layers, its {what}",
        )
for name, readout in READOUTS.items():  # the library's, for what follows
    kind = net_of_four | {"activation": "erf", "readout": readout}
    ours, expected = ntk.cnn_kernel(spots, depth=2, **kind), by_the_recursion(name)
    assert torch.allclose(ours.nngp, expected["K"], rtol=1e-12)
    assert torch.allclose(ours.ntk, expected["Θ"], rtol=1e-12)

# %% [markdown]
# :::{prf:lemma} Averaging keeps one mode
# :label: ntk-circulant
#
# {status}`ntk-circulant` On a circle of $d$ positions and with a window of three, $\mathcal A$ multiplies the Fourier mode $e^{2\pi ij\alpha/d}$ along the diagonal by $\rho_j=\frac13\bigl(1+2\cos\frac{2\pi j}d\bigr)$. So $|\rho_j|<1$ for all $j$ but 0.
# :::

# %%
x, omega = sp.symbols("x omega", real=True)


def averaging(eigenvalue):
    def mode(x):
        return sp.cos(omega * x)

    mean = (mode(x - 1) + mode(x) + mode(x + 1)) / 3
    return Chain(mean).eq(eigenvalue * mode(x), "a cosine").evidence()


check(
    "ntk-circulant",
    averaging,
    (1 + 2 * sp.cos(omega)) / 3,
    counterfeit=(1 + sp.cos(omega)) / 3,
    says="one neighbour instead of two",
    scope="each mode, any frequency",
)


# %%
def spread(depth, d=4):
    """How much K varies along the diagonals, over how far it is from q*."""
    at = deep.regime("ordered")
    K = Theta = deep.inputs(at.q, d)
    for _ in range(depth):
        K, Theta = deep.layer(K, Theta, at, d)
    rows = [[K[0, i, 1, (i + o) % d] for i in range(d)] for o in range(d)]
    means = [sum(row) / d for row in rows]
    far = max(
        abs(v - mean)
        for row, mean in zip(rows, means, strict=True)
        for v in row
    )
    return far / max(abs(at.q - mean) for mean in means)


def forgets_positions(rate):
    with mp.workdps(deep.DIGITS):
        found = float(spread(21) / spread(20))
    return measured(found, rate, rtol=0.02, n=16, seed=0, what="factor a layer")


for size in (8, 32):
    slowest = (1 + 2 * np.cos(2 * np.pi / size)) / 3
    glue(f"ntk-mode-{size}", round(-1 / np.log(slowest)))

# %%
check(
    "ntk-circulant",
    forgets_positions,
    1 / 3,
    counterfeit=1 / 4,
    says="1/d of the spread is left by each layer",
    scope="four positions, ordered phase",
)


# %% [markdown]
# Near the fixed point, and to first order, a layer multiplies the mode $j$ of the distance of $K$ from it by $\chi_{c^*}\rho_j$; the mode 0 is the mean. So along each diagonal the entries become equal, at a rate that the size of the images fixes: with 8 positions the slowest mode falls behind the mean by a factor $e$ in {glue:text}`ntk-mode-8` layers, with 32 in {glue:text}`ntk-mode-32`. (In two dimensions the factors of both axes multiply.) From then on every offset obeys the scalar recursion of an FCN. This is why, in the words of the abstract, "CNNs without global average pooling behave almost identically to FCNs" {status}`ntk-cnn-f-fcn`.

# %%
def like_fcn(run, n, seed):
    """Is an architecture almost an FCN, in accuracy and in κ? Over a run's grid."""
    by_name = [
        dict(zip(table.ARCHITECTURES, run[name].mean(-1), strict=True))
        for name in ("accuracy", "kappa")
    ]

    def verify(architecture):
        accuracy, kappa = (of[architecture] for of in by_name)
        gap = abs(accuracy - by_name[0]["FCN"]).max()
        ratio = np.exp(abs(np.log(kappa / by_name[1]["FCN"])).max())
        words = f"accuracy differs by up to {gap:.0%}, κ by a factor of up to {ratio:.1f}"
        return observed(gap <= 0.05 and ratio < 1.5, words, n=n, seed=seed)

    return *by_name, verify


# %%
pooled_run = live("pooling", sigma_w2=(1.2, 1.7476, 2.3), depths=(1, 4))
n_pool = pooled_run["accuracy"].size // 3 * pooled_run.config.test
assert (pooled_run.config.images, pooled_run["accuracy"][0].size) == (20, 6)
of, kappa_of, almost_like_fcn = like_fcn(pooled_run, n_pool, 0)
check(
    "ntk-cnn-f-fcn",
    almost_like_fcn,
    "CNN-F",
    counterfeit="CNN-P",
    says="with pooling, too",
    scope="twenty digits, depths 1 and 4, three phases",
)


# %% [markdown]
# With pooling the offsets are averaged, too, and deep down their number $d$ enters: up to the data's constants, pooling divides $\lambda_{\mathrm{bulk}}$ by $d$ and multiplies $\kappa-1$ by $d$, and outside the ordered phase $P(\Theta)Y$, too. Training becomes harder, and the outputs on new images stay larger.
#
# The abstract continues that "CNNs with pooling have markedly different and often better generalization performance" {status}`ntk-pooling`. On twenty digits it is different, and worse: the position of a stroke matters for a digit, and pooling averages over it. (That all outputs are multiplied by $d$ changes no class.)

# %%
def pooling_differs(better):
    """Accuracy of CNN-P against CNN-F, in all cells."""
    gain = of["CNN-P"] - of["CNN-F"]
    holds = bool((gain > 0).all() if better else (abs(gain) > 0.05).all())
    words = f"CNN-P is ahead by {100 * gain.min():.0f} to {100 * gain.max():.0f} points"
    return observed(holds, words, n=n_pool, seed=0)


check(
    "ntk-pooling",
    pooling_differs,
    False,
    counterfeit=True,
    says="better in each of the six cells",
    scope="markedly different, on twenty digits",
)
assert (of["CNN-P"] < of["CNN-F"]).all()
factors = kappa_of["CNN-P"] / kappa_of["CNN-F"]
glue("ntk-pool-kappa", f"{factors.min():.0f} to {factors.max():.0f}")
glue("ntk-pool-worse", f"{100 * (of['CNN-F'] - of['CNN-P']).mean():.0f}")

# %% [markdown]
# On average over the six cells, pooling loses {glue:text}`ntk-pool-worse` points, and multiplies $\kappa$ by {glue:text}`ntk-pool-kappa`; there are 64 positions.
#
# {numref}`fig-ntk-pooling` shows {glue:text}`ntk-pool-images` images and larger depths, from a recorded run. With so many the difference nearly vanishes: pooling loses {glue:text}`ntk-pool-first` points at depth 1, and {glue:text}`ntk-pool-middle` at depths 2 to 8. There, accuracy hardly tells the three architectures apart; $\kappa$ still does.

# %%
pools = read(EXPERIMENTS["pooling"])
n, seed = pools["accuracy"].size, pools.info["seed"]
shares, _, recorded_like_fcn = like_fcn(pools, n, seed)
check(
    "ntk-cnn-f-fcn",
    recorded_like_fcn,
    "CNN-F",
    counterfeit="CNN-P",
    says="with pooling, too",
    scope="accuracy and κ to depth 16, recorded",
)

# %%
lost_points = 100 * (shares["CNN-F"] - shares["CNN-P"])
pool_middle = lost_points[:, 1:-1]  # neither the first depth nor the last
glue("ntk-pool-images", pools.info["config"]["images"])
glue(
    "ntk-pool-first",
    f"{lost_points[:, 0].min():.0f} to {lost_points[:, 0].max():.0f}",
)
glue("ntk-pool-middle", f"{pool_middle.min():.0f} to {pool_middle.max():.0f}")
assert {*lost_points[:, 0].round()} == {4, 5}
middle = np.stack([share[:, 1:-1] for share in shares.values()])
assert np.ptp(middle, axis=0).max() < 0.03 and abs(middle - 0.95).max() < 0.03
chaotic_shares = np.stack([share[-1] for share in shares.values()])
falls = chaotic_shares[:, -2] - chaotic_shares[:, -1]
assert falls.min() > 0.04 and table.ARCHITECTURES[falls.argmax()] == "CNN-P"


# %% tags=["hide-input", "remove-output"]
def draw_architectures(name, record, phases, lowest=0):
    """Accuracy against depth, a panel for each phase."""
    shape = {"figsize": (6.4, 1.3 + 2.1 * len(phases)), "squeeze": False}
    shape |= {"sharex": True, "sharey": True}
    fig, panels = plt.subplots(len(phases), 1, **shape)
    depths, names = record.axes["depth"], record.axes["architecture"]
    found = 100 * record["accuracy"].mean(-1).swapaxes(0, 1)
    for ax, phase, lines in zip(panels[:, 0], phases, found, strict=True):
        for line, color, label in zip(
            lines, ("grey", "blue", "red"), names, strict=True
        ):
            ax.plot(depths, line, "-o", color=COLORS[color], label=label)
        ax.set_ylabel(f"{phase} (%)")
        ax.set_ylim(lowest, 100)
        ax.set_xscale("log", base=2)
        label_lines(ax)
    ax.set_xticks(depths, [str(d) for d in depths])
    ax.set_xlabel("depth")
    panels[0, 0].annotate(record.note, (0.02, 0.05), xycoords="axes fraction")
    figure(name, fig)


draw_architectures("ntk-pooling", pools, list(deep.DEPTHS), lowest=80)
caption("ntk-pooling-stamp", pools.stamp)

# %% [markdown]
# :::{glue:figure} ntk-pooling
# :name: fig-ntk-pooling
# :alt: Three panels, for the ordered, the critical and the chaotic phase: accuracy on new digits against depth from 1 to 16. All three lines lie near 95 per cent in each, within three points from depth 2 to 8. CNN-P starts four to five points lower at depth 1, and in the chaotic phase all three fall at depth 16, CNN-P the most.
#
# Accuracy of the mean predictor on new digits, $\sigma_b^2=0.18$. {glue:md}`ntk-pooling-stamp`
# :::
#
# A digit sits in the middle of its image. What if position tells nothing? We cut two photographs, of a temple and of a flower, into squares of 32 by 32 pixels, and ask of which one a square is. New squares come from other parts of the photographs than those to learn from. Where in the square a leaf or a tile lies does not matter, and pooling knows that: {numref}`fig-ntk-photographs`. With {glue:text}`ntk-photo-images` squares to learn from, CNN-P gets {glue:text}`ntk-photo-pool` of {glue:text}`ntk-photo-test` new ones right, CNN-F {glue:text}`ntk-photo-flat`, and the FCN {glue:text}`ntk-photo-fcn`.

# %%
photographs = read(EXPERIMENTS["pooling-photographs"])
n_photo = photographs.info["config"]["test"]
photo_shares = dict(
    zip(table.ARCHITECTURES, photographs["accuracy"][:, 0, :, 0], strict=True)
)


def pooling_wins(by_name):
    gain = 100 * (by_name["CNN-P"] - by_name["CNN-F"])
    words = f"CNN-P is ahead by {gain.min():.0f} to {gain.max():.0f} points"
    return observed(bool((gain > 0).all()), words, n=n_photo, seed=0)


check(
    "ntk-pooling",
    pooling_wins,
    photo_shares,
    counterfeit=shares,
    says="of digits, too",
    scope="better at every depth, on squares of photographs, recorded",
)

# %% tags=["hide-input", "remove-output"]
draw_architectures("ntk-photographs", photographs, ["critical"], lowest=50)
of_all = {name: 100 * share for name, share in photo_shares.items()}
assert of_all["CNN-P"].round().tolist() == [92, 93, 93]
assert of_all["CNN-F"].round().tolist() == [82, 84, 86]
assert of_all["FCN"].round().tolist() == [80, 82, 86]
caption("ntk-photographs-stamp", photographs.stamp)
glue("ntk-photo-images", photographs.info["config"]["images"])
glue("ntk-photo-test", n_photo)
for short, name in (("pool", "CNN-P"), ("flat", "CNN-F"), ("fcn", "FCN")):
    right = sorted({round(share * n_photo) for share in photo_shares[name]})
    ends = dict.fromkeys((right[0], right[-1]))
    glue(f"ntk-photo-{short}", " to ".join(map(str, ends)))

# %% [markdown]
# :::{glue:figure} ntk-photographs
# :name: fig-ntk-photographs
# :alt: Accuracy on new squares against the depths 1, 2 and 4. CNN-P stays near 92 per cent. CNN-F rises from 82 to 86, and the FCN, nearly the same, from 80 to 86.
#
# Accuracy of the mean predictor on new squares of 32 by 32 pixels in colour, at criticality, $\sigma_b^2=0.18$; chance is 50 %. {glue:md}`ntk-photographs-stamp`
# :::
#
# ## Accuracy over the plane
#
# We return to {numref}`fig-ntk-hero` with everything in hand. How does one tell that its borders are $\xi_1$ and $\xi_*$?
#
# :::{prf:observation} The borders
# :label: ntk-map
#
# {status}`ntk-map` On digits, at every point of the plane: training fails beyond $20\,\xi_1$ in the ordered phase, with an accuracy below 20 %, and succeeds before $5\,\xi_1$, with more than 90 %. In the chaotic phase the accuracy on new digits is below 20 % beyond $4\,\xi_*$, and above 40 % before $\frac12\xi_*$.
# :::

# %%
depth_of = torch.tensor(hero_depths, dtype=torch.float64)
at = ntk.phase(torch.tensor(variances, dtype=torch.float64), 0.18)
in_order, in_chaos = (at.chi_1 < 1)[:, None], (at.chi_1 > 1)[:, None]
trained_share, new_share = plane.unbind(-1)


# %%
def borders(scales):
    train, new = (depth_of / xi[:, None] for xi in scales)  # depths in scales
    parts = {
        "training fails": trained_share[in_order & (train > 20)] < 0.2,
        "training works": trained_share[in_order & (train < 5)] > 0.9,
        "no generalization": new_share[in_chaos & (new > 4)] < 0.2,
        "generalization": new_share[in_chaos & (new < 0.5)] > 0.4,
    }
    wrong = [
        f"{name}: {int((~hold).sum())} of {len(hold)}"
        for name, hold in parts.items()
        if not hold.all()
    ]
    words, n = "wrong: " + ", ".join(wrong), plane[..., 0].numel()
    return observed(not wrong, words, n=n, seed=0)


# %%
check(
    "ntk-map",
    borders,
    (at.xi_1, at.xi_star),
    counterfeit=(at.xi_1, at.xi_c),
    says="generalization ends with the signal, at multiples of ξ_c",
    scope="64 digits, four random networks at each point",
)
check(
    "ntk-map",
    borders,
    (at.xi_1, at.xi_star),
    counterfeit=(torch.full_like(at.xi_1, 2.0), at.xi_star),
    says="training ends at one depth, whatever the variance",
    scope="the border of training",
)

# %% [markdown]
# :::{prf:observation} Memorised, not learned
# :label: ntk-memorize
#
# {status}`ntk-memorize` In the words of the abstract, there are "large regions of hyperparameter space for which networks can memorize the training set but completely fail to generalize". On our plane they make up more than a fifth of all points, and all lie in the chaotic phase.
# :::

# %%
by_heart = (trained_share > 0.99) & (new_share < 0.15)


def region(phase):
    share = float((by_heart & phase).double().mean())
    words = f"{share:.0%} of the plane, and {int((by_heart & ~phase).sum())} points elsewhere"
    holds = share > 0.2 and not (by_heart & ~phase).any()
    return observed(holds, words, share=share, n=by_heart.numel(), seed=0)


check(
    "ntk-memorize",
    region,
    in_chaos,
    counterfeit=in_order,
    says="in the ordered phase",
    scope="64 digits",
)


# %% [markdown]
# The authors draw the mean predictor of all networks, and so the recorded map in {numref}`fig-ntk-map` does, with the authors' times and 256 digits. Its labels have a mean. As {prf:ref}`ntk-competitors` predicts, its right border is a multiple of $\xi_{c^*}$.

# %% tags=["hide-input"]
class Plane(NamedTuple):
    """A recorded map; train and new: accuracies (variances, depths) at the end."""

    w: list
    depths: np.ndarray
    train: np.ndarray
    new: np.ndarray
    at: ntk.Phase


def plane_of(record):
    """Of the largest training set, by the notebook's clock, from depth 1 on."""
    w = record.axes["sigma_w2"]
    depths = np.array(record.info["config"]["depths"])
    shares = [
        record[name][-1, :, :, :, 0, -1].mean(-1)[:, depths > 0]
        for name in ("train", "test")
    ]
    at = ntk.phase(torch.tensor(w, dtype=torch.float64), 0.18)
    return Plane(w, depths[depths > 0], *shares, at)


# %%
def last_depth(row, depths, level):
    """Where values along the depth fall below a level for good, or NaN."""
    above = np.flatnonzero(row > level)
    if row[-1] > level or not len(above):
        return np.nan
    last = int(above[-1])
    return np.interp(-level, -row[last : last + 2], depths[last : last + 2])


def in_scales(plane, scale, level=None):
    """The right border, or the left one in ξ₁, where the map shows it.

    There the accuracy falls below a level: half of the best above chance.
    """
    left, chi_1 = scale == "xi_1", plane.at.chi_1.numpy()
    phase = chi_1 < 1 if left else chi_1 > 1
    ends = [
        last_depth(row, plane.depths, level or (0.1 + row.max()) / 2)
        for row in (plane.train if left else plane.new)[phase]
    ]
    found = np.array(ends) / getattr(plane.at, scale).numpy()[phase]
    return found[np.isfinite(found)]


# %%
def one_scale(plane, seed, level=None, spread=1.2):
    """Is the border at the same number of scales for all variances?"""

    def verify(scale):
        found = in_scales(plane, scale, level)
        words = f"between {found.min():.1f} and {found.max():.1f} scales"
        holds = bool(found.max() / found.min() < spread)
        return observed(holds, words, n=len(found), seed=seed)

    return verify


# %%
full = read(EXPERIMENTS["kernel-map"])
full_plane = plane_of(full)
check(
    "ntk-competitors",
    one_scale(full_plane, full.info["seed"]),
    "xi_c",
    counterfeit="xi_star",
    says="with a label mean, a multiple of ξ_*",
    scope="labels with a mean, 256 digits, recorded",
)
for scale in ("xi_c", "xi_star"):
    found = in_scales(full_plane, scale)
    glue(f"ntk-border-{scale[3:]}", f"{found.min():.1f} and {found.max():.1f}")


# %% tags=["hide-input", "remove-output"]
def draw_plane_of(name, plane, multiples, note, lowest=0):
    """With lines at these multiples of ξ₁ and ξ_c."""
    one, signal = multiples
    inside = torch.where(plane.at.chi_1 > 1, plane.at.xi_c, torch.nan)
    lines = {
        rf"${one}\,\xi_1$": one * plane.at.xi_1,
        rf"${signal}\,\xi_{{c^*}}$": signal * inside,
    }
    shares = plane.train, plane.new
    draw_maps(name, plane.w, plane.depths, shares, lines, note, lowest)


draw_plane_of("ntk-map", full_plane, (10, 3.5), full.note)
left_border = in_scales(full_plane, "xi_1")
assert left_border.min() > 6 and left_border.max() < 11
caption("ntk-map-stamp", full.stamp)

# %% [markdown]
# :::{glue:figure} ntk-map
# :name: fig-ntk-map
# :alt: The two maps of the first figure for 256 digits and the mean of all networks. Training fails to the left, beyond the line ten xi one; generalization fails there too, and to the right beyond the line 3.5 xi c, which lies deeper than the border of the first figure.
#
# Accuracy of the mean of all networks of infinite width, at time 4096. {glue:md}`ntk-map-stamp`
# :::
#
# The notebook draws $8\,\xi_*$ over the right border, and that is near: half of the accuracy above chance is lost between {glue:text}`ntk-border-star` $\xi_*$. But it is also between {glue:text}`ntk-border-c` $\xi_{c^*}$, which is nearly one number.
#
# ### More images
#
# The depth scales do not know the data. But how many images there are enters twice. In the ordered phase $\kappa=\frac{mp^*}{g\mu}\,\frac{\chi_1^{-l}}l$, and $\mu$ (see {numref}`table-ntk-ordered`) does not grow with the number $m$ of images, since a vector of sum 0 on some of them is one on all. So if training had to wait for all eigenvalues, then after the same number of largest steps each factor $e$ in $m$ would cost at least one $\xi_1$ of depth. (The same holds by the notebook's clock, the time of a flow on a loss that is a mean over the images.) In the chaotic phase $P(\Theta)Y$ is a sum over $m$ images, and so about a multiple of $m\,l\,e^{-l/\xi_*}$: each factor $e$ buys one $\xi_*$, up to the factor $l$.
#
# We take up to ten thousand of the squares of {numref}`fig-ntk-photographs`; so many overlap, and most are much like others. {numref}`fig-ntk-images` shows the last depth with an accuracy of at least 90 % on training squares, and that with at least 80 % on new ones, interpolated between the ten depths of the run.

# %%
counted = read(EXPERIMENTS["kernel-map-photographs"])
sizes, photo_w = (np.array(values) for values in counted.axes.values())
photo_depths = counted.info["config"]["depths"]
photo_at = ntk.phase(torch.tensor(photo_w), 0.18)
ordered = (photo_at.chi_1 < 1).numpy()
ordered_xi = photo_at.xi_1.numpy()[ordered]
folds = np.log(sizes[-1] / sizes[0])


def borders_of(name, level, phase):
    """Last depths, by the notebook's clock: (images, variances of a phase)."""
    rows = counted[name][..., 0, 0, -1][:, phase]
    found = [last_depth(row, photo_depths, level) for row in np.vstack(rows)]
    return np.reshape(found, rows.shape[:2])


trained_to = borders_of("train", 0.9, ordered)
general_to = borders_of("test", 0.8, ~ordered)

# %% tags=["hide-input", "remove-output"]
fig, ax = plt.subplots(figsize=(6.4, 4.4))
for across, borders_to, color in (
    (photo_w[ordered], trained_to, "blue"),
    (photo_w[~ordered], general_to, "red"),
):
    alphas = np.linspace(0.3, 1, len(sizes))
    for row, alpha in zip(borders_to, alphas, strict=True):
        style = {"color": COLORS[color], "alpha": alpha, "markersize": 4}
        ax.plot(across, row, "o-", **style)
lowered = trained_to[0] - folds * ordered_xi
ax.plot(photo_w[ordered], lowered, "--", color=COLORS["grey"])
for words, across, height, color in (
    ("training squares", 0.5, 45, "blue"),
    ("if κ decided,\n10 000 squares", 1.43, 33, "grey"),
    ("new squares", 2.1, 82, "red"),
    ("10 000", 2.75, 40, "red"),
    ("256", 2.75, 15, "red"),
):
    ax.text(across, height, words, color=COLORS[color])
ax.set_ylim(0, 96)
ax.set_xlabel(r"variance of the weights, $\sigma_w^2$")
ax.set_ylabel("last depth")
figure("ntk-images", fig)
caption("ntk-images-stamp", counted.stamp)
ends_seen = trained_to[0, [0, 3]], general_to[[0, -1], -1], lowered[3:4]
assert [list(map(round, some)) for some in ends_seen] == [[5, 75], [19, 36], [44]]


# %% [markdown]
# :::{glue:figure} ntk-images
# :name: fig-ntk-images
# :alt: Last depth against the variance of the weights, from 0.5 to 2.9. To the left four rising blue lines lie on each other, from depth 5 to 75; a dashed grey line far below them ends at 44. To the right four falling red lines lie apart: at 2.9 from depth 19 for 256 squares to 36 for 10 000.
#
# The last depth at which networks of infinite width learn their training squares (blue), and at which they recognise new ones (red), with 256, 1024, 4096 and 10 000 training squares (darker), $\sigma_b^2=0.18$, at time 4096 of the notebook's clock. A line ends where this depth is beyond 96. Dashed: the line for 256 squares, lowered by one $\xi_1$ for each factor $e$ up to 10 000. {glue:md}`ntk-images-stamp`
# :::
#
# :::{prf:observation} The number of images
# :label: ntk-map-images
#
# {status}`ntk-map-images` From 256 to 10 000 squares of photographs the depth to which 90 % of the training squares are learned by time 4096 moves by less than one $\xi_1$, at each of four variances, while $\kappa$, from 256 to 1024, grows faster than $m$. In the chaotic phase the depth at which $P(\Theta)Y$, for labels of mean zero, falls below a tenth of the labels' size grows by about one $\xi_*$ for each factor $e$ in the number of digits.
# :::
#
# The last images do cost depth: to learn 98 % of the squares, the networks must end up to {glue:text}`ntk-images-98` $\xi_1$ earlier.

# %%
def shift(borders_to):
    """In ξ₁, from the fewest to the most images, where there is a border."""
    moved = (borders_to[-1] - borders_to[0]) / ordered_xi
    return moved[np.isfinite(moved)]


recorded_run = {"n": int(sizes[-1]), "seed": counted.info["seed"]}
check(
    "ntk-map-images",
    one_by_one(shift(trained_to), "shift in ξ₁", atol=1, **recorded_run),
    [0] * 4,  # variances
    counterfeit=[-folds] * 4,
    says="one ξ₁ earlier for each factor e in the number of images",
    scope="training on photographs, recorded",
)
at_98 = shift(borders_of("train", 0.98, ordered))
glue("ntk-images-98", f"{-at_98.min():.1f}")
cells_of_grid = np.searchsorted(photo_depths, trained_to[:, :4])
assert (cells_of_grid == cells_of_grid[0]).all()  # without interpolation

# %%
at_256, at_1024 = counted["kappa"][:2, ordered]
above_rounding = np.isfinite(at_256) & np.isfinite(at_1024)
grown = at_1024[above_rounding] / at_256[above_rounding]


def kappa_grows(power):
    """More than like this power of m, wherever rounding leaves κ finite?"""
    least, seed = float(grown.min()), counted.info["seed"]
    words = f"from 256 to 1024 squares κ grows by a factor of {least:.1f}"
    return observed(least > 4**power, words, n=grown.size, seed=seed)


check(
    "ntk-map-images",
    kappa_grows,
    1,
    counterfeit=2,
    says="faster than m²",
    scope="κ on 256 and 1024 squares of photographs, recorded",
)

# %% [markdown]
# Why does training not wait? In the ordered phase $\Theta\simeq p^*\mathbf 1\mathbf 1^\top-l\chi_1^lg\,Z$. Only for inputs that are all equally far apart is $-Z$ a multiple of the identity on vectors of sum 0. Our squares are not: a few directions, first of all bright against dark, carry most of $-Z$ there, and their eigenvalues grow in proportion to $m$, as $\lambda_{\max}$ does. We think that this is why: these directions are learned at the same depths as before, and do for most images. $\kappa$ measures the rest.

# %%
settings = {"images": 1024, "test": 1, "seeds": 1, "dtype": torch.float32}
squares = task("photographs", **settings).train_x[0].double()
deep_order = ntk.fcn_kernel(
    squares, depth=24, sigma_w2=1.1, sigma_b2=0.18, activation="erf"
).ntk


def spread_of(m):
    """Eigenvalues on vectors of sum 0, ascending, and their eigenvectors."""
    some = deep_order[:m, :m]
    some = some - some.mean(0) - some.mean(1, keepdim=True) + some.mean()
    values, vectors = torch.linalg.eigh(some)
    return values[1:], vectors[:, 1:]  # the first is that of 1


# %%
(few_values, _), (values, vectors) = map(spread_of, (256, 1024))


def leading(power):
    """Does the largest of them grow like this power of m?"""
    growth = float(values[-1] / few_values[-1])
    what = "growth from 256 to 1024 squares"
    return measured(growth, 4**power, rtol=0.1, n=1024, seed=0, what=what)


check(
    "ntk-map-images",
    leading,
    1,
    counterfeit=0,
    says="it does not grow, as the bulk of a kernel with two eigenvalues",
    scope="the second eigenvalue, on squares of photographs",
)
bright = torch.stack([vectors[:, -1], squares.mean(1)])
assert torch.corrcoef(bright)[0, 1].abs() > 0.95
assert values[-5:].sum() > 0.6 * values.sum() and values[0] < few_values[0]

# %% [markdown]
# To the right the labels of the squares have a mean, and with it a scale of its own ({prf:ref}`ntk-competitors`), so that the red lines do not show one law. We measure the size of $P(\Theta)Y$ itself, on digits, with centred labels.

# %%
crowd = task("digits", images=1024, test=300, seeds=1)
few, many_images, long_depths = 64, 1024, range(12, 48, 4)


def relative_size(m, train, test):
    """Of P(Θ)Y on new digits over that of Y, with m training digits."""
    y = crowd.train_y[0, :m] - crowd.train_y[0, :m].mean(0)
    new = ntk.mean_predictor(test.ntk[:, :m], train.ntk[:m, :m], y)
    return float(new.square().mean().sqrt() / y.square().mean().sqrt())


def sizes_of_predictions(sigma_w2):
    """By number of images: a list along the depths."""
    digits_x, new = crowd.train_x[0], crowd.test_x
    net = {"depths": long_depths, "sigma_w2": sigma_w2, "sigma_b2": 0.18}
    kernels = zip(
        ntk.fcn_kernels(digits_x, **net, activation="erf"),
        ntk.fcn_kernels(new, digits_x, **net, activation="erf"),
        strict=True,
    )
    both = [(train, test) for (_, train), (_, test) in kernels]
    return [[relative_size(m, *pair) for pair in both] for m in (few, many_images)]


# %%
def bought_depth(sigma_w2):
    """Layers that a factor e in the number of images is worth."""
    rows = np.log(sizes_of_predictions(sigma_w2))
    small, large = (last_depth(row, long_depths, np.log(0.1)) for row in rows)
    return (large - small) / np.log(many_images / few)


bought = {sigma_w2: bought_depth(sigma_w2) for sigma_w2 in (2.2, 2.5, 2.8)}


scales = [ntk.phase(sigma_w2, 0.18) for sigma_w2 in bought]
check(
    "ntk-map-images",
    one_by_one(bought.values(), "layers for a factor e", rtol=0.25, n=300),
    [at.xi_star for at in scales],
    counterfeit=[at.xi_c for at in scales],
    says="each factor e in the number of images buys one ξ_c",
    scope="P(Θ)Y on digits, 64 and 1024, centred labels",
)

# %% [markdown]
# ### Trained networks of finite width
#
# Do networks that are trained, of finite width, with mini-batches and many layers, know about all this? The same plane, from SGD, at width 64. (The output at the start is subtracted, as in {prf:ref}`ntk-lazy`; so in the chaotic phase the labels' mean and the randomness of a narrow network compete.)

# %%
sgd = live("sgd-map")
sgd_train, sgd_new = (sgd[name][..., 0, -1] for name in ("train", "test"))
sgd_depths, sgd_w = sgd.config.depths, sgd.config.sigma_w2
assert (sgd.config.times[-1], sgd_depths[-1], sgd.config.width) == (64, 16, 64)
for name, shares in (("training", sgd_train), ("new", sgd_new)):
    print(f"{name} digits; columns: σ_w² =", *sgd_w)
    for depth, row in zip(sgd_depths, shares, strict=True):
        print(f"  depth {depth:2}", *(f"{100 * share:3.0f}" for share in row))


# %% [markdown]
# :::{prf:observation} The same regions
# :label: ntk-map-sgd
#
# {status}`ntk-map-sgd` After 64 steps at depth 16: at $\sigma_w^2=0.5$ the networks have not learned the training set; at $\sigma_w^2=3$ they have, and are near chance on new digits; near the critical point they do best on new digits, of all the variances tried.
# :::

# %%
def three_regions(column):
    """column: which σ_w² counts as critical; the others are the ends."""
    train, new = sgd_train[-1], sgd_new[-1]
    ends, best = max(new[0], new[-1]), sgd_w[int(new.argmax())]
    holds = (
        train[0] < 0.3
        and train[-1] > 0.8
        and new[-1] < 0.3
        and new[column] > ends + 0.2
        and abs(best - sgd_w[column]) <= 0.25
    )
    words = f"new digits at σ_w² = {sgd_w[column]}: {new[column]:.0%}, at the ends at most {ends:.0%}; best at {best}"
    return observed(bool(holds), words, n=sgd.config.test, seed=sgd.config.seed)


# %%
check(
    "ntk-map-sgd",
    three_regions,
    sgd_w.index(1.75),
    counterfeit=sgd_w.index(2.5),
    says="2.5 is as good as critical",
    scope="digits, width 64, depth 16",
)


# %% [markdown]
# {numref}`fig-ntk-sgd` shows a finer map of wider networks, from a recorded run.

# %%
def trained_plane(record):
    """The map of networks trained by SGD, after their last step."""
    w = record.info["config"]["sigma_w2"]
    shares = (record[name][..., -1].mean(-1).T for name in ("train", "test"))
    at = ntk.phase(torch.tensor(w, dtype=torch.float64), 0.18)
    return Plane(w, np.array(record.axes["depth"]), *shares, at)


def best_variance(record):
    """At the largest depth, by the accuracy on new images."""
    plane = trained_plane(record)
    best = plane.w[int(plane.new[:, -1].argmax())]
    words = f"the best σ_w² at depth {plane.depths[-1]} is {best:.2f}"
    n, seed = record["test"][..., -1].size, record.info["seed"]
    return lambda w: observed(abs(best - w) <= 0.35, words, n=n, seed=seed)


trained = read(EXPERIMENTS["sgd-map"])

# %%
check(
    "ntk-map-sgd",
    best_variance(trained),
    ntk.critical_sigma_w2(0.18),
    counterfeit=2.5,
    says="it is 2.5",
    scope="the best variance at the largest depth, recorded",
)

# %% tags=["hide-input", "remove-output"]
draw_plane_of("ntk-sgd", trained_plane(trained), (8, 2.5), trained.note)
caption("ntk-sgd-stamp", trained.stamp)

# %% [markdown]
# :::{glue:figure} ntk-sgd
# :name: fig-ntk-sgd
# :alt: The two maps for networks trained by SGD. On training images accuracy is low to the left beyond a line and high elsewhere. On new images accuracy is lost there, too, and to the right beyond a second line; the tongue between them reaches the largest depths.
#
# Accuracy of networks of finite width after SGD, with the depths $8\,\xi_1$ and $2.5\,\xi_{c^*}$. {glue:md}`ntk-sgd-stamp`
# :::
#
# {numref}`fig-ntk-sgd-photographs` is the map for the squares of {numref}`fig-ntk-photographs`, two classes. Both borders lie at larger multiples of the same scales than for digits; the right one, where the accuracy falls below 75 %, is at one multiple of $\xi_{c^*}$ wherever the map shows it, as where the labels' mean decides ({prf:ref}`ntk-competitors`).

# %%
photo_sgd = read(EXPERIMENTS["sgd-map-photographs"])
photo_plane = trained_plane(photo_sgd)


def good_variances(critical):
    """At the largest depth: learned around it, lost below, by heart above."""
    w, seed = np.array(photo_plane.w), photo_sgd.info["seed"]
    train, new = photo_plane.train[:, -1], photo_plane.new[:, -1]
    lost, good = w[train < 0.6], w[new > 0.8]
    by_heart = w[(train > 0.8) & (new < 0.6)]
    words = f"lost at {lost}, learned at {good}, by heart at {by_heart}"
    holds = lost.max() < good.min() < critical < good.max() < by_heart.min()
    n = photo_sgd.info["config"]["test"]
    return observed(bool(holds), words, n=n, seed=seed)


check(
    "ntk-map-sgd",
    good_variances,
    ntk.critical_sigma_w2(0.18),
    counterfeit=2.5,
    says="around 2.5",
    scope="the three regions at the largest depth, squares, recorded",
)
assert photo_plane.depths[-1] == 48
assert [photo_plane.w[k] for k in (4, 7)] == [1.3, 1.9]
assert photo_plane.new[4:8, -1].min() > 0.8

# %%
check(
    "ntk-map-sgd",
    one_scale(photo_plane, photo_sgd.info["seed"], level=0.75, spread=1.1),
    "xi_c",
    counterfeit="xi_star",
    says="a multiple of ξ_*",
    scope="the right border is a multiple of ξ_c, squares, recorded",
)
digit_plane = trained_plane(trained)
for scale in ("xi_1", "xi_c"):
    of_squares = in_scales(photo_plane, scale, level=0.75)
    assert of_squares.min() > 1.3 * in_scales(digit_plane, scale).max()
rising = 11 * photo_plane.at.xi_1[[0, 3]]
assert [photo_plane.w[k] for k in (0, 3)] == [0.5, 1.1]
assert rising.round().tolist() == [13, 42]

# %% tags=["hide-input", "remove-output"]
draw_plane_of(
    "ntk-sgd-photographs", photo_plane, (11, 3.8), photo_sgd.note, lowest=0.5
)
caption("ntk-sgd-photographs-stamp", photo_sgd.stamp)
glue("ntk-sgd-squares", photo_sgd.info["config"]["images"])

# %% [markdown]
# :::{glue:figure} ntk-sgd-photographs
# :name: fig-ntk-sgd-photographs
# :alt: The two maps for squares of photographs. On training squares accuracy is near one half to the left, deeper than a line that rises from depth 13 to 42, and near one nearly everywhere else. On new squares it is near one half there, too, and falls to one half to the right, deeper than a second line; between the lines, from 1.3 to 1.9, it is above 0.8 even at depth 48.
#
# Accuracy of networks after SGD on {glue:text}`ntk-sgd-squares` squares of photographs, with the depths $11\,\xi_1$ and $3.8\,\xi_{c^*}$; the scale begins at chance, 50 %. {glue:md}`ntk-sgd-photographs-stamp`
# :::
#
# ### Trained convolutional networks
#
# What we said of pooling in {ref}`ntk-convolutions`, we said of kernels. Do trained networks agree? We train random CNN-P and CNN-F, and FCNs with as many weights between two layers: critical networks with two nonlinear layers. Each seed has its own training set and its own network, whose output at the start is subtracted. A step uses all images, and is half of the largest stable one for the kernel that the network has at the start. So the number of steps is what training costs.

# %%
cnns = live("trained-cnns", times=(4, 16, 64))
live_shares = cnns["test"][:, 0, 0]  # (architecture, channels, seeds, times)
print("new digits (%) after", *cnns.config.times, "steps")
for name, rows in zip(table.ARCHITECTURES, live_shares, strict=True):
    for channels, row in zip(cnns.config.channels, rows, strict=True):
        shares_now = (f"{100 * share:3.0f}" for share in row.mean(0))
        print(f"  {name:5} of {channels:2} channels", *shares_now)


# %% [markdown]
# :::{prf:observation} Trained networks keep the order of their kernels
# :label: ntk-trained-cnns
#
# {status}`ntk-trained-cnns` Twenty digits, or 32 squares of photographs, are to be learned. After 256 steps CNN-P recognises fewer new digits than CNN-F, and more new squares, whether it has 4, 16 or 64 channels. So it is with the predictors of the kernels. From 4 channels to 64, the outputs of all three architectures come nearer to these predictors.
# :::

# %%
def sides_with(settings, seed):
    """By how much is CNN-P ahead (1) or behind (-1)? In standard errors.

    settings: accuracies (architecture, seeds), one for each kind of network.
    """
    of = [dict(zip(table.ARCHITECTURES, one, strict=True)) for one in settings]
    gains = np.array([100 * (one["CNN-P"] - one["CNN-F"]) for one in of])
    means = gains.mean(1)
    errors = gains.std(1, ddof=1) / gains.shape[1] ** 0.5
    pairs = zip(means, errors, strict=True)
    words = ", ".join(f"{mean:.0f} ± {error:.0f}" for mean, error in pairs)

    def verify(sign):
        holds = bool((sign * means > 3 * errors).all())
        words_now = f"CNN-P is ahead by {words} points"
        return observed(holds, words_now, n=gains.size, seed=seed)

    return verify


check(
    "ntk-trained-cnns",
    sides_with([live_shares[:, -1, :, -1]], cnns.config.seed),
    -1,
    counterfeit=1,
    says="CNN-P is ahead on digits, too",
    scope="16 channels, 64 steps on digits",
)

# %% [markdown]
# {numref}`fig-ntk-trained` shows more channels and more steps, from recorded runs.

# %%
trained_runs = {
    "digits": read(EXPERIMENTS["trained-cnns"]),
    "squares": read(EXPERIMENTS["trained-cnns-photographs"]),
}
for (what, run), sign in zip(trained_runs.items(), (-1, 1), strict=True):
    assert run.axes["channels"] == [4, 16, 64]
    assert run.info["config"]["images"] == (32 if sign > 0 else 20)
    step = run.info["config"]["times"].index(256)
    of_networks = run["test"][:, 0, 0, :, :, step].swapaxes(0, 1)
    of_kernels = run["kernel_test"][:, 0, 0, :, step]
    check(
        "ntk-trained-cnns",
        sides_with([*of_networks, of_kernels], run.info["seed"]),
        sign,
        counterfeit=-sign,
        says="CNN-P is ahead" if sign < 0 else "CNN-P is behind",
        scope=f"{what}: 4, 16 and 64 channels, and the kernels, recorded",
    )


# %%
def come_nearer(run):
    """By more than this factor, in every architecture, after every step?"""
    far = run["far"][:, 0, 0].mean(-2)  # (architecture, channels, times)
    factors = far[:, 0] / far[:, -1]
    words = f"the distances fall by factors of {factors.min():.1f} to {factors.max():.1f}"
    n, seed = run["far"][..., 0].size, run.info["seed"]
    return lambda least: observed(
        bool(factors.min() > least), words, n=n, seed=seed
    )


for what, run in trained_runs.items():
    check(
        "ntk-trained-cnns",
        come_nearer(run),
        1,
        counterfeit=4,
        says="by the root of the ratio, 4, everywhere",
        scope=f"{what}: distance to the kernel's outputs, recorded",
    )

# %%
late = trained_runs["digits"]
of_both = late["test"][:, 0, 0, -1], late["kernel_test"][:, 0, 0]
for words, shares_of in zip(("", "kernel-"), of_both, strict=True):
    lead = 100 * (shares_of[1] - shares_of[2]).mean(0)  # CNN-F before CNN-P
    glue(f"ntk-late-{words}256", f"{lead[3]:.0f}")
    glue(f"ntk-late-{words}4096", f"{lead[-1]:.0f}")
assert late.info["config"]["times"][3::2] == [256, 4096]
ratio = photographs["kappa"][2] / photographs["kappa"][1]
ends = (scientific(end, 0) for end in (ratio.min(), ratio.max()))
glue("ntk-photo-kappa", " to ".join(ends))
flat, pooled = 100 * trained_runs["squares"]["test"][1:, 0, 0, -1].mean(1)
assert trained_runs["squares"].info["config"]["times"][2] == 64
glue("ntk-lead-64", f"{pooled[2] - flat[2]:.0f}")
for place, channels in ((0, 4), (-1, 64)):
    behind = [
        100 * (run["kernel_test"][:, 0, 0] - run["test"][:, 0, 0, place])
        for run in trained_runs.values()
    ]
    points = np.array([some[..., -1].mean(-1) for some in behind])
    glue(f"ntk-behind-{channels}", f"{points.min():.0f} to {points.max():.0f}")
gaps = np.concatenate([some.mean(1).ravel() for some in behind])  # 64 channels
assert abs(gaps).max() < 8 and (gaps > 0).mean() > 0.9


# %% tags=["hide-input", "remove-output"]
def draw_trained(name, runs, lowest):
    """New images against steps: the widest networks, and dashed their kernels."""
    fig, panels = plt.subplots(len(runs), 1, figsize=(6.4, 6.4))
    for ax, (what, run), low in zip(panels, runs.items(), lowest, strict=True):
        steps = run.info["config"]["times"]
        found = 100 * run["test"][:, 0, 0, -1], 100 * run["kernel_test"][:, 0, 0]
        for label, color, network, kernel in zip(
            table.ARCHITECTURES, ("grey", "blue", "red"), *found, strict=True
        ):
            mean = network.mean(0)
            error = network.std(0, ddof=1) / len(network) ** 0.5
            style = {"color": COLORS[color]}
            ax.fill_between(
                steps, mean - error, mean + error, alpha=0.2, linewidth=0, **style
            )
            ax.plot(steps, mean, "-o", label=label, **style)
            ax.plot(steps, kernel.mean(0), "--", linewidth=1.2, **style)
        ax.set_ylabel(f"new {what} (%)")
        ax.set_ylim(low, 100)
        ax.set_xscale("log", base=2)
        ax.set_xticks(steps, [str(step) for step in steps])
        label_lines(ax)
    panels[-1].set_xlabel("steps")
    panels[0].annotate(
        runs["digits"].note, (0.02, 0.92), xycoords="axes fraction"
    )
    figure(name, fig)


draw_trained("ntk-trained", trained_runs, lowest=(0, 50))
for what, run in trained_runs.items():
    caption(f"ntk-trained-{what}-stamp", run.stamp)
by_steps = {
    what: (100 * run["test"][:, 0, 0, -1].mean(1)).round().tolist()
    for what, run in trained_runs.items()
}
fcn_line, flat_line, pooled_line = by_steps["digits"]
assert [fcn_line[k] for k in (0, 3, 5)] == [44, 68, 68]
assert [flat_line[k] for k in (0, 3, 5)] == [41, 66, 65]
assert [pooled_line[k] for k in (0, 3, 5)] == [12, 34, 60]
fcn_line, flat_line, pooled_line = by_steps["squares"]
ends = [(line[0], line[-1]) for line in (fcn_line, flat_line, pooled_line)]
assert ends == [(70, 80), (69, 82), (71, 92)] and pooled_line[2] > 92

# %% [markdown]
# :::{glue:figure} ntk-trained
# :name: fig-ntk-trained
# :alt: Accuracy on new images against steps, two panels. Digits: FCN and CNN-F rise from 44 and 41 per cent after 4 steps to 68 and 66 after 256, and stay there; CNN-P rises from 12 after 4 steps to 34 after 256 and 60 after 4096. Squares: all three begin at about 70; CNN-P rises above 92 after 64 steps and ends there, CNN-F ends at 82 and FCN at 80. Each dashed line runs near its solid one, mostly above it.
#
# Accuracy on new images after steps of half the largest stable size: networks with 64 channels (solid; the band is one standard error over eight seeds), and the mean predictors of their kernels (dashed). Above, twenty digits; below, 32 squares of photographs, of 16 by 16 pixels: 2 by 2 of a square's pixels are averaged to one. All eight seeds are tested on the same new images. Digits: {glue:md}`ntk-trained-digits-stamp` Squares: {glue:md}`ntk-trained-squares-stamp`
# :::
#
# On digits the pooled networks are late, as one expects where $\kappa$ is {glue:text}`ntk-pool-kappa` times as large. With 64 channels they are {glue:text}`ntk-late-256` points behind CNN-F after 256 steps, and {glue:text}`ntk-late-4096` after 4096; their kernel, {glue:text}`ntk-late-kernel-256` and {glue:text}`ntk-late-kernel-4096`. For the squares of {numref}`fig-ntk-photographs`, of 32 by 32 pixels, pooling multiplies $\kappa$ by {glue:text}`ntk-photo-kappa`. It does not matter: on the squares of 16 by 16 pixels the trained CNN-P is already {glue:text}`ntk-lead-64` points ahead after 64 steps. So what tells a temple from a flower is among the few directions that are learned by then.
#
# After the last step, networks with 4 channels are {glue:text}`ntk-behind-4` points behind their kernels, those with 64 channels {glue:text}`ntk-behind-64`.
#
# The paper's own experiments are on CIFAR-10, for a variety of architectures {status}`ntk-corroborated`. Its numbered theorems and its appendices we have not read {status}`ntk-theorems`.
#
# ## Slips of the notebook
#
# Following the authors' notebook closely, we have found a few slips. None changes a conclusion of the paper; each can cost a reader an hour.
#
# - *A learning rate that is not used* {status}`ntk-slip-eta`. The notebook computes $\eta=2/\lambda_{\max}$, and does not pass it to the function that trains. Its times are therefore times of a flow at a fixed rate, and not numbers of steps: since $\lambda_{\max}$ changes with the depth, so does what a given time is worth.
# - *The critical point of the overlay* {status}`ntk-slip-critical`. The white lines change from $\xi_1$ to $\xi_*$ at $\sigma_w^2=1.76$. At $\sigma_b^2=0.18$ the critical point is {glue:text}`ntk-critical-018`. On the notebook's grid no point lies between.
# - *Another start* {status}`ntk-slip-start`. The tangent kernel starts with 1 on its diagonal, where theory has $q^*$. The recursion of {prf:ref}`ntk-diagonal` makes of this a difference of $(1-q^*)\chi_1^l$. In the ordered phase it vanishes; in the chaotic phase the constant before $\chi_1^l$ is another one, and the rates are the same.
# - *Three words* {status}`ntk-slip-words`. Where the text has $\kappa$ grow like $l\chi_1^l$, $\xi_1=1/\log\chi_1$ and $m$ eigenvalues 0, it means $\frac1{l\chi_1^l}$, $-1/\log\chi_1$ and $m-1$.

# %%
trained_kernels = [
    k.ntk
    for w in (0.65, 2.45)
    for _, k in ntk.fcn_kernels(
        digits.train_x[0],
        depths=(1, 16, 48),
        sigma_w2=w,
        sigma_b2=0.18,
        activation="erf",
    )
]
# The notebook's loss is a mean over images and classes, which slows time.
rate_of_flow = 1 / digits.train_y[0].numel()
largest = [float(ntk.max_learning_rate(k)) for k in trained_kernels]
equivalents = [4096 * rate_of_flow / step for step in largest]
assert not any(1.7476 < w < 1.76 for w in np.linspace(0.5, 3, 40))
glue("ntk-slip-least", scientific(min(equivalents), 0))
glue("ntk-slip-most", scientific(max(equivalents), 0))


# %%
def spread_over(least):
    """From depth 1 to 48, at one variance; the larger of the two spreads."""
    spans = (
        max(some) / min(some) for some in (equivalents[:3], equivalents[3:])
    )
    found = float(np.log10(max(spans)))
    words = f"they span {found:.1f} powers of ten"
    return observed(found > least, words, n=len(equivalents), seed=0)


# %%
check(
    "ntk-slip-eta",
    spread_over,
    2,
    counterfeit=3,
    says="by more than three powers of ten",
)
check(
    "ntk-slip-critical",
    lambda w: measured(
        ntk.phase(w, 0.18).chi_1, 1, atol=1e-5, n=1, seed=0, what="χ₁"
    ),
    1.7476038,
    counterfeit=1.76,
    says="1.76 is critical",
)


# %%
def another_start(difference):
    def p(depth, start):
        return q * (1 - chi**depth) / (1 - chi) + start * chi**depth

    steps = [
        Chain(p(L + 1, force)).eq(q + chi * p(L, force), "any start g"),
        Chain(p(L, sp.Integer(1)) - p(L, q)).eq(difference, "1 and q*"),
    ]
    first = identities([(p(0, force), force)])
    return together(*(step.evidence() for step in steps), first)


# %%
check(
    "ntk-slip-start",
    another_start,
    (1 - q) * chi**L,
    counterfeit=(1 - q) * L * chi**L,
    says="the difference resonates",
)


def zero_eigenvalues(fewer):
    sizes = range(1, 21)
    return exhaustive(lambda m: m - sp.ones(m, m).rank() == m - fewer, sizes)


# %%
check(
    "ntk-slip-words",
    zero_eigenvalues,
    1,
    counterfeit=0,
    says="m eigenvalues are 0",
    scope="the count, for m up to 20",
)


# %%
def growth(sign):
    """Does (l χ₁^l)^sign describe how κ grows from depth 160 to 200?"""
    found = studies["ordered"].found.kappa
    chi_1 = studies["ordered"].phase.chi_1
    gain = float(torch.log(found[-1] / found[-11]))
    expected = sign * (np.log(200 / 160) + 40 * np.log(chi_1))
    what = "growth of log κ over 40 layers"
    return measured(gain, expected, atol=0.05, n=2, seed=0, what=what)


# %%
check(
    "ntk-slip-words",
    growth,
    -1,
    counterfeit=1,
    says="κ grows like l χ₁^l",
    scope="the growth of κ",
)
check(
    "ntk-slip-words",
    shrink_over,
    in_layers,
    counterfeit=in_layers | {"ξ_1": -in_layers["ξ_1"]},
    says="ξ₁ = 1/log χ₁",
    scope="the sign of ξ₁",
)

# %% [markdown]
# On our digits the time 4096 of the notebook amounts to anything from {glue:text}`ntk-slip-least` to {glue:text}`ntk-slip-most` steps of size $2/\lambda_{\max}$, depending on variance and depth.
#
# ## Key points
#
# - Infinitely wide networks are two kernels, and each kernel a recursion with one number that decides: the slope $\chi$ of the correlation map.
# - Trainability is $\kappa$, generalization is $P(\Theta)Y$. The one ends at a multiple of $\xi_1$ in the ordered phase, the other at a multiple of $\xi_*$ in the chaotic one. On the critical line $\kappa$ stays bounded, and $P(\Theta)Y$ falls like $\frac1l$.
# - The tangent kernel of smooth activations resonates: its distance from the limit is $l\chi^l$, that of the covariance $\chi^l$.
# - At criticality $\kappa$ tends to $\frac{m+2}2$ (erf) or $\frac{m+3}3$ (ReLU without biases), with a residual of $\frac{\log l}l$. The covariance alone has no such limit.
# - Ordered networks predict by kriging. Chaotic ones predict zero; what is left of the *class* depends on what competes: nothing, the labels' mean, or the random start.
# - More images move the depth at which $P(\Theta)Y$ has a given size, by about one $\xi_*$ for each factor $e$. They hardly move that to which 90 % of the training images are learned.
# - After enough layers a convolutional network without pooling behaves like a fully connected one. Pooling over $d$ positions multiplies $\kappa-1$ by $d$, in the ordered phase by a number that depends on the images. Whether it generalizes better depends on them, too, for trained networks as for their kernels.
# - Dropout bounds $\kappa$ and erases the predictor. ReLU networks have no chaotic phase; without biases their $\kappa$ has no depth scale at all, with skip connections or normalisation or without.
#
# ## What was not checked
#
# - The limits of infinite width themselves: we sketched the proof, and measured the mean over random networks and the rate $\frac1{\sqrt N}$.
# - By machine: existence and uniqueness of $c^*$ and the control of the remainders in the asymptotic theorems. SymPy checked the algebra of their proofs. The constants were measured, those of Table 1 at 50 digits.
# - The paper's numbered theorems, its appendices and its experiments on CIFAR-10. Ours use small images of digits and squares of two photographs, at sizes that two cores can carry.
# - The border of training with thousands of images that do not overlap.
# - Trained convolutional networks with more than two layers, off the critical line, or with more than 32 images. What else is said of pooling and generalization is said of mean predictors, each of one training set.
# - The table for activations other than erf. For tanh and other sigmoidal ones the formulas are the same, and the library computes their constants.
#
# ## Exercises
#
# :::{exercise} A layer by hand
# :label: ntk-ex-hand
#
# Two inputs with $\frac{|x|^2}n=1$ are orthogonal. Compute $K^1$ and $\Theta^1$ of a ReLU network with $\sigma_w^2=2$ and $\sigma_b=0$ by hand, and compare.
# :::
#
# :::{solution-start} ntk-ex-hand
# :class: dropdown
# :::
#
# $K^0=\Theta^0=2I$. With $\theta=\frac\pi2$ and $\sqrt{ab}=2$, $T=\frac1\pi$ and $\dot T=\frac14$. So $K^1_{ab}=\Theta^1_{ab}=\frac2\pi$, since $\Theta^0_{ab}=0$. On the diagonal $T=1$, $\dot T=\frac12$, so $K_{aa}^1=2$ and $\Theta_{aa}^1=2+2\cdot\frac12\cdot2=4$.

# %%
square = 2**0.5 * torch.eye(2, dtype=torch.float64)
found = ntk.fcn_kernel(square, depth=1, **relu_net)
for kernel, on_diagonal in ((found.nngp, 2), (found.ntk, 4)):
    by_hand = torch.full_like(kernel, 2 / np.pi).fill_diagonal_(on_diagonal)
    assert torch.allclose(kernel, by_hand, rtol=1e-14)
    print(kernel)

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} A depth budget
# :label: ntk-ex-budget
#
# You may choose $\sigma_w^2$ in an erf network with $\sigma_b^2=0.18$, and must use 48 layers. For which $\sigma_w^2$ in $\{1.0,1.1,\dots,3.0\}$ do you expect to train in 4096 steps, and to generalize from a random start? Use the multiples of {numref}`fig-ntk-hero`.
# :::
#
# :::{solution-start} ntk-ex-budget
# :class: dropdown
# :::

# %%
candidates = torch.linspace(1.0, 3.0, 21, dtype=torch.float64)
at = ntk.phase(candidates, 0.18)
trains = (at.chi_1 >= 1) | (10 * at.xi_1 > 48)
generalizes = (at.chi_1 <= 1) | (2.5 * at.xi_star > 48)
print("σ_w²:", *(f"{w:.1f}" for w in candidates[trains & generalizes]))

# %% [markdown]
# A band that contains the critical point {glue:text}`ntk-critical-018`, and is wider on its ordered side. It narrows like one over the depth, since $\xi\propto|\chi_1-1|^{-1}$.
#
# :::{solution-end}
# :::
#
# :::{exercise} A linear network
# :label: ntk-ex-linear
#
# Let $\varphi(z)=z$, $\sigma_w^2<1$ and $\sigma_b>0$, and let {prf:ref}`ntk-normal` hold. Show that there is a resonance although $C$ is straight, and give $g$. Compare with the library at depth 60: it takes any function for an activation.
# :::
#
# :::{solution-start} ntk-ex-linear
# :class: dropdown
# :::
#
# $T=k$ and $\dot T=1$, so $\chi=\sigma_w^2$ everywhere and $C''=0$. Then $g=q^*$: the resonance comes from $K$ alone, which drives $\Theta$ at its own rate. In fact $p^*-p_{ab}^l=\chi^l(l+1)q^*(1-c^0)+\chi^l(p^*-q^*)$, exactly.

# %%
at = ntk.phase(0.9, 0.1, lambda z: z)
path = ntk.trajectory(60, sigma_w2=0.9, sigma_b2=0.1, activation=lambda z: z)
exact = 0.9**60 * (61 * at.q * 0.5 + at.p - at.q)  # the path has c⁰ = ½
print(f"{at.p - float(path.p_ab[60]):.12f} and {exact:.12f}")
assert np.isclose(at.p - float(path.p_ab[60]), exact, rtol=1e-8)


# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Kriging two labels
# :label: ntk-ex-kriging
#
# Two training images have the labels $1$ and $-1$. Where does $P(\Theta)Y$ tend for a third image in the ordered phase, by {prf:ref}`ntk-kriging`? What if the third image equals the first, and what if it is equally far from both? Show that $P(\Theta)Y$ is a ratio of entries of $\Theta$ at every depth, and compare along `field` above, for its inputs 0 and 1 and the new one 2.
# :::
#
# :::{solution-start} ntk-ex-kriging
# :class: dropdown
# :::
#
# $Z$ has 0 on its diagonal and $\zeta_{12}$ beside it. So $Z^{-1}z=\frac1{\zeta_{12}}(z_2,z_1)^\top$, and $Z^{-1}\mathbf 1$ is a multiple of $\mathbf 1$, on which $Y=(1,-1)^\top$ vanishes. So the limit is $w^\top Y=\frac{z_2-z_1}{\zeta_{12}}$. For $z_1=0$ and $z_2=\zeta_{12}$ it is the label 1, and for $z_1=z_2$ it is 0.
#
# At any depth $\Theta Y=(p_{aa}-p_{12})Y$, so $P(\Theta)Y=\frac{p_{*1}-p_{*2}}{p_{aa}-p_{12}}$. The library keeps $p_{aa}-p_{ab}$ as `p_gap`, with all its digits.

# %%
def of_two(gap):
    return float((gap[1, 2] - gap[0, 2]) / gap[0, 1])


two_limit = of_two(field.gap[400])  # the gaps of K give Z, up to a factor
for depth in (100, 400, 1600):
    print(f"{depth:4}: {of_two(field.p_gap[depth]):.4f}")
print(f"limit {two_limit:.4f}")
doubled_depth = 2 * of_two(field.p_gap[1600]) - of_two(field.p_gap[800])
assert np.isclose(doubled_depth, two_limit, rtol=1e-3)  # errors like 1/l

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Pooling looks like more images
# :label: ntk-ex-pooling
#
# At criticality $\kappa$ of CNN-P with $m$ images and $d$ positions is that of an FCN with $md$ images. Is this so in the chaotic phase? And in the ordered one, if all pairs of positions, in one image or in two, have the same $\zeta$? Answer with {prf:ref}`ntk-two-eigenvalues`.
# :::
#
# :::{solution-start} ntk-ex-pooling
# :class: dropdown
# :::
#
# If all pairs of different positions, in one image or in two, have the same entry $p_{ab}$, then the pooled diagonal is $\frac1dp_{aa}+\bigl(1-\frac1d\bigr)p_{ab}$, and all other pooled entries are $p_{ab}$. So pooling replaces $a$ by $\frac ad$ and keeps $b$, and $\kappa=1+\frac{mdb}a$, which is that of $md$ images.
#
# In the ordered phase the entries are the same because all $\zeta$ are, up to $O(\chi_1^l)$. In the other two phases they may differ, but by little beside $a$, whatever the images. So it is in all three cases, to leading order.

# %%
d = sp.Symbol("d", positive=True)
pooled_kappa = Chain((a / d + m * b) / (a / d)).eq(
    1 + m * d * b / a, "m·d images"
)
pooled_kappa

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} How much dropout?
# :label: ntk-ex-dropout
#
# An ordered network at $(\sigma_w^2,\sigma_b^2)=(1.25,0.05)$ is to be trained on 100 images at any depth with $\kappa\le1000$. Which keep probability do you need?
# :::
#
# :::{solution-start} ntk-ex-dropout
# :class: dropdown
# :::
#
# As {numref}`fig-ntk-dropout` shows, $\kappa$ stays below its limit, which increases with $\rho$. Solve $1+\frac{m\rho p^*}{(1-\rho)(p^*-\sigma_b^2)}=1000$ for $\rho$: with $f=\frac{999(p^*-\sigma_b^2)}{mp^*}$, at most $\rho=\frac f{1+f}$.

# %%
at = ntk.phase(1.25, 0.05)
f = 999 * (at.p - 0.05) / (100 * at.p)
keep = f / (1 + f)
hundred = task("digits", images=100, test=1, seeds=1).train_x[0]
kernel = ntk.fcn_kernel(
    hundred,
    depth=600,
    sigma_w2=1.25,
    sigma_b2=0.05,
    activation="erf",
    keep_prob=keep,
)
print(f"ρ = {keep:.4f}, κ = {float(ntk.spectrum(kernel.ntk).kappa):.2f}")

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Is there chaos without saturation?
# :label: ntk-ex-gelu
#
# ReLU has no chaotic phase. Find out whether tanh has one at $\sigma_b^2=0.05$, and where it begins. For GELU, follow the fixed points of the variance: each $q$ is one at a certain $\sigma_w^2$, which `critical_line` lets you compute, for it returns $\frac1{\dot T}$ and $q-\frac T{\dot T}$. What goes wrong? Does a larger bias help?
# :::
#
# :::{solution-start} ntk-ex-gelu
# :class: dropdown
# :::

# %%
begins = ntk.critical_sigma_w2(0.05, "tanh")
print(f"tanh is critical at σ_w² = {begins:.4f}")
for sigma_w2 in (1.5, 1.9, 2.5):
    at = ntk.phase(sigma_w2, 0.05, "tanh")
    print(f"{sigma_w2}: {at.name}, q* = {at.q:.3f}, c* = {at.c:.3f}")

fixed_q = torch.linspace(0.06, 5, 5000, dtype=torch.float64)
inverse_slope, bias = ntk.critical_line(fixed_q, "gelu")
w_of_q = (fixed_q - 0.05) * inverse_slope / (fixed_q - bias)  # (q − σ_b²)/T
chi_of_q, top = w_of_q / inverse_slope, int(w_of_q.argmax())
print(f"GELU: σ_w² at most {w_of_q[top]:.3f}, at q = {fixed_q[top]:.3f}")
print(f"up to there χ₁ is at most {chi_of_q[: top + 1].max():.3f}")
T_of_q = (fixed_q - bias) / inverse_slope
far_q = torch.linspace(5, 250, 50, dtype=torch.float64)
far_slope, far_bias = ntk.critical_line(far_q, "gelu")
far_w = (far_q - 0.05) * far_slope / (far_q - far_bias)
assert 1.999 < far_w.min() < 2 and far_q[far_w.argmin()] > 100
assert (far_w > far_slope).all()  # χ₁ > 1
rise = torch.gradient(T_of_q, spacing=(fixed_q,))[0]
assert (rise > 1 / inverse_slope)[:top].all()  # E φφ″ > 0
at = ntk.phase(1.98, 0.2, "gelu")
print(f"σ_b² = 0.2: {at.name}, q* = {at.q:.2f}, χ₁ = {at.chi_1:.3f}")
assert at.name == "chaotic"

# %% [markdown]
# tanh behaves like erf. GELU does not saturate: $T$ grows like $\frac q4$ for small $q$ and like $\frac q2$ for large ones, and the map of the variance is not concave. As $q$ grows, its $\sigma_w^2$ rises to a maximum, and falls back, to a little below 2. So above 2 there are two fixed points: a stable one with $\chi_1<1$, and a larger one, from which all larger variances run away. At the maximum both vanish: from small variances, the network explodes before there is chaos.
#
# The reason: $\frac{dT}{dq}=\mathbb E\varphi'^2+\mathbb E\varphi\varphi''$. Saturation makes the last term negative; here, up to the maximum, it is positive, so $\chi_1$ is less than the slope of $\mathcal Q$, which is at most 1 at a stable fixed point.
#
# For large $q$ the term is negative for GELU, too. So there is chaos without saturation, if only a little. At $\sigma_b^2=0.05$ it hides just below 2, at fixed points $q>100$ that no small variance reaches. A larger bias holds $q^*$ there: at $(1.98,0.2)$ the network is chaotic.
#
# :::{solution-end}
# :::
#
# :::{exercise} Balanced classes
# :label: ntk-ex-shift
#
# In {numref}`fig-ntk-ends` the labels have a mean because each is $\frac9{10}$ or $-\frac1{10}$ and the ten digits are not equally frequent in the training set. Take a training set with six images of each digit, and the same labels. Which curve do you expect? Check it at depth 32.
# :::
#
# :::{solution-start} ntk-ex-shift
# :class: dropdown
# :::
#
# Each of the ten labels then has mean $\frac1{10}\cdot\frac9{10}-\frac9{10}\cdot\frac1{10}=0$. So the upper one.

# %%
many = task("digits", images=256, test=200, seeds=1)
of_each = torch.cat([(many.train[0] == k).nonzero()[:6, 0] for k in range(10)])
balanced = many._replace(
    train_x=many.train_x[:, of_each],
    train_y=many.train_y[:, of_each],
    train=many.train[:, of_each],
)
share = members.accuracies(
    balanced, balanced.train_y[0], (32,), sigma_w2=2.45, sigma_b2=0.18
)
print(f"accuracy on new digits: {float(share[0, 1]):.0%}")
assert share[0, 1] > 0.6

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} The border of ReLU (harder)
# :label: ntk-ex-border
#
# Take ReLU with biases at $\sigma_w^2=2$, where {prf:ref}`ntk-relu-bias` ends, and inputs of one norm. How do $q^l$ and $\theta$ behave? Which $r$ takes the place of 3, what share of the diagonal is $p_{ab}$, and where does $\kappa$ tend? And for $\sigma_w^2>2$? Compare with the library; at 2 the error of $\kappa$ is of the order $1/\sqrt l$.
# :::
#
# :::{solution-start} ntk-ex-border
# :class: dropdown
# :::
#
# $q^l=q^0+l\sigma_b^2$. A layer multiplies $1-\cos\theta$ by what it does without biases, and by $q^l/q^{l+1}\simeq1-\frac1l$. So $\theta\mapsto(1-\frac1{2l})\,\theta-\frac{\theta^2}{3\pi}+\dots$, and $\frac1\theta$ gains $\frac1{2l\theta}+\frac1{3\pi}$. Therefore $\frac1\theta=\frac{2l}{3\pi}$, up to a multiple of $\sqrt l$, and $\chi=1-\frac\theta\pi\simeq1-\frac3{2l}$: $r=\frac32$. Now both recursions are driven by $q^l\simeq l\sigma_b^2$. The diagonal is $\frac12l^2\sigma_b^2$; inserting $p_{ab}=xl^2\sigma_b^2$ gives $2x=1-\frac32x$, so $x=\frac27$. The share is $\frac47$, and $\kappa\to1+\frac{4m}3$.
#
# For $\sigma_w^2>2$ the variance grows like $(\frac{\sigma_w^2}2)^l$, and what biases add to the correlations sums to a constant. So $\kappa\to\frac{m+3}3$, as without them. With $m=6$ the two limits are 9 and 3.

# %%
for sigma_w2 in (2.0, 2.5):
    deeper = ntk.fcn_kernels(
        six,
        depths=(500, 2000),
        sigma_w2=sigma_w2,
        sigma_b2=1.0,
        activation="relu",
    )
    near, far_down = (float(ntk.spectrum(k.ntk).kappa) for _, k in deeper)
    guess = 2 * far_down - near if sigma_w2 == 2 else far_down  # without 1/√l
    print(f"σ_w² = {sigma_w2}: κ = {far_down:.2f}, in the limit {guess:.2f}")
    assert abs(guess - (9 if sigma_w2 == 2 else 3)) < 0.1

# %% [markdown]
# :::{solution-end}
# :::
#
# ## Bibliography
#
# :::{bibliography}
# :filter: docname in docnames
# :::
#
# **To cite this chapter**, cite the paper, and the book as in its {doc}`front page <index>`.
