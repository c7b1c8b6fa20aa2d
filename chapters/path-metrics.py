# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# (path-metrics)=
# # Path-metrics
#
# *The executable companion of* "A path-norm toolkit for modern networks: consequences, promises and challenges" {cite:p}`gonon2024toolkit` (arXiv 2310.01225, version 5) *and of* "A rescaling-invariant Lipschitz bound based on path-metrics for modern ReLU network parameterizations" {cite:p}`gonon2025pathmetrics` (arXiv 2405.15006, version 3; version 1 is titled "Path-metrics, pruning, and generalization").
#
# :::{tally}
# :::
#
# **Three questions.** What does a ReLU network remember of its parameters? How far can its output move when the parameters move? Which weights can go?
#
# **After this chapter you can** write a ReLU network as a linear function of its paths; compute its path-norm with one forward pass, and say which graph the number belongs to; bound the effect of pruning or quantization for every input at once; and name the assumption that each step needs.
#
# **You need** the chain rule, the $\ell^1$ and $\ell^\infty$ norms, and a little PyTorch. About 40 minutes to read; about a minute to run on two cores.
#
# Of both papers we have read the abstracts, the openings, the authors' code and their poster. Statements that we only remember are printed in our own words, as *companion versions*: with a proof on this page or, like the generalization bound, marked as unchecked. {doc}`The ledger <ledger>` says which is which.

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
import copy
import random
from fractions import Fraction
from itertools import combinations, product

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
import torch
from mpmath import iv
from torch import nn

from lib import paths
from lib.claims import (
    certified,
    check,
    exhaustive,
    each,
    measured,
    observed,
    together,
    worst,
)
from lib.figures import COLORS, band, figure, label_lines, use_style
from lib.glue import caption, glue, scientific
from lib.nets import resnet
from lib.paths import (
    activations,
    exact,
    experiments,
    forward,
    lifting,
    path_metric,
    path_norm,
    unroll,
)
from lib.paths.examples import (
    example_dag,
    mlp,
    normal,
    normalised_network,
    pooled_network,
)
from lib.paths.examples import random_dag, sines
from lib.paths.experiments import PruningConfig, pruning_experiment
from lib.paths.recorded import EXPERIMENTS
from lib.paths.smt import main_theorem, pooling_neuron, relu_neuron
from lib.paths.studies import depth_study, output_change_study
from lib.proof import Chain, identities
from lib.runs.records import read

use_style()


# %% [markdown]
# ## One function, many parameters
#
# Take a ReLU network, double the weights that enter one hidden neuron, and halve those that leave it. Every output stays the same, because $\operatorname{relu}(2z)=2\operatorname{relu}(z)$. The parameters have moved; the function has not.
#
# A quantity that is meant to describe the *function* should not notice. The usual ones do. {numref}`fig-hero` shows the product of the operator norms $\|M\|_{\infty\to\infty}$ of the weight matrices (the largest $\ell^1$ norm of a row), on which many bounds rest, while one hidden neuron of a small network is rescaled by $\lambda$: it grows without limit. The path-norm of an output, the subject of this chapter, stays constant.

# %% tags=["remove-output"]
def random_layers(*widths, seed):
    generator = torch.Generator().manual_seed(seed)
    sizes = zip(widths[1:], widths[:-1], strict=True)
    return [
        torch.randn(size, generator=generator, dtype=torch.float64)
        for size in sizes
    ]


def rescale_first(layers, factor):
    """The same function: scale what enters hidden neuron 0, unscale the rest."""
    first, second, *rest = (m.clone() for m in layers)
    first[0] *= factor
    second[:, 0] /= factor
    return [first, second, *rest]


layers = random_layers(4, 5, 6, 3, seed=0)
factors = np.logspace(-3, 3, 61)
same_function = [rescale_first(layers, factor) for factor in factors]
norms = [float(paths.per_output_path_norm(m).max()) for m in same_function]
products = [float(paths.operator_norm_product(m)) for m in same_function]
assert np.allclose(norms, norms[0], rtol=1e-12) and min(products) >= norms[0]

fig, ax = plt.subplots()
ax.loglog(
    factors, products, color=COLORS["red"], label="product of\noperator norms"
)
ax.loglog(factors, norms, color=COLORS["blue"], label="path-norm")
ax.set_xlabel("rescaling factor λ of one hidden neuron")
label_lines(ax)
figure("hero", fig)

# %% [markdown]
# :::{glue:figure} hero
# :name: fig-hero
# :alt: Two curves against the rescaling factor from one thousandth to one thousand, both axes logarithmic. The product of operator norms rises steeply on both sides of its minimum. The path-norm is a horizontal line that the minimum of the other curve does not go below.
#
# The same function all along: one hidden neuron of a random 4-5-6-3 network is rescaled by $\lambda$. The product of operator norms sees a different network at every $\lambda$. The path-norm (of the output where it is largest) sees one.
# :::
#
# ## The paths of a network
#
# :::{prf:definition} Network
# :label: pm-network
#
# A network is a directed acyclic graph. An *input* neuron carries a coordinate of $x$. Every other neuron $v$ takes the values of its antecedents $u$, times the weights $\theta^{u\to v}$, and applies one of three rules: *identity* and *ReLU* add a bias $b_v$ to the sum first; *$k$-max-pooling* returns the $k$-th largest of the products, with no bias. An *output* neuron is an identity without successors; a *hidden* neuron is neither input nor output.
# :::
#
# Convolutions, skip connections, average pooling (fixed weights $1/n$), max-pooling and batch normalisation in evaluation mode (a scale and a shift) fit this definition.
#
# :::{prf:observation} A convolutional network is such a graph
# :label: pm-scope
#
# {status}`pm-scope` `unroll` turns a network with a convolution, batch normalisation, max-pooling and average pooling into a graph of scalar neurons with the same outputs.
# :::

# %%
apart = sines(normalised_network())
generator = torch.Generator().manual_seed(0)
images = torch.randn(20, 1, 4, 4, generator=generator, dtype=torch.float64)


def same_outputs(pool):
    graph, params = unroll(apart, (1, 4, 4))
    ours = np.array(
        [forward(graph, params, x.flatten().tolist()) for x in images]
    )
    theirs = (
        nn.Sequential(*apart[:3], pool, *apart[4:])(images).detach().numpy()
    )
    what = "largest difference of an output"
    largest = abs(ours - theirs).max()
    return measured(largest, 0, atol=1e-12, n=len(images), seed=0, what=what)


check(
    "pm-scope",
    same_outputs,
    nn.MaxPool2d(2),
    counterfeit=nn.AvgPool2d(2),
    says="average pooling in place of max-pooling",
)

# %% [markdown]
# :::{prf:definition} Path, lifting, activation
# :label: pm-paths
#
# A *path* $p$ runs along edges to an output. It starts at an input, or at a neuron with a bias.
#
# - Its *value* $\Phi_p(\theta)$ is the product of the weights along it, times the bias of its first neuron if it starts at a bias.
# - Its *activation* $a_p(\theta,x)\in\{0,1\}$ is 1 when every neuron on it lets it through: a ReLU that is positive, a pooling neuron that selects just this antecedent (the $k$-th in decreasing order; equal values stand in the order of the antecedents).
#
# The *path-lifting* is the vector $\Phi(\theta)$, and $\|\Phi(\theta)\|_q$ is a *path-norm*; without $q$ we mean $q=1$, and the path-norm *of an output* takes only the paths that end there. The *path-activations* form the matrix $A(\theta,x)$ with a row for each path and a column for each input, plus a last column for biases: row $p$ holds $a_p$ in the column where $p$ starts. *Paths to a neuron* are the same, with that neuron for the output.
# :::
#
# The smallest instance has one input, one hidden neuron and one output, with two biases: three paths. At $x=2$ the hidden neuron is open, and $6\cdot2-3+1=10$. At $x=0$ it is closed, and only the bias of the output is left.

# %%
tiny_graph, _ = unroll(mlp(1, 1, 1), (1,))
theta = [2, -1, 3, 1]  # weight and bias of the hidden neuron, of the output

for point in (2, 0):
    print(
        f"at x = {point} the output is {forward(tiny_graph, theta, [point])[0]}"
    )
    gates = activations(tiny_graph, theta, [point])
    for value, row in zip(lifting(tiny_graph, theta), gates, strict=True):
        print(f"    a path of value {value:2}, activation {row}")

# %% [markdown]
# :::{prf:theorem} The network is linear in its paths
# :label: pm-lifting
#
# {status}`pm-lifting` For each output $o$, with $\Phi$ and $A$ restricted to the paths that end in $o$,
#
# $$R_\theta(x)_o=\bigl\langle \Phi(\theta),\,A(\theta,x)\,(x,1)\bigr\rangle .$$
# :::
#
# What it buys: all the nonlinearity sits in $A$, which takes only the values 0 and 1. Where $A$ is constant, the network is linear in $\Phi$, and a difference of networks is a difference of liftings.
#
# :::{prf:proof}
# We show by induction along the graph that every neuron $v$ has the value $\sum_p \Phi_p\,a_p\,(x,1)_{p_0}$, summed over the paths to $v$, where $p_0$ is the coordinate at which $p$ starts. For an input this is $x_v$. A ReLU neuron has the value $z\cdot 1[z>0]$ with $z=b_v+\sum_u \theta^{u\to v}\,u(\theta,x)$. Insert the formula for each $u$: a path to $u$, extended by the edge $u\to v$, gains the factor $\theta^{u\to v}$ in $\Phi$ and the factor $1[z>0]$ in $a$. The bias is the path that starts at $v$. Identity neurons have the factor 1, and a pooling neuron keeps exactly one antecedent, whose paths are extended.
# :::
#
# With another nonlinearity, such as $\tanh$, the gates are not 0 or 1, and there is no such $A$. The proof is short; our definitions could still be wrong. So we test them in exact arithmetic, on a graph that has everything: skip connections, biases, a max-pooling neuron and a 2-max-pooling neuron.

# %%
dag = example_dag()
{
    "neurons": len(dag.neurons),
    "parameters": len(dag.names),
    "paths": len(paths.paths(dag)),
}


# %%
def through_paths(theta, x, last):
    """⟨Φ, A (x, last)⟩, output by output."""
    terms = lifting(dag, theta) * (
        activations(dag, theta, x) @ np.array([*x, last])
    )
    return [sum(terms[paths.ends(dag) == o]) for o in range(len(dag.outputs))]


# %%
def identity(last):
    def holds(case):
        return forward(dag, *case) == through_paths(*case, last)

    return certified(
        holds,
        exact.draws(dag, 2000, seed=0),
        arithmetic="exact fractions",
        seed=0,
    )


check(
    "pm-lifting",
    identity,
    1,
    counterfeit=0,
    says="the last column, the biases, is forgotten",
)


# %% [markdown]
# The counterfeit forgets the last column. It fails at once, so the check does look at the biases.
#
# ### What the lifting forgets
#
# :::{prf:theorem} Rescaling
# :label: pm-rescaling
#
# {status}`pm-rescaling` Multiply the incoming weights and the bias of a hidden neuron by $\lambda>0$, and divide its outgoing weights by $\lambda$. Then $R_\theta$, $\Phi(\theta)$ and $A(\theta,\cdot)$ do not change.
# :::
#
# :::{prf:proof}
# A path through the neuron has one edge in (or starts at its bias) and one edge out, so $\Phi_p$ gains $\lambda\cdot 1/\lambda$. Other paths do not meet the changed weights. The neuron's value before its rule is multiplied by $\lambda>0$, which changes no sign and no order, and the products that leave it are the old ones.
# :::

# %%
def invariance(sign):
    rng = random.Random(1)

    def holds(case):
        theta, x = case
        factor = sign * Fraction(rng.randint(1, 9), rng.randint(1, 9))
        other = exact.rescaled(dag, theta, rng.choice(dag.hidden), factor)
        return (
            forward(dag, theta, x) == forward(dag, other, x)
            and all(lifting(dag, theta) == lifting(dag, other))
            and np.array_equal(
                activations(dag, theta, x), activations(dag, other, x)
            )
        )

    return certified(
        holds,
        exact.draws(dag, 1000, seed=1),
        arithmetic="exact fractions",
        seed=1,
    )


# %%
check(
    "pm-rescaling",
    invariance,
    1,
    counterfeit=-1,
    says="a negative factor is allowed",
)

# %% [markdown]
# The condition $\lambda>0$ matters: a negative factor keeps $\Phi$ and switches the ReLU.
#
# Where edges share a weight, as in a convolution, the neurons of a channel are rescaled together. `paths.rescale` does this to the layers of a PyTorch model and returns a copy; `paths.hidden_channels` lists the layers.
#
# Does anything but a rescaling keep the lifting? Near a point without zeros, no: each hidden neuron accounts for one lost dimension, and that is all that is lost.
#
# :::{prf:assumption} Free parameters
# :label: pm-free
#
# Every edge and every bias has a parameter of its own, and every neuron and every edge lies on a path.
# :::
#
# :::{prf:proposition} Rank of the Jacobian
# :label: pm-jacobian
#
# {status}`pm-jacobian` Where no parameter is zero, and no path uses a parameter twice, $\partial\Phi=\operatorname{diag}(\Phi)\,Z\,\operatorname{diag}(1/\theta)$, with $Z$ the 0/1 matrix that says which path uses which parameter. Under {prf:ref}`pm-free` its rank is the number of parameters minus the number of hidden neurons.
# :::
#
# :::{prf:proof}
# The first half is the product rule: $\partial\Phi_p/\partial\theta_i=\Phi_p/\theta_i$ if $p$ uses $\theta_i$, and 0 if not. So the rank is that of $Z$. Let $Z\delta=0$. For a neuron $v$ let $h(v)$ be the sum of $\delta$ along a way from a start to $v$. Two such ways have a common continuation to an output, and both sums over the whole paths are 0, so $h(v)$ does not depend on the way. Hence $\delta_{u\to v}=h(v)-h(u)$ and $\delta_{b_v}=h(v)$, with $h=0$ at inputs and outputs. Conversely each such $h$ gives $Z\delta=0$, and $\delta$ determines $h$. The kernel of $Z$ has one dimension per hidden neuron.
# :::
#
# The proof gives more. If $\theta'$ has the lifting and the signs of $\theta$, and no zeros, then $\delta_i=\ln(\theta'_i/\theta_i)$ solves $Z\delta=0$. So it comes from an $h$, and $\theta'$ is $\theta$ with each hidden neuron $v$ rescaled by $e^{h(v)}$.
#
# Without {prf:ref}`pm-free` the count is off: a convolution shares its weights, so its channels count, not its neurons.

# %%
symbols = sp.symbols(f"theta1:{len(dag.names) + 1}", positive=True)


def factorisation(power):
    phi, uses = lifting(dag, symbols), paths.incidence(dag)
    return identities(
        (sp.diff(phi[p], symbols[i]), uses[p, i] * phi[p] / symbols[i] ** power)
        for p, i in product(range(len(phi)), range(len(symbols)))
    )


check(
    "pm-jacobian",
    factorisation,
    1,
    counterfeit=2,
    says="divided by θ² instead of θ",
    scope="the factorisation, on the example graph",
)

# %%
graphs = [
    dag,
    *(random_dag(torch.Generator().manual_seed(s)) for s in range(30)),
]


def rank_is(lost):
    def holds(graph):
        rank = sp.Matrix(paths.incidence(graph)).rank()
        return rank == len(graph.names) - lost * len(graph.hidden)

    return certified(holds, graphs, arithmetic="integers", seed=0)


check(
    "pm-jacobian",
    rank_is,
    1,
    counterfeit=0,
    says="nothing is lost",
    scope="the rank, on 31 graphs",
)

# %% [markdown]
# ## The path-norm
#
# $\|\Phi(\theta)\|_q$ measures a network in a way that rescaling cannot fool. But a network has far too many paths to list: a ResNet-18 has about {glue:text}`resnet18-paths`. The next theorem makes the path-norm as cheap as one evaluation of the network.
#
# :::{prf:theorem} The path-norm in one forward pass
# :label: pm-one-pass
#
# {status}`pm-one-pass` Replace every pooling neuron by the sum of its inputs, every weight (fixed ones like $1/n$ included) and every bias by the $q$-th power of its absolute value, and feed the all-ones input. The outputs then add up to $\|\Phi(\theta)\|_q^q$. For $q=0$, with $0^0=0$, they count the paths whose value is not zero.
# :::
#
# :::{prf:proof}
# In the new network every value before a ReLU is at least 0, so each ReLU may be replaced by the identity: at 0 both give 0. Then every activation is 1, and by {prf:ref}`pm-lifting` the outputs add up to the sum of the path values, which are $|\Phi_p(\theta)|^q$. A pooling neuron must become a *sum*: the path-norm counts the paths through every antecedent, not just through the selected one.
# :::
#
# With symbols for parameters, the theorem is an identity between polynomials, and SymPy settles it by expanding.

# %%
biased = {neuron.bias for neuron in dag.neurons} - {None}


def one_pass(bias_power):
    def sides(q):
        powers = [
            s ** (bias_power(q) if i in biased else q)
            for i, s in enumerate(symbols)
        ]
        outputs = forward(paths.opened(dag), powers, [1] * len(dag.inputs))
        return sum(outputs), sum(phi**q for phi in lifting(dag, symbols))

    return identities(sides(q) for q in (1, 2, 3))


check(
    "pm-one-pass",
    one_pass,
    lambda q: q,
    counterfeit=lambda q: 1,
    says="biases keep the power 1",
    scope="the example graph, q = 1, 2, 3",
)


# %% [markdown]
# For PyTorch models, `path_norm` traces the model and runs that one pass. We compare it with the definition, a sum over all paths, on small networks with random parameters. One of them has batch normalisation and average pooling, that is, fixed weights $1/n$.

# %%
def keep_the_maximum(model, shape, q):
    """The counterfeit: the pass as above, but max-pooling stays what it is."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.abs() ** q)
        return float(
            model(torch.ones(1, *shape, dtype=torch.float64)).sum() ** (1 / q)
        )


# %%
def agrees_with_definition(norm, n=20):
    def error(seed, q, make, shape):
        model = normal(make(), seed)
        phi = np.abs(paths.path_lifting(model, shape))
        return abs(norm(model, shape, q) / (phi**q).sum() ** (1 / q) - 1)

    nets = [(lambda: mlp(3, 4, 3, 2), (3,)), (pooled_network, (1, 4, 4))]
    nets += [(lambda: sines(normalised_network()), (1, 4, 4))]
    largest = worst(
        error(s, q, *net) for s, q, net in product(range(n), (1, 2, 3), nets)
    )
    return measured(
        largest, 0, atol=1e-12, n=9 * n, seed=0, what="largest relative error"
    )


check(
    "pm-one-pass",
    agrees_with_definition,
    path_norm,
    counterfeit=keep_the_maximum,
    says="max-pooling stays a maximum",
    scope="path_norm in PyTorch",
)

# %% [markdown]
# On a real architecture the numbers are large. `log=True` never overflows, because the pass carries a power of two beside its values.

# %%
image = (3, 224, 224)
network = resnet(18, generator=torch.Generator().manual_seed(0)).eval()
glue("resnet18-log", round(path_norm(network.double(), image, log=True), 1))
glue("resnet18-paths", scientific(path_norm(network, image, q=0)))
deepest = resnet(152, generator=torch.Generator().manual_seed(0)).eval()
count = path_norm(deepest, image, q=0, log=True) / np.log(10)
glue("resnet152-digits", round(count))

# %% [markdown]
# A randomly initialised ResNet-18 has about {glue:text}`resnet18-paths` paths of nonzero value, and its path-norm has the natural logarithm {glue:text}`resnet18-log`. For a ResNet-152 the number of paths exceeds what a double can hold; its decimal logarithm is {glue:text}`resnet152-digits`.
#
# ```{warning}
# The path-norm belongs to a graph, not to a function. Batch normalisation can be kept as a neuron of its own, with a scale $s$ and a shift $t$, or folded into the convolution before it, with its bias $b$. The function is the same, but the paths that start at a bias weigh $|b|\,|s|+|t|$ in one graph and $|bs+t|$ in the other.
# ```
#
# :::{prf:proposition} The value depends on the chosen graph
# :label: pm-bn-folding
#
# {status}`pm-bn-folding` There is a convolutional network whose path-norm changes when its batch normalisation is folded, although no output changes.
# :::

# %%
folded = nn.Sequential(
    torch.nn.utils.fusion.fuse_conv_bn_eval(apart[0], apart[1]), *apart[2:]
)
glue("bn-apart", round(path_norm(apart, (1, 4, 4)), 2))
glue("bn-folded", round(path_norm(folded, (1, 4, 4)), 2))


# %%
def folding(changes):
    same = torch.allclose(apart(images), folded(images), rtol=0, atol=1e-12)
    ratio = path_norm(folded, (1, 4, 4)) / path_norm(apart, (1, 4, 4))
    holds = same and (abs(ratio - 1) > 0.01) == changes
    return observed(
        holds,
        f"outputs agree: {same}; ratio {ratio:.3f}",
        ratio=ratio,
        n=len(images),
        seed=0,
    )


check(
    "pm-bn-folding",
    folding,
    True,
    counterfeit=False,
    says="folding keeps the path-norm",
)


# %% [markdown]
# The path-norm goes from {glue:text}`bn-apart` to {glue:text}`bn-folded`. Compare path-norms only between networks with the same graph.
#
# ### What the path-norm bounds
#
# :::{prf:theorem} Lipschitz in the input
# :label: pm-input-lipschitz
#
# {status}`pm-input-lipschitz` $\|R_\theta(x)-R_\theta(x')\|_1\le\|\Phi(\theta)\|_1\,\|x-x'\|_\infty$ for all $x,x'$.
# :::
#
# :::{prf:proof}
# On the segment from $x'$ to $x$ every neuron is piecewise linear. So the segment splits into finitely many pieces, and $A$ is constant inside each of them: a value that vanishes identically keeps its ReLU closed, and a tie that persists keeps its winner. Between the ends $y,z$ of a piece, {prf:ref}`pm-lifting` and continuity give $R_\theta(y)-R_\theta(z)=\langle\Phi,A\,(y-z,0)\rangle$: the biases cancel. Each entry of $A\,(y-z,0)$ is at most $\|y-z\|_\infty$ in absolute value, and each path ends in one output, so $\|R_\theta(y)-R_\theta(z)\|_1\le\|\Phi\|_1\|y-z\|_\infty$. The pieces lie on one straight line, so their lengths add up to $\|x-x'\|_\infty$.
# :::

# %%
def input_bound(constant):
    tight, _ = unroll(mlp(2, 2, 1, bias=False), (2,))
    extreme = [(tight, [1] * 6, [1, 1], [0, 0])]
    here, there = (exact.draws(dag, 500, seed=k) for k in (2, 3))
    cases = [(dag, p, x, y) for (p, x), (_, y) in zip(here, there, strict=True)]

    def holds(case):
        graph, params, x, y = case
        distance = max(abs(a - b) for a, b in zip(x, y, strict=True))
        bound = constant * exact.norm(graph, params) * distance
        return exact.moved(graph, params, x, y) <= bound

    return certified(
        holds, extreme + cases, arithmetic="exact fractions", seed=2
    )


check(
    "pm-input-lipschitz",
    input_bound,
    1,
    counterfeit=Fraction(99, 100),
    says="99/100 of the path-norm will do",
)

# %% [markdown]
# Positive weights, no biases, $x=(1,\dots,1)$ and $x'=0$ attain the bound when there is no pooling, so no smaller constant would do. The check includes such a network, and refuses the constant $\tfrac{99}{100}\|\Phi\|_1$.
#
# The classical bound is for simpler networks.
#
# :::{prf:assumption} Layered, without biases
# :label: pm-layered
#
# The network is $x\mapsto M_D\operatorname{relu}(M_{D-1}\cdots\operatorname{relu}(M_1x))$ with matrices $M_1,\dots,M_D$.
# :::
#
# There no output moves by more than $\prod_k\|M_k\|_{\infty\to\infty}\,\|x-x'\|_\infty$. {prf:ref}`pm-input-lipschitz`, applied to one output alone, has the path-norm of that output in place of the product.
#
# :::{prf:theorem} Sharper than the product of operator norms
# :label: pm-product
#
# {status}`pm-product` Under {prf:ref}`pm-layered`, the largest path-norm of an output is at most $\prod_k\|M_k\|_{\infty\to\infty}$.
# :::
#
# :::{prf:proof}
# By {prf:ref}`pm-one-pass` the path-norms of the outputs are the entries of $|M_D|\cdots|M_1|\mathbf 1$. The largest entry is at most $\prod_k\|\,|M_k|\,\|_{\infty\to\infty}$, and $M$ and $|M|$ have the same row norms.
# :::
#
# With a bias the comparison fails: $\operatorname{relu}(x)+b$ has the path-norm $1+|b|$, and its matrices have the product 1.
#
# :::{prf:proposition} Equal at the best rescaling
# :label: pm-best-rescaling
#
# {status}`pm-best-rescaling` Under {prf:ref}`pm-layered`, let no row of $M_1,\dots,M_{D-1}$ be zero. Rescale the hidden neurons, first layer first, so that the incoming weights of each have $\ell^1$ norm 1. Then the product of operator norms equals the largest path-norm of an output. So this is the smallest product that rescaling can reach.
# :::
#
# :::{prf:proof}
# After the rescaling $|M_k|\mathbf 1=\mathbf 1$ for every $k<D$. So $|M_D|\cdots|M_1|\mathbf 1=|M_D|\mathbf 1$, whose largest entry is $\|M_D\|_{\infty\to\infty}$, and this is the whole product. Rescaling did not change the path-norm, and by {prf:ref}`pm-product` no product is smaller.
# :::

# %%
random_nets = [exact.matrices(seed, (4, 5, 6, 3)) for seed in range(200)]


def below_the_product(total):
    sides = [
        (total(exact.output_norms(net)), "against", exact.operator_norms(net))
        for net in random_nets
    ]
    return certified(
        lambda case: case[0] <= case[2],
        sides,
        arithmetic="exact fractions",
        seed=0,
    )


check(
    "pm-product",
    below_the_product,
    max,
    counterfeit=sum,
    says="the sum over the outputs, too",
)


# %%
def equality(upto):
    sides = [
        (
            exact.operator_norms(exact.normalised(net, upto)),
            "against",
            max(exact.output_norms(net)),
        )
        for net in random_nets
    ]
    return certified(
        lambda case: case[0] == case[2],
        sides,
        arithmetic="exact fractions",
        seed=0,
    )


# %%
check(
    "pm-best-rescaling",
    equality,
    2,
    counterfeit=1,
    says="the last hidden layer is left alone",
)

best = paths.normalized(layers)
glue("product-before", round(float(paths.operator_norm_product(layers)), 1))
glue("product-after", round(float(paths.operator_norm_product(best)), 1))

# %% [markdown]
# For the network of {numref}`fig-hero` the product is {glue:text}`product-before`; after normalising it is {glue:text}`product-after`, the largest path-norm of an output.
#
# ### Generalization: the constants, and what they give
#
# The first paper proves a generalization bound that is linear in the path-norm, and covers every network in the sense of {prf:ref}`pm-network`. We do not check the theorem here. What we can check is arithmetic: the authors' code has the constants, and the constants have consequences.
#
# :::{prf:theorem} Generalization bound (companion wording)
# :label: pm-generalization
#
# {status}`pm-generalization` For $n$ independent, identically distributed samples with $\|x\|_\infty\le B$, $B\ge1$, a loss that is $G$-Lipschitz in the prediction (in the $\ell^2$ norm, as we remember it), and parameters with $\|\Phi(\theta)\|_1\le r$, the expected generalization gap is at most
#
# $$\frac{4B}{\sqrt n}\,G\,r\,C,\qquad C^2=D\ln\bigl((3+2P)K\bigr)+\ln\Bigl(\tfrac{3+2P}{1+P}(d_{\mathrm{in}}+1)\,d_{\mathrm{out}}\Bigr),$$
#
# with $D$ the depth, $K$ the largest pooling window and $P$ the number of kinds of pooling. The sharper form that the authors' code uses for ResNets has $C^2=D\ln3+\ln K+\ln\bigl((d_{\mathrm{in}}+1)d_{\mathrm{out}}\bigr)$.
# :::
#
# The proof rests on a contraction lemma for pooling and on peeling {status}`pm-ingredients`. A version for the top-1 error with a margin {status}`pm-margin` and a comparison with earlier bounds {status}`pm-prior-bounds` exist in the paper, too. We have not read them, so they stay grey.
#
# :::{prf:observation} Table 2, recomputed
# :label: pm-table2
#
# {status}`pm-table2` With $B=2.64$, $n=\lfloor0.99\cdot1\,281\,167\rfloor$, $K=9$, $P=1$ and $r=G=1$, interval arithmetic gives the ten constants that the authors' code computes for the table, to four decimals.
# :::

# %%
# depth: (the bound, the sharper form), the authors' numbers
TABLE_2 = {
    18: ("0.0881", "0.0599"),
    34: ("0.1145", "0.0716"),
    50: ("0.1359", "0.0817"),
    101: ("0.1885", "0.1077"),
    152: ("0.2294", "0.1286"),
}


def first_factor(
    depth, *, sharper, K=9, P=1, M=1, inputs=3 * 224 * 224, outputs=1000
):
    """The bound for r = G = 1, as an interval that contains it."""
    if sharper:
        C2 = depth * iv.log(3) + M * iv.log(K) + iv.log((inputs + 1) * outputs)
    else:
        sizes = iv.mpf(3 + 2 * P) / (1 + P) * (inputs + 1) * outputs
        C2 = depth * iv.log((3 + 2 * P) * K) + iv.log(sizes)
    samples = 99 * 1281167 // 100
    return 4 * iv.mpf("2.64") / iv.sqrt(samples) * iv.sqrt(C2)


# %%
# Four decimals do not see the 1 in d_in + 1; a network with one input does.
single = {
    "n": 99 * 1281167 // 100,
    "B": 2.64,
    "kernel": 9,
    "d_in": 1,
    "d_out": 1,
}
twins = {
    False: paths.generalization_factor(depth=18, pool_types=1, **single),
    True: paths.sharpened_generalization_factor(
        depth=18, pool_layers=1, **single
    ),
}
for sharper, twin in twins.items():
    ours = first_factor(18, sharper=sharper, inputs=1, outputs=1)
    assert np.isclose(float(ours.mid), twin, rtol=1e-12)


# %%
def table_2(K):
    def printed(depth, column):
        factor = first_factor(depth, sharper=bool(column), K=K)
        ends = {f"{float(end):.4f}" for end in (factor.a, factor.b)}
        return " or ".join(ends)  # one number, if both ends round alike

    numbers = [
        (f"ResNet-{depth}", printed(depth, column), "against", theirs)
        for depth, row in TABLE_2.items()
        for column, theirs in enumerate(row)
    ]
    return certified(
        lambda case: case[1] == case[3], numbers, arithmetic="intervals"
    )


check(
    "pm-table2",
    table_2,
    9,
    counterfeit=4,
    says="pooling windows of 4 instead of 9",
)

# %% [markdown]
# :::{prf:observation} The bound is vacuous on ImageNet
# :label: pm-vacuous
#
# {status}`pm-vacuous` With $G=1$ and the authors' own path-norms for $r$, even the sharper form exceeds 1 for every one of the five networks. For a loss with values in $[0,1]$ no gap exceeds 1.
# :::

# %%
L1_NORMS = {
    18: "1.33e30",
    34: "1.89e51",
    50: "4.22e69",
    101: "2.89e133",
    152: "6.01e194",
}


def bound(depth, norm):
    return first_factor(depth, sharper=True) * iv.mpf(norm)


def vacuous(norms):
    bounds = {depth: bound(depth, norm) for depth, norm in norms.items()}
    cases = {f"ResNet-{d}: {float(b.mid):.2g}": b for d, b in bounds.items()}
    return certified(lambda k: cases[k] > 1, cases, arithmetic="intervals")


# %%
check(
    "pm-vacuous",
    vacuous,
    L1_NORMS,
    counterfeit=dict.fromkeys(L1_NORMS, 1),
    says="the first factor alone exceeds 1",
)
glue("vacuous-18", scientific(float(bound(18, L1_NORMS[18]).mid), 0))
glue("resnet18-pretrained", scientific(float(L1_NORMS[18]), 2))

# %% [markdown]
# For ResNet-18 the sharper form gives {glue:text}`vacuous-18`. This is no objection to the theorem, which is about the *form* of the dependence.
#
# The authors report path-norms and margins of pretrained networks {status}`pm-table3`, the path-norm along twenty rounds of pruning {status}`pm-imp` and against the size of the training set {status}`pm-growing-data`. These need ImageNet, and we do not repeat them. In their refreshed figures the $\ell^1$ path-norm of ResNet-18 is {glue:text}`resnet18-pretrained`; for $q\ge2$ the values on their poster are superseded by their own later ones.

# %% [markdown]
# ## How far the output moves when the parameters move
#
# We now compare two parameter vectors $\theta,\theta'$ of one network. Pruning sets some weights to zero; quantization moves each of them a little. Both questions ask for a bound on $R_\theta(x)-R_{\theta'}(x)$ that holds for every $x$ and that rescaling cannot inflate.
#
# :::{prf:assumption} Same signs
# :label: pm-same-signs
#
# $\theta_i\theta'_i\ge0$ for every parameter $i$.
# :::
#
# :::{prf:theorem} Main theorem (companion wording)
# :label: pm-main
#
# {status}`pm-main` Under {prf:ref}`pm-same-signs`, for every input $x$,
#
# $$\|R_\theta(x)-R_{\theta'}(x)\|_1\le\max(\|x\|_\infty,1)\,\|\Phi(\theta)-\Phi(\theta')\|_1 .$$
# :::
#
# :::{prf:definition} Path-metric
# :label: pm-metric
#
# $\|\Phi(\theta)-\Phi(\theta')\|_1$ is the *path-metric* between two parameter vectors of one network.
# :::
#
# So the right-hand side is the path-metric times the size of the input. It does not see rescalings, not even different ones of $\theta$ and $\theta'$; it needs no data, and it covers every architecture of {prf:ref}`pm-network`. Under {prf:ref}`pm-free`, with equal signs and no zeros, only rescalings of one network are at distance 0, as we saw. First the smallest instance: we remove the output weight of the network with three paths, at $x=2$.

# %%
pruned = [2, -1, 0, 1]
outputs = [forward(tiny_graph, p, [2])[0] for p in (theta, pruned)]
print("outputs:", outputs)
print(
    "path-metric:",
    exact.metric(tiny_graph, theta, pruned),
    "times max(|x|, 1) = 2",
)

# %% [markdown]
# The output moves by 9, and the theorem allows 18.
#
# ### The proof, one neuron at a time
#
# :::{prf:lemma} One neuron
# :label: pm-neuron
#
# {status}`pm-neuron` Let $cc'\ge0$, and let $\rho$ be the ReLU (of one number) or $k$-max-pooling (of several). Then, for all real $z,z'$,
#
# $$|c\,\rho(z)-c'\rho(z')|\le\max_i|c\,z_i-c'z'_i| .$$
# :::
#
# :::{prf:proof}
# Take $-c$ and $-c'$ if one of them is negative; so let $c,c'\ge0$. Then $c\,\rho(z)=\rho(cz)$ and $c'\rho(z')=\rho(c'z')$. And $\rho$ moves at most as far as the entry that moves most: if no entry moves by more than $m$, then $\rho(cz)\le\rho(c'z'+m)\le\rho(c'z')+m$, where $m$ is added to every entry, and the same with the two exchanged.
# :::
#
# The lemma has no other variables than the ones on the page, so the solver Z3 can settle it over all reals. For pooling it does so for small windows. (The median of three values needs no condition on the signs, for it is odd.)

# %%
check(
    "pm-neuron",
    lambda signs: relu_neuron(signs=signs),
    True,
    counterfeit=False,
    says="c and c' may have opposite signs",
    scope="ReLU",
)


# %%
def pooling(signs):
    sizes = ((2, 1), (3, 1), (4, 2))  # the second largest of four comes last
    return each(*(lambda k=k: pooling_neuron(*k, signs=signs) for k in sizes))


check(
    "pm-neuron",
    pooling,
    True,
    counterfeit=False,
    says="c and c' may have opposite signs",
    scope="the largest of two and of three, the second of four",
)

# %% [markdown]
# From here the theorem is a walk from an output down to the inputs, and it comes out sharper: each path is weighed by the input coordinate at which it starts.
#
# :::{prf:theorem} Sharper form
# :label: pm-sharper
#
# {status}`pm-sharper` Under {prf:ref}`pm-same-signs`, with $p_0$ the coordinate of $(x,1)$ at which the path $p$ starts,
#
# $$\|R_\theta(x)-R_{\theta'}(x)\|_1\le\sum_p|\Phi_p(\theta)-\Phi_p(\theta')|\,|(x,1)_{p_0}| .$$
# :::
#
# :::{prf:proof}
# Write $v$ and $v'$ for the values of a neuron under $\theta$ and $\theta'$. We claim: if $cc'\ge0$, then $|cv-c'v'|$ is at most the sum over the paths $p$ to $v$ of $|c\,\Phi_p(\theta)-c'\,\Phi_p(\theta')|\,|(x,1)_{p_0}|$. With $c=c'=1$ at each output this is the theorem.
#
# For an input, $v=v'=x_v$, and the claim is an equality. Otherwise {prf:ref}`pm-neuron` and, for a sum, the triangle inequality give
#
# $$|cv-c'v'|\le\sum_u|c\,\theta^{u\to v}u-c'\,\theta'^{u\to v}u'|+|c\,b_v-c'b'_v| ,$$
#
# for pooling even with the largest term in place of the sum, and without a bias. Now $c\,\theta^{u\to v}$ and $c'\,\theta'^{u\to v}$ again have no opposite signs. So the claim for $u$, with these in place of $c$ and $c'$, bounds each term by the paths to $u$, extended by the edge. The bias is the path that starts at $v$.
# :::
#
# {prf:ref}`pm-main` follows, since $|(x,1)_{p_0}|\le\max(\|x\|_\infty,1)$. We test both in exact arithmetic: the parameters share their signs, some entries are zero, and inputs smaller and larger than 1 occur.

# %%
chain, _ = unroll(mlp(1, 1, 1, bias=False), (1,))


def starts(graph, x):
    """|(x, 1)_{p0}| for each path."""
    column = {v: abs(value) for v, value in zip(graph.inputs, x, strict=True)}
    return [1 if p.biased else column[p.neurons[0]] for p in paths.paths(graph)]


# %%
def sharper_on_draws(same_signs):
    def holds(case):
        graph, theta, theta_, x = case
        distances = abs(lifting(graph, theta) - lifting(graph, theta_))
        return exact.change(*case) <= sum(distances * starts(graph, x))

    cases = exact.pairs([dag, chain], 2000, seed=0, same_signs=same_signs)
    return certified(holds, cases, arithmetic="exact fractions", seed=0)


check(
    "pm-sharper",
    sharper_on_draws,
    True,
    counterfeit=False,
    says="the signs may differ",
)


# %%
def main_on_draws(floor):
    def holds(case):
        graph, theta, theta_, x = case
        bound = max(floor, *map(abs, x)) * exact.metric(graph, theta, theta_)
        return exact.change(*case) <= bound

    cases = exact.pairs([dag, tiny_graph], 2000, seed=0)
    return certified(holds, cases, arithmetic="exact fractions", seed=0)


check(
    "pm-main",
    main_on_draws,
    1,
    counterfeit=0,
    says="‖x‖ alone, without the 1, will do",
)


# %% [markdown]
# ### By force
#
# The induction is short, but a machine has not read it. For short chains of neurons there is a proof without it: the theorem is one statement about real numbers. Each combination of signs, activations and signs of path differences is a system of polynomial inequalities, and Z3 shows that each contradicts the negation of the theorem. (Two symmetries save cases: an input and its weights under $\theta$ and $\theta'$ may change sign together, and so may the two output weights.)
#
# :::{prf:theorem} The main theorem for chains, over all reals
# :label: pm-main-chains
#
# {status}`pm-main-chains` {prf:ref}`pm-main` holds for all real parameters and inputs: for the chains with one input, with one and with two hidden ReLU neurons and biases at them, and for the one with two inputs, one hidden neuron and its bias. (A bias $b$ at the output adds at least $|b-b'|$ to the right side and at most as much to the left.)
# :::

# %%
def chains(signs):
    sizes = ((2, 1), (3, 1), (2, 2))  # layers and inputs
    return each(
        *(
            lambda k=k: main_theorem(k[0], inputs=k[1], signs=signs)
            for k in sizes
        )
    )


check(
    "pm-main-chains",
    chains,
    True,
    counterfeit=False,
    says="the signs may differ",
)

# %% [markdown]
# ### What breaks without the signs
#
# :::{prf:proposition} The sign condition cannot be dropped
# :label: pm-sign-needed
#
# {status}`pm-sign-needed` On the chain 1-1-1 without biases, $\theta=(1,1)$ and $\theta'=(-1,-1)$ have the same lifting, and $|R_\theta(x)-R_{\theta'}(x)|=|x|$. The path-metric is 0, so no constant in front of it repairs the bound.
# :::

# %%
x = sp.Symbol("x", real=True)


def relu(z):
    return sp.Max(z, 0)


def flipped(s):
    """θ = (1, 1) and θ' = (s, s): the same lifting, outputs |x| apart."""
    same_lifting = Chain(sp.Integer(1) * 1).eq(s * s, "the one path value")
    apart = Chain(sp.Abs(relu(x) - s * relu(s * x))).eq(
        sp.Abs(x), "the outputs"
    )
    return together(same_lifting.evidence(), apart.evidence())


check(
    "pm-sign-needed",
    flipped,
    sp.Integer(-1),
    counterfeit=sp.Integer(1),
    says="the signs agree",
)

# %% [markdown]
# A step through a third parameter vector bounds such pairs all the same; this is the exercise *When signs change*.
#
# ### Another way: a walk
#
# The authors' route, as we remember it, is a walk from $\theta$ to $\theta'$. While the activations stay constant, {prf:ref}`pm-lifting` bounds the change of the output by the change of $\Phi$. Whenever they change, start again. The bound adds up to the *length* of the walk in path space. For the theorem, that length must equal the distance of its ends, so no path value may turn around on the way. The geometric mean does not.
#
# :::{prf:lemma} Along the geometric mean every path moves one way
# :label: pm-geodesic
#
# {status}`pm-geodesic` Let no $\theta_i$, $\theta'_i$ be zero and let the signs agree. On $\theta_i(t)=\operatorname{sgn}(\theta_i)\,|\theta_i|^{1-t}|\theta'_i|^t$, each path has $|\Phi_p(t)|=|\Phi_p(0)|^{1-t}\,|\Phi_p(1)|^t$. Its sign is constant, and it is monotone in $t$.
# :::

# %%
a = sp.symbols("a1:4", positive=True)  # |θ_i| along one path
b = sp.symbols("b1:4", positive=True)  # |θ'_i|
t = sp.Symbol("t", real=True)
start, end = sp.Mul(*a), sp.Mul(*b)


def one_way(point):
    """The path value along a walk whose coordinates are point(a_i, b_i)."""
    value = sp.Mul(*[point(x, y) for x, y in zip(a, b, strict=True)])
    mean = start ** (1 - t) * end**t
    slope = sp.Derivative(value, t)
    return each(
        lambda: Chain(value).eq(mean, "collect the powers").evidence(),
        lambda: (
            Chain(slope)
            .eq(mean * sp.log(end / start), "differentiate")
            .evidence()
        ),
    )


# %%
check(
    "pm-geodesic",
    one_way,
    lambda x, y: x ** (1 - t) * y**t,
    counterfeit=lambda x, y: (1 - t) * x + t * y,
    says="a straight line does it, too",
    scope="paths of three edges",
)

# %% [markdown]
# The derivative of $|\Phi_p(t)|$ is its value times $\ln(|\Phi_p(1)|/|\Phi_p(0)|)$, a number without $t$ in it: one sign for the whole walk. The derivation has three factors; a path with more repeats the same step.
#
# :::{prf:proof} Second proof of the main theorem
# *No parameter is zero.* Fix $x$ and follow $\theta(t)$ from {prf:ref}`pm-geodesic`. Go through the neurons in order. On an interval where the activations of the earlier neurons are constant, what a neuron decides by (the value before a ReLU, the difference of two pooled products) is a finite sum of terms $c\,e^{\lambda t}$, which is zero everywhere or at finitely many $t$. Between these points it is zero throughout or has one sign throughout. So a ReLU stays open or stays closed, and pooled products keep their order, ties included. Hence there are $0=t_0<\dots<t_N=1$ such that $A(\theta(t),x)$ is constant, equal to some $A_k$, on each open interval.
#
# By {prf:ref}`pm-lifting`, $R_{\theta(t)}(x)=\langle\Phi(t),A_k\,(x,1)\rangle$ inside the interval, and by continuity at its ends. The entries of $A_k\,(x,1)$ are in absolute value at most $\max(\|x\|_\infty,1)$, and each path ends in one output. Hence
#
# $$\|R_{\theta(t_k)}(x)-R_{\theta(t_{k-1})}(x)\|_1\le\max(\|x\|_\infty,1)\sum_p|\Phi_p(t_k)-\Phi_p(t_{k-1})| .$$
#
# Add up over $k$. Each $\Phi_p(t)$ is monotone, so its increments add up to $|\Phi_p(1)-\Phi_p(0)|$, and the sum over $p$ is the path-metric.
#
# *Some parameters are zero.* Replace a zero by $\pm\varepsilon$, with the sign of its partner, or $+$ if both are zero. The signs still agree, the theorem holds for the new parameters, and both sides are continuous as $\varepsilon\to0$.
# :::
#
# A straight line in $\theta$ would not do.
#
# :::{prf:proposition} A straight line is too long
# :label: pm-straight-line
#
# {status}`pm-straight-line` On the chain 1-1-1 without biases let $\theta=(1,\varepsilon)$ and $\theta'=(\varepsilon,1)$ with $0<\varepsilon<1$. The path-metric is 0, but along the straight segment the one path value rises and falls again, over a total length of $(1-\varepsilon)^2/2$.
# :::

# %%
eps = sp.Symbol("epsilon", positive=True)
on_segment = ((1 - t) + t * eps) * ((1 - t) * eps + t)  # the path value


def turns_around(power):
    slope = sp.diff(on_segment, t)
    left, top, right = (
        on_segment.subs(t, sp.Rational(k, 2)) for k in (0, 1, 2)
    )
    gap = (1 - eps) ** power
    return each(
        lambda: (
            Chain(slope)
            .eq(gap * (1 - 2 * t), "up until 1/2, then down")
            .evidence()
        ),
        lambda: (
            Chain(top - left + top - right)
            .eq(gap / 2, "up, and down again")
            .evidence()
        ),
    )


# %%
check(
    "pm-straight-line",
    turns_around,
    2,
    counterfeit=1,
    says="it rises and falls by half of 1 − ε, not of its square",
)

# %% [markdown]
# ### The bound is attained
#
# :::{prf:proposition} Equality
# :label: pm-tight
#
# {status}`pm-tight` Without pooling, if $\theta\ge\theta'\ge0$ and $x=(1,\dots,1)$, then $\|R_\theta(x)-R_{\theta'}(x)\|_1=\|\Phi(\theta)-\Phi(\theta')\|_1$.
# :::
#
# :::{prf:proof}
# All activations that matter are 1, since a ReLU at zero passes the same value 0 either way. So $R_\theta(x)=\sum_p\Phi_p(\theta)$ over the paths of each output, and $\Phi_p(\theta)\ge\Phi_p(\theta')$ for each $p$: no absolute value is lost.
# :::

# %%
unpooled, _ = unroll(mlp(2, 3, 2), (2,))


def attained(size):
    rng = random.Random(4)

    def sides():
        big = exact.magnitudes(rng, len(unpooled.names))
        small = [m * Fraction(rng.randint(0, 4), 4) for m in big]
        change = exact.change(unpooled, big, small, [Fraction(size)] * 2)
        return change, "against", exact.metric(unpooled, big, small)

    return certified(
        lambda case: case[0] == case[2],
        (sides() for _ in range(300)),
        arithmetic="exact fractions",
        seed=4,
    )


# %%
check(
    "pm-tight",
    attained,
    1,
    counterfeit=Fraction(1, 2),
    says="x = (1/2, 1/2) attains it, too",
)


# %% [markdown]
# ## Computing the path-metric
#
# A difference of two liftings has as many entries as there are paths. When one of the two parameter vectors is the smaller one in every entry, the difference needs no listing.
#
# :::{prf:theorem} Two forward passes
# :label: pm-two-pass
#
# {status}`pm-two-pass` If the signs agree and $|\theta'_i|\le|\theta_i|$ for every $i$, then
#
# $$\|\Phi(\theta)-\Phi(\theta')\|_1=\|\Phi(\theta)\|_1-\|\Phi(\theta')\|_1 .$$
# :::
#
# :::{prf:proof}
# $\Phi_p(\theta)$ and $\Phi_p(\theta')$ have the same sign and $|\Phi_p(\theta')|\le|\Phi_p(\theta)|$, so $|\Phi_p(\theta)-\Phi_p(\theta')|=|\Phi_p(\theta)|-|\Phi_p(\theta')|$. Sum over $p$.
# :::
#
# Both halves of the condition matter. With one path and the values $1$ and $-\tfrac12$ the distance is $\tfrac32$, not $\tfrac12$. With $1$ and $2$ it is $1$, not $-1$.
#
# Pruning sets entries to zero, and truncation moves them toward zero: both satisfy the condition. Rounding to nearest does not, and for it we have a bound.
#
# :::{prf:proposition} Three passes
# :label: pm-three-pass
#
# {status}`pm-three-pass` If the signs agree, let $m$ be their *meet*, $m_i=\operatorname{sgn}(\theta_i)\min(|\theta_i|,|\theta'_i|)$. Then
#
# $$\|\Phi(\theta)-\Phi(\theta')\|_1\le\|\Phi(\theta)\|_1+\|\Phi(\theta')\|_1-2\,\|\Phi(m)\|_1 .$$
# :::
#
# :::{prf:proof}
# Go from $\theta$ to $m$ and from $m$ to $\theta'$. By {prf:ref}`pm-two-pass` the two legs have lengths $\|\Phi(\theta)\|_1-\|\Phi(m)\|_1$ and $\|\Phi(\theta')\|_1-\|\Phi(m)\|_1$; the triangle inequality adds them. For an ordered pair one leg is empty, and the bound is exact.
# :::

# %%
def two_passes(ordered):
    def holds(case):
        graph, theta, theta_, _ = case
        difference = exact.norm(graph, theta) - exact.norm(graph, theta_)
        return exact.metric(graph, theta, theta_) == difference

    cases = exact.pairs([dag, chain], 1000, seed=5, ordered=ordered)
    return certified(holds, cases, arithmetic="exact fractions", seed=5)


check(
    "pm-two-pass",
    two_passes,
    True,
    counterfeit=False,
    says="the order of sizes is dropped",
)


# %%
def three_norms(pick, graph, theta, theta_):
    norms = [
        exact.norm(graph, p)
        for p in (theta, theta_, exact.meet(pick, theta, theta_))
    ]
    return norms[0] + norms[1] - 2 * norms[2]


# %%
def three_passes(pick):
    def holds(case):
        ordered, (graph, p, q, _) = case
        true, bound = exact.metric(graph, p, q), three_norms(pick, graph, p, q)
        return true == bound if ordered else true <= bound

    cases = [
        (ordered, case)
        for ordered in (False, True)
        for case in exact.pairs([dag, chain], 500, seed=5, ordered=ordered)
    ]
    return certified(holds, cases, arithmetic="exact fractions", seed=5)


check(
    "pm-three-pass",
    three_passes,
    min,
    counterfeit=max,
    says="the larger entries",
)

# %% [markdown]
# Path by path the bound is an inequality between products, and Z3 settles it.

# %%
A, B, m = (
    sp.Mul(*a),
    sp.Mul(*b),
    sp.Mul(*[sp.Min(*p) for p in zip(a, b, strict=True)]),
)


def for_one_path(times):
    return Chain(sp.Abs(A - B)).le(A + B - times * m, "for one path").evidence()


check(
    "pm-three-pass",
    for_one_path,
    2,
    counterfeit=sp.Rational(201, 100),
    says="2.01 times the meet",
    scope="one path of three edges",
)

# %% [markdown]
# What if we round to nearest and use the two-pass formula all the same? We may get a negative number for a distance.
#
# :::{prf:observation} Rounding breaks the two-pass formula
# :label: pm-rounding
#
# {status}`pm-rounding` For the 3-4-3-2 network whose $k$-th parameter is $\sin(0.7k)$, rounded to multiples of $\tfrac14$, the two-pass difference is negative; the metric, summed exactly over the paths, is positive and below the three-pass bound.
# :::

# %%
reference = sines(mlp(3, 4, 3, 2))


def exact_norms(mode, step=Fraction(1, 4)):
    """Two passes, the metric, three passes: fractions of the stored numbers."""
    changed = paths.quantize(reference, float(step), mode=mode)
    graph, theta = unroll(reference, (3,), exact=True)
    _, theta_ = unroll(changed, (3,), exact=True)
    naive = exact.norm(graph, theta) - exact.norm(graph, theta_)
    return (
        naive,
        exact.metric(graph, theta, theta_),
        three_norms(min, graph, theta, theta_),
    )


# %%
def breaks(mode):
    naive, true, bound = exact_norms(mode)
    case = (
        f"{float(naive):.3g} by two passes, {float(true):.3g} in truth, "
        f"{float(bound):.3g} by three"
    )
    return certified(
        lambda case: naive < 0 < true <= bound,
        [case],
        arithmetic="exact fractions of the floats",
    )


check(
    "pm-rounding",
    breaks,
    "round",
    counterfeit="truncate",
    says="truncation breaks it, too",
)
for name, number in zip(
    ("naive", "true", "bound"), exact_norms("round"), strict=True
):
    glue(f"round-{name}", round(float(number), 2))

# %% [markdown]
# Two passes give {glue:text}`round-naive`, the truth is {glue:text}`round-true`, three passes give {glue:text}`round-bound`. `path_metric` never returns the first number: it looks at the signs and the order of the parameters, chooses the formula that applies, and says whether its value is exact. For batch normalisation it compares the scale and the shift. The shift is a difference, so it can change its sign although no parameter does; then `path_metric` refuses, and names it.
#
# ### Quantization with a certificate
#
# :::{prf:observation} Truncation carries a certificate
# :label: pm-quantization
#
# {status}`pm-quantization` Truncate the parameters of that network toward zero, to multiples of $2^{-k}$, for $k=1,\dots,10$. The output, on 2000 random inputs with $\|x\|_\infty\le1$, moves by no more than the two-pass path-metric. By {prf:ref}`pm-main` and {prf:ref}`pm-two-pass` it cannot, at any input of this cube.
# :::

# %%
generator = torch.Generator().manual_seed(0)
cube = 2 * torch.rand(2000, 3, generator=generator, dtype=torch.float64) - 1
bits = range(1, 11)
quantized = {
    mode: [paths.quantize(reference, 2.0**-k, mode=mode) for k in bits]
    for mode in ("truncate", "round")
}


# %%
@torch.no_grad()
def observed_change(net, inputs=cube):
    return float((reference(inputs) - net(inputs)).abs().sum(1).max())


def two_pass_certificates(mode):
    norm = path_norm(reference, (3,))
    bounds = [norm - path_norm(net, (3,)) for net in quantized[mode]]
    gaps = [observed_change(net) for net in quantized[mode]]
    pairs = list(zip(gaps, bounds, strict=True))
    gap, bound = max(pairs, key=lambda pair: pair[0] - pair[1])
    return observed(
        all(gap <= bound for gap, bound in pairs),
        f"the output moves by {gap:.3g}, and two passes allow {bound:.3g}",
        n=len(cube) * len(bits),
        seed=0,
    )


check(
    "pm-quantization",
    two_pass_certificates,
    "truncate",
    counterfeit="round",
    says="two passes certify rounding, too",
)

# %% tags=["remove-output"]
fig, ax = plt.subplots()
certified_by, seen = {}, {}
for mode, color in (("truncate", "blue"), ("round", "red")):
    nets = quantized[mode]
    certified_by[mode] = [path_metric(reference, n, (3,)).value for n in nets]
    seen[mode] = [observed_change(n) for n in nets]
    style = {"color": COLORS[color], "marker": "o"}
    ax.semilogy(bits, certified_by[mode], **style, label=f"{mode}: certified")
    ax.semilogy(bits, seen[mode], "--", **style, label=f"{mode}: observed")
ax.set_xlabel("bits after the binary point")
ax.set_ylabel("change of the output (ℓ¹)")
label_lines(ax)
figure("quantization", fig)

looseness = np.divide(certified_by["truncate"], seen["truncate"])
glue(
    "quantization-looseness", f"{looseness.min():.0f} to {looseness.max():.0f}"
)
assert np.all(np.greater(certified_by["truncate"], certified_by["round"]))
assert all(min(np.divide(certified_by[m], seen[m])) > 10 for m in seen)
grid = torch.cartesian_prod(*[torch.linspace(-1, 1, 41).double()] * 3)
finer = [observed_change(net, grid) for net in quantized["truncate"]]
glue("quantization-missed", f"{max(np.divide(finer, seen['truncate'])):.2f}")

# %% [markdown]
# :::{glue:figure} quantization
# :name: fig-quantization
# :alt: Change of the output against the number of bits after the binary point, logarithmic vertical axis. Four lines fall by about half per bit: certified and observed, for truncation and for rounding. Both certificates lie more than ten times above what is observed.
#
# Certified and observed change of the output of a 3-4-3-2 network. The certificate holds for every input in the cube; the observed value is the largest over a sample.
# :::
#
# The certificate for truncation lies above the one for rounding: truncation may move a weight twice as far. It is loose by a factor of {glue:text}`quantization-looseness` here. The reason is not that the sample misses the worst input: on a grid of $41^3$ inputs the output moves at most {glue:text}`quantization-missed` times as far. The bound adds the absolute values of paths that cancel in the output.
#
# ### Against older bounds
#
# For layered networks, bounds of the form $C_x\|\theta-\theta'\|_\infty$ were known before; the second paper cites one {status}`pm-older-bound`. In the form in which we can prove it, the path-metric sits below it.
#
# :::{prf:proposition} The norm bound
# :label: pm-norm-bound
#
# {status}`pm-norm-bound` Under {prf:ref}`pm-layered`, let all widths (inputs and outputs included) be at most $W$, and let every matrix of $\theta$ and $\theta'$ have $\|M\|_{\infty\to\infty}\le\rho$. Then, whatever the signs,
#
# $$\|\Phi(\theta)-\Phi(\theta')\|_1\le D\,W^2\rho^{D-1}\,\|\theta-\theta'\|_\infty .$$
# :::
#
# :::{prf:proof}
# A difference of products telescopes: $\prod_k a_k-\prod_k a'_k=\sum_k\bigl(\prod_{j>k}a_j\bigr)(a_k-a'_k)\bigl(\prod_{j<k}a'_j\bigr)$. Take absolute values and sum over all paths:
#
# $$\|\Phi(\theta)-\Phi(\theta')\|_1\le\sum_{k=1}^D\mathbf 1^\top|M_D|\cdots|M_{k+1}|\,|M_k-M'_k|\,|M'_{k-1}|\cdots|M'_1|\mathbf 1 .$$
#
# From the right: $|M'_{k-1}|\cdots|M'_1|\mathbf 1$ has entries at most $\rho^{k-1}$. A row of $|M_k-M'_k|$ has at most $W$ entries, each at most $\|\theta-\theta'\|_\infty$. The matrices to the left multiply by at most $\rho^{D-k}$, and $\mathbf 1^\top$ sums at most $W$ outputs. So each of the $D$ terms is at most $W^2\rho^{D-1}\|\theta-\theta'\|_\infty$.
# :::
#
# So for same-sign pairs the path-metric is never worse, and for $D\ge2$ it is better by as much as you like after a bad rescaling of both networks, which raises the right side only. In return, the norm bound holds for the outputs whatever the signs: telescope through the layers, where the ReLU moves no farther than its argument, and $\|R_\theta(x)-R_{\theta'}(x)\|_1\le D\,W^2\rho^{D-1}\,\|\theta-\theta'\|_\infty\,\|x\|_\infty$. (Without biases the path-metric's bound has this factor $\|x\|_\infty$, too, by {prf:ref}`pm-sharper`.)
#
# The matrix with all entries $\rho/W$, shrunk a little, comes as close to equality as we like: the check contains it, and refuses $D-1$ in place of $D$.

# %%
deep, _ = unroll(mlp(3, 3, 3, 3, bias=False), (3,))  # D = 3, W = 3


def nearly_tight(rho):
    value = Fraction(rho, 3)
    return [value] * 27, [value - Fraction(1, 10**6)] * 27


# %%
def telescoped(terms):
    rng = random.Random(6)

    def holds(case):
        theta, theta_ = case
        rows = [
            sum(map(abs, v[i : i + 3])) for v in case for i in range(0, 27, 3)
        ]
        distance = max(abs(v - w) for v, w in zip(theta, theta_, strict=True))
        bound = terms * 9 * max(rows) ** 2 * distance
        x = [rng.choice((-1, 1)) for _ in deep.inputs]
        change = exact.change(deep, theta, theta_, x)
        return max(change, exact.metric(deep, theta, theta_)) <= bound

    random_pairs = [
        (exact.fractions(rng, 27), exact.fractions(rng, 27)) for _ in range(300)
    ]
    tight = [nearly_tight(1), nearly_tight(2)]
    cases = [*tight, *(pair[::-1] for pair in tight), *random_pairs]
    return certified(holds, cases, arithmetic="exact fractions", seed=6)


# %%
check(
    "pm-norm-bound",
    telescoped,
    3,
    counterfeit=2,
    says="D − 1 terms instead of D",
)

# %% [markdown]
# :::{prf:observation} How loose, against depth
# :label: pm-depth
#
# {status}`pm-depth` On random networks with same-sign perturbations, observed change ≤ path-metric ≤ norm bound in every draw, and from the smallest to the largest depth the medians of both ratios grow.
# :::

# %%
study = depth_study(
    (2, 3, 4, 5, 6),
    width=4,
    seeds=100,
    generator=torch.Generator().manual_seed(0),
)
gain = (study.norm_bound / study.metric).median(1).values
loose = (study.metric / study.gap).median(1).values
three = study.gap, study.metric, study.norm_bound
falls, *rise = (values.median(1).values.diff() for values in three)
assert (falls < 0).all() and all((steps > 0).all() for steps in rise)


# %%
def in_order(share):
    """share = 1: the observed change is at most the path-metric itself."""
    below = bool((study.gap <= share * study.metric).all())
    above = bool((study.metric <= study.norm_bound).all())
    above &= bool((study.metric <= study.three_pass).all())
    grow = bool(gain[-1] > gain[0] and loose[-1] > loose[0])
    return observed(
        below and above and grow,
        f"below {below}, above {above}, growing {grow}",
        n=study.gap.numel(),
        seed=0,
    )


check(
    "pm-depth",
    in_order,
    1,
    counterfeit=0.5,
    says="half of the path-metric will do",
)
glue("depth-gain", round(float(gain[-1])))
glue("depth-loose", round(float(loose[-1])))

# %% tags=["remove-output"]
fig, ax = plt.subplots()
curves = {
    "norm bound": ("red", study.norm_bound),
    "path-metric": ("blue", study.metric),
    "observed": ("green", study.gap),
}
for name, (color, draws_) in curves.items():
    low, middle, high = draws_.quantile(
        torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64), dim=1
    )
    ax.fill_between(
        study.depths, low, high, color=COLORS[color], alpha=0.2, linewidth=0
    )
    ax.semilogy(study.depths, middle, color=COLORS[color], label=name)
ax.set_xlabel("depth D")
ax.set_ylabel("change of the output (ℓ¹)")
ax.set_xticks(study.depths)
label_lines(ax)
figure("depth", fig)

# %% [markdown]
# :::{glue:figure} depth
# :name: fig-depth
# :alt: Three lines against depth on a logarithmic vertical axis. The norm bound rises steeply, the path-metric rises slowly, the observed change of the output falls.
#
# Random networks of width 4, parameters changed by up to ten per cent with their signs kept. Medians over the draws, with the middle half of the draws as bands.
# :::
#
# Two lessons. At the largest depth the path-metric is, in the median, {glue:text}`depth-gain` times smaller than the norm bound. It is still {glue:text}`depth-loose` times the largest change over 200 random inputs: path values of both signs cancel in the output, and not in the metric.

# %% [markdown]
# The same study runs at any size. Where weights only shrink, two passes give the path-metric at every depth, in logarithms where it leaves the range of a double. {numref}`fig-deep` is drawn from a recorded run.

# %%
deep_record = read(EXPERIMENTS["depth"])
over_gap = deep_record["log_metric"] - deep_record["log_gap"]
over_metric = deep_record["log_norm_bound"] - deep_record["log_metric"]


def in_order_when_deep(factor):
    below, above = (over_gap >= 0).all(), (over_metric >= np.log(factor)).all()
    middles = [np.median(ratio, axis=-1) for ratio in (over_gap, over_metric)]
    grow = all((middle[-1] > middle[0]).all() for middle in middles)
    return observed(
        bool(below and above and grow),
        f"below {below}, {factor} times above {above}, growing {grow}",
        n=over_gap.size,
        seed=deep_record.info["seed"],
    )


check(
    "pm-depth",
    in_order_when_deep,
    1,
    counterfeit=100,
    says="the norm bound is always a hundred times the path-metric",
    scope="to depth 64 and width 512, recorded",
)

# %% tags=["remove-output"]
fig, ax = plt.subplots()
deep_axes = deep_record.axes
palette = ("green", "blue", "purple", "red")
decades = np.median(over_gap, axis=-1) / np.log(10)  # (depths, widths)
assert all((np.diff(decades, axis=axis) > 0).all() for axis in (0, 1))
for line, width, color in zip(
    decades.T, deep_axes["width"], palette, strict=True
):
    ax.plot(
        deep_axes["depth"], line, color=COLORS[color], label=f"width {width}"
    )
ax.set_xscale("log", base=2)
ax.set_xticks(deep_axes["depth"], [str(d) for d in deep_axes["depth"]])
ax.set_xlabel("depth D")
ax.set_ylabel("decades above the observed change")
ax.annotate(deep_record.note, (0.02, 0.95), xycoords="axes fraction")
label_lines(ax)
figure("deep", fig)
caption("deep-stamp", deep_record.stamp)
glue("deep-decades", round(float(decades[-1, -1])))

# %% [markdown]
# :::{glue:figure} deep
# :name: fig-deep
# :alt: Decades by which the path-metric exceeds the observed change of the output, against depth from 2 to 64, for widths 8, 32, 128 and 512. Each line rises about in proportion to the depth, the wider networks higher.
#
# How many powers of ten the path-metric lies above the largest observed change; medians over 20 random networks. {glue:md}`deep-stamp`
# :::
#
# At depth 64 and width 512 the certificate exceeds what is observed by {glue:text}`deep-decades` powers of ten. For random networks of such size it certifies nothing of use: the number of paths grows like the width to the power of the depth, and nearly all of them cancel.

# %% [markdown]
# ## Which weights can go
#
# Pruning sets parameters to zero. {prf:ref}`pm-two-pass` says what it costs in path space, and {prf:ref}`pm-main` that the output moves by no more than this, times $\max(\|x\|_\infty,1)$. So we ask for the cost of one parameter, its *score*.
#
# An example shows what the magnitude of a weight gets wrong. In $R(x)=\bigl(v_1\operatorname{relu}(ux),\,v_2\operatorname{relu}(ux)\bigr)$ the weight $u$ carries everything. Rescale the neuron, and $u$ becomes the smallest weight: magnitude pruning removes it, and the function is 0.
#
# :::{prf:assumption} Once
# :label: pm-once
#
# No path uses a parameter twice.
# :::
#
# :::{prf:theorem} Three forms of one score
# :label: pm-phi-cost
#
# {status}`pm-phi-cost` Under {prf:ref}`pm-once`, for each parameter $\theta_i\ne0$,
#
# $$\underbrace{\|\Phi(\theta)-\Phi(\theta\text{ with }\theta_i=0)\|_1}_{\text{what it costs}}=\underbrace{\sum_{p\ni i}|\Phi_p(\theta)|}_{\text{what runs through it}}=\underbrace{\theta_i\,\partial_{\theta_i}\|\Phi(\theta)\|_1}_{\text{how to compute it}} .$$
# :::
#
# :::{prf:proof}
# Zeroing $\theta_i$ turns the paths through $i$ to 0 and leaves the others: first equality. Each $|\Phi_p|$ with $p\ni i$ is $|\theta_i|$ times something without $\theta_i$, so $\theta_i\,\partial_{\theta_i}|\Phi_p|=|\Phi_p|$: second equality.
# :::
#
# The last form is one forward and one backward pass for *all* scores at once. (Where $\theta_i=0$ the first two are 0, and so is the third if we read $\theta_i\,\partial_{\theta_i}|\theta_i|$ as 0.) The assumption holds for a weight shared inside a convolution, because a path crosses the layer once. It fails for a weight tied across layers: for $w\cdot w\cdot x$ the cost is $w^2$, and the third form is $2w^2$. So `lib.paths` refuses tied weights.

# %%
phi, uses = lifting(dag, symbols), paths.incidence(dag)
total = sum(phi)


def three_forms(factor):
    def forms(i):
        through = sum(phi[uses[:, i] == 1])
        yield through, total - total.subs(symbols[i], 0)
        yield through, factor(symbols[i]) * sp.diff(total, symbols[i])

    return identities(pair for i in range(len(symbols)) for pair in forms(i))


check(
    "pm-phi-cost",
    three_forms,
    lambda s: s,
    counterfeit=lambda s: 1,
    says="without the factor θ_i",
    scope="the example graph, symbolic parameters",
)


# %% [markdown]
# `path_magnitude` computes the third form. We compare it with the first: zero each weight and each bias of the convolutions and of the linear layer in turn, and compute the path-metric.

# %%
def zero_and_recompute(model, shape, name, index):
    other = copy.deepcopy(model)
    with torch.no_grad():
        dict(other.named_parameters())[name][index] = 0
    return path_metric(model, other, shape).value


def magnitude(model, shape):
    """The usual score, which needs no paths and no shape."""
    return {name: p.detach().abs() for name, p in model.named_parameters()}


# %%
def matches_recomputing(score):
    scores = score(apart, (1, 4, 4))
    entries = [
        (name, tuple(i.tolist()))
        for name, p in apart.named_parameters()
        if not name.startswith("1.")  # the batch normalisation
        for i in p.nonzero()
    ]
    pairs = [
        (float(scores[n][i]), zero_and_recompute(apart, (1, 4, 4), n, i))
        for n, i in entries
    ]
    largest = worst(abs(fast / slow - 1) for fast, slow in pairs)
    return measured(
        largest,
        0,
        atol=1e-10,
        n=len(pairs),
        seed=0,
        what="largest relative error",
    )


# %%
check(
    "pm-phi-cost",
    matches_recomputing,
    paths.path_magnitude,
    counterfeit=magnitude,
    says="the magnitude is the score",
    scope="path_magnitude in PyTorch",
)


# %% [markdown]
# Pruning the lowest scores, over the whole network, is *path-magnitude pruning*. The score inherits everything from the lifting. It looks at no data and no loss, and rescaling does not change it, as it changes magnitudes.
#
# :::{prf:proposition} Invariance
# :label: pm-cost-invariant
#
# {status}`pm-cost-invariant` Rescaling a hidden neuron by $\lambda>0$ changes no score.
# :::
#
# :::{prf:proof}
# The score is a sum of $|\Phi_p|$ over paths that do not depend on $\theta$, and {prf:ref}`pm-rescaling` keeps each $\Phi_p$.
# :::

# %%
def path_scores(params):
    return abs(lifting(dag, params)) @ uses


def unchanged(score):
    rng = random.Random(9)

    def holds(case):
        v, factor = rng.choice(dag.hidden), Fraction(rng.randint(2, 9), 10)
        other = exact.rescaled(dag, case[0], v, factor)
        return all(score(other) == score(case[0]))

    cases = exact.draws(dag, 100, seed=9)
    return certified(holds, cases, arithmetic="exact fractions", seed=9)


check(
    "pm-cost-invariant",
    unchanged,
    path_scores,
    counterfeit=lambda params: abs(np.array(params)),
    says="magnitudes do not change, either",
)


# %% [markdown]
# :::{prf:proposition} Conservation
# :label: pm-conservation
#
# {status}`pm-conservation` Under {prf:ref}`pm-free`, at a hidden neuron the scores of the incoming weights and of the bias add up to the scores of the outgoing weights.
# :::
#
# :::{prf:proof}
# Both sums are $\sum|\Phi_p|$ over the paths through the neuron: each enters it once (or starts at its bias) and leaves it once, and no other path uses these parameters.
# :::

# %%
def conserved(with_bias):
    cost = [s * sp.diff(total, s) for s in symbols]

    def flow(v):
        neuron = dag.neurons[v]
        entering = [e.parameter for e in neuron.edges]
        if with_bias and neuron.bias is not None:
            entering.append(neuron.bias)
        leaving = [
            e.parameter for n in dag.neurons for e in n.edges if e.source == v
        ]
        return sum(cost[i] for i in entering), sum(cost[i] for i in leaving)

    return identities(flow(v) for v in dag.hidden)


check(
    "pm-conservation",
    conserved,
    True,
    counterfeit=False,
    says="biases do not count",
    scope="the example graph, symbolic parameters",
)

# %% [markdown]
# :::{prf:proposition} Sets
# :label: pm-subadditive
#
# {status}`pm-subadditive` Zeroing a set of parameters changes the lifting by at most the sum of their scores.
# :::
#
# :::{prf:proof}
# The change is $\sum|\Phi_p|$ over the paths that meet the set. The sum of scores counts each such path as often as it meets the set, which is at least once.
# :::

# %%
small, _ = unroll(mlp(2, 2, 1), (2,))
values = lifting(small, exact.fractions(random.Random(7), len(small.names)))
size = np.array([abs(v) for v in values])
hits = paths.incidence(small)


def subsets(n):
    return (list(s) for k in range(1, n + 1) for s in combinations(range(n), k))


# %%
def at_most(compare):
    def holds(s):
        lost, costs = (
            size[hits[:, s].any(axis=1)].sum(),
            (size @ hits[:, s]).sum(),
        )
        return compare(lost, costs) and (len(s) > 1 or lost == costs)

    return exhaustive(holds, subsets(len(small.names)))


check(
    "pm-subadditive",
    at_most,
    lambda lost, costs: lost <= costs,
    counterfeit=lambda lost, costs: lost == costs,
    says="it equals the sum",
    scope="all sets of parameters of one 2-2-1 network",
)


# %% [markdown]
# Scores of single parameters are additive only as a bound, so pruning by ranking need not choose the best set. On graphs small enough to try *every* set, it comes close.
#
# :::{prf:observation} Ranking against the best choice
# :label: pm-ranking
#
# {status}`pm-ranking` On 200 random small graphs with normal parameters, remove four parameters. The share of the path-norm that the four lowest scores lose is on average at most 1.2 times the average share that the best sets of four lose. For the four smallest magnitudes it is more than twice that.
# :::

# %%
def losses(graph, rng, remove=4):
    """Share of the path-norm lost: by either ranking, and by the best set."""
    n = len(graph.names)
    sets = np.array(list(combinations(range(n), remove)))
    inside = (np.arange(n) == sets[:, :, None]).any(1)  # (sets, n)
    theta, hits = rng.standard_normal(n), paths.incidence(graph)
    phi = abs(lifting(graph, theta.tolist()))
    lost = ((hits @ inside.T) > 0).T @ phi / phi.sum()

    def of_lowest(scores):
        lowest = np.isin(np.arange(n), np.argsort(scores)[:remove])
        return lost[(inside == lowest).all(1)].item()

    return of_lowest(phi @ hits), of_lowest(abs(theta)), lost.min()


# %%
rng = np.random.default_rng(1)
seeded = (torch.Generator().manual_seed(seed) for seed in range(200))
by_score, by_magnitude, best_loss = np.array(
    [losses(random_dag(g), rng) for g in seeded]
).T


def close_to_best(chosen):
    excess = chosen.mean() / best_loss.mean() - 1
    return observed(
        excess < 0.2,
        f"loses {1 + excess:.1f} times as much as the best set",
        excess=excess,
        n=len(chosen),
        seed=1,
    )


check(
    "pm-ranking",
    close_to_best,
    by_score,
    counterfeit=by_magnitude,
    says="ranking by magnitude",
)

# %%
assert by_magnitude.mean() > 2 * best_loss.mean()
shares = {"score": by_score, "magnitude": by_magnitude, "best": best_loss}
for name, share in shares.items():
    glue(f"ranking-{name}", f"{share.mean():.1%}")
glue("ranking-hits", int(np.isclose(by_score, best_loss).sum()))

# %% [markdown]
# The best set loses {glue:text}`ranking-best` of the path-norm, the ranking {glue:text}`ranking-score`, magnitude {glue:text}`ranking-magnitude`. In {glue:text}`ranking-hits` of the 200 graphs the ranking finds a best set.
#
# :::{prf:proposition} One-shot SynFlow
# :label: pm-synflow
#
# {status}`pm-synflow` SynFlow {cite:p}`tanaka2020synflow` scores a weight by $\theta_i\,\partial_{\theta_i}$ of the sum of the outputs of the network $|\theta|$ on the all-ones input. Under {prf:ref}`pm-once`, and without max-pooling, batch normalisation and negative fixed weights, its first round is exactly the path score.
# :::
#
# :::{prf:proof}
# By {prf:ref}`pm-one-pass` that sum is $\|\Phi(\theta)\|_1$; the rest is {prf:ref}`pm-phi-cost`. (A fixed weight $-1$, as in a difference of two layers, would stay negative in $|\theta|$.)
# :::

# %%
conv_net = normal(
    nn.Sequential(
        nn.Conv2d(1, 3, 2),
        nn.ReLU(),
        nn.Conv2d(3, 3, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12, 2),
    ),
    seed=8,
)


# %%
def equals_path_score(net):
    ours = paths.path_magnitude(net, (1, 4, 4))
    theirs = paths.synflow(net, (1, 4, 4))
    largest = worst(float((theirs[k] / ours[k] - 1).abs().max()) for k in ours)
    n = sum(p.numel() for p in net.parameters())
    what = "largest relative difference"
    return measured(largest, 0, atol=1e-12, n=n, seed=8, what=what)


check(
    "pm-synflow",
    equals_path_score,
    conv_net,
    counterfeit=normal(pooled_network(), seed=8),
    says="with max-pooling, too",
)


# %% [markdown]
# So path-magnitude pruning adds a meaning to a known score: a certificate for the outputs, and a rule for pooling and normalisation. On the two small networks of this chapter the certificate is much better than that of pruning by magnitude.
#
# :::{prf:observation} The certificate of a mask
# :label: pm-certificate
#
# {status}`pm-certificate` Prune 40 % of the weights of the 3-4-3-2 network, and of the network with batch normalisation. By path-magnitude the path-metric to the pruned network is less than a quarter of the path-norm; by magnitude it is more.
# :::

# %%
def cheap_mask(score, model, shape):
    pruned = paths.score_prune(model, score(model, shape), 0.4)
    share = path_metric(model, pruned, shape).value / path_norm(model, shape)
    what = "share of the path-norm"
    return measured(share, 0, atol=0.25, n=1, seed=0, what=what)


def cheap_masks(score):
    nets = ((reference, (3,)), (apart, (1, 4, 4)))
    return each(*(lambda net=net: cheap_mask(score, *net) for net in nets))


check(
    "pm-certificate",
    cheap_masks,
    paths.path_magnitude,
    counterfeit=magnitude,
    says="pruning by magnitude does as well",
)

# %% [markdown]
# ## An experiment
#
# We repeat the authors' experiment, small. A residual network with batch normalisation learns scikit-learn's 8×8 digits. We prune once, by three criteria: path-magnitude, magnitude, and magnitude after each channel inside a residual block has been rescaled by a random factor from $\{1,128,4096\}$, which changes no output. (We multiply the scale and shift of the batch normalisation and divide the second convolution; the authors multiply the first convolution.) Then we rewind to an early epoch and finish the training with the mask held. All seeds, criteria and sparsities train at once, as the groups of one grouped network.

# %%
config = PruningConfig.small()
result = pruning_experiment(config)
accuracy = 100 * result.accuracy.mean(-1)
for name, row in zip(result.criteria, accuracy, strict=True):
    print(f"{name:20}", *(f"{value:6.1f}" for value in row))


# %% [markdown]
# :::{prf:observation} The mask survives rescaling
# :label: pm-mask
#
# {status}`pm-mask` After the rescaling by powers of two the path scores give the same mask, bit by bit, for every seed and sparsity. The magnitude mask changes.
# :::

# %%
def same_masks(criterion):
    shares = result.overlap[("path-magnitude", "magnitude").index(criterion)]
    return observed(
        bool((shares == 1).all()),
        f"only {shares.min():.0%} of the pruned weights stay",
        n=shares.numel(),
        seed=config.seed,
    )


check(
    "pm-mask",
    same_masks,
    "path-magnitude",
    counterfeit="magnitude",
    says="the magnitude mask survives, too",
)
assert (result.overlap[1] < 1).all()  # it changes for every seed and sparsity


# %% [markdown]
# :::{prf:observation} Pruning a small residual network
# :label: pm-accuracy
#
# {status}`pm-accuracy` On 8×8 digits, with this short schedule, path-magnitude ends within two points of magnitude at every sparsity up to 60 %, on average over the seeds. With the full schedule below it is within five points right after pruning 30 %. Magnitude after a rescaling is neither.
# :::

# %%
def keeps_up(criterion):
    """Within two points of magnitude, on average, at each sparsity up to 60 %."""
    moderate = torch.tensor(result.sparsities) <= 0.6
    behind = (accuracy[1] - accuracy[result.criteria.index(criterion)])[
        moderate
    ]
    return observed(
        bool((behind <= 2).all()),
        f"{float(behind.max()):.1f} points behind",
        n=config.seeds * int(moderate.sum()),
        seed=config.seed,
    )


# %%
check(
    "pm-accuracy",
    keeps_up,
    "path-magnitude",
    counterfeit="magnitude, rescaled",
    says="magnitude after a rescaling keeps up, too",
)
glue("pruning-seeds", config.seeds)
glue("pruning-dense", f"{result.dense.mean():.1%}")
for name, share in zip(
    ("path", "magnitude", "rescaled"),
    result.one_shot[:, 2].mean(-1),
    strict=True,
):
    glue(f"pruning-40-{name}", f"{share:.0%}")
glue("pruning-lost", round(float(accuracy[1, -1] - accuracy[2, -1]), 1))
at_once = result.one_shot.mean(-1)  # at 40 per cent, then at 80
assert at_once[2, 2] < 0.5 < at_once[0, 2] < at_once[1, 2]
assert at_once[:, -1].max() < 0.25
assert (accuracy[2, 3:] < accuracy[:2, 3:]).all()


# %% tags=["remove-output"]
def two_panels(sparsities, criteria, *shares):
    """Accuracy right after pruning and after finishing: (criteria, …, seeds)."""
    fig, panels = plt.subplots(2, 1, figsize=(6.4, 6.4), sharex=True)
    levels, colors = 100 * np.array(sparsities), ("blue", "green", "red")
    for ax, share in zip(panels, shares, strict=True):
        for name, color, runs in zip(criteria, colors, share, strict=True):
            band(ax, levels, 100 * runs.T, color=COLORS[color], label=name)
        label_lines(ax)
    panels[0].set_ylabel("right after pruning (%)")
    panels[1].set_ylabel("after finishing (%)")
    panels[1].set_xlabel("weights pruned (%)")
    return fig


fig = two_panels(
    result.sparsities, result.criteria, result.one_shot, result.accuracy
)
figure("pruning", fig)

# %% [markdown]
# :::{glue:figure} pruning
# :name: fig-pruning
# :alt: Two panels, test accuracy against the share of weights pruned, from 10 to 80 per cent, for three criteria. Right after pruning, magnitude on the rescaled network has collapsed at 40 per cent, where path-magnitude has dropped visibly and magnitude a little; at 80 all three are near chance. After finishing, path-magnitude and magnitude stay level, and magnitude on the rescaled network lies below both at 60 and 80.
#
# Accuracy right after pruning, and after rewinding and finishing. Lines are means over {glue:text}`pruning-seeds` seeds, bands run from the lowest to the highest; the dense networks reach {glue:text}`pruning-dense`. For path-magnitude the rescaled network gives the same curve, since it gives the same masks.
# :::
#
# Right after pruning 40 %, the accuracy is {glue:text}`pruning-40-magnitude` by magnitude, {glue:text}`pruning-40-path` by path-magnitude, and {glue:text}`pruning-40-rescaled` by magnitude on the rescaled network. Two things to note. Rescaling, which changes no output, decides what magnitude removes. And path-magnitude, which has the better certificate, need not have the better accuracy: the path-metric is a guarantee, not a predictor.
#
# ### The full schedule
#
# With the full schedule of the authors' code, 90 epochs and back to the fifth, the digits forgive almost everything: after finishing, even magnitude on the rescaled network is within two points of magnitude, on average. {numref}`fig-full` is drawn from a recorded run. What pruning has removed still shows right after it.

# %%
full = read(EXPERIMENTS["pruning-digits"])
right_after, at_end = full["one_shot"], full["history"][..., -1]
third = full.axes["sparsity"].index(0.3)


def keeps_up_when_full(criterion):
    k = full.axes["criterion"].index(criterion)
    behind = (right_after[1] - right_after[k])[third].mean()
    return observed(
        bool(behind < 0.05),
        f"{100 * behind:.0f} points behind right after pruning 30 %",
        n=right_after.shape[-1],
        seed=full.info["seed"],
    )


check(
    "pm-accuracy",
    keeps_up_when_full,
    "path-magnitude",
    counterfeit="magnitude, rescaled",
    says="magnitude after a rescaling keeps up, too",
    scope="right after pruning 30 %, full schedule, recorded",
)

# %% tags=["remove-output"]
fig = two_panels(
    full.axes["sparsity"], full.axes["criterion"], right_after, at_end
)
fig.axes[0].annotate(full.note, (0.02, 0.05), xycoords="axes fraction")
figure("full", fig)
caption("full-stamp", full.stamp)

pair = [full.axes["sparsity"].index(share) for share in (0.4, 0.8)]
ends = 100 * at_end.mean(-1)[:, pair]
for name, row in zip(("path", "magnitude", "rescaled"), ends, strict=True):
    glue(f"full-{name}", f"{row[0]:.1f}, {row[1]:.1f}")
glue("full-dense", round(100 * float(full["dense"].mean()), 1))
glue("full-weights", f"{int(full['weights']):,}")
glue("full-seeds", full["dense"].size)
glue("full-lost", round(float(ends[1, 1] - ends[2, 1]), 1))
assert (at_end[1] - at_end[2]).mean(-1).max() < 0.02
finished, left = at_end.mean(-1), right_after.mean(-1)
assert (finished[2, third:] < finished[:2, third:]).all()
assert np.ptp(finished, axis=0).max() < 0.03
assert left[2, third] < 1 / 3 and left[:2, third + 1].min() > 0.9
tested = full["dense"].size * full.info["config"]["test"]
glue("full-tested", f"{tested:,}")
glue("full-apart", abs(round(float(ends[0, 1] - ends[2, 1]) / 100 * tested)))

# %% [markdown]
# :::{glue:figure} full
# :name: fig-full
# :alt: Two panels like those of the figure before, for the full schedule. Right after pruning, magnitude on the rescaled network falls below a third at 30 per cent, while path-magnitude and magnitude hold until 40. After finishing all three stay within a few points of each other, magnitude on the rescaled network lowest from 30 per cent on, at 80 level with path-magnitude.
#
# The experiment of {numref}`fig-pruning` with 90 epochs and five seeds. {glue:md}`full-stamp`
# :::
#
# ### What the certificate says of these networks
#
# {prf:ref}`pm-main` holds for trained networks, too. Is its bound of use? We change the trained networks in three ways, each at several levels, and compare the bound with the largest change over the test images: for one network of the small experiment, and for five of the full schedule.
#
# :::{prf:observation} The certificate of a trained network
# :label: pm-trained
#
# {status}`pm-trained` Prune residual networks trained on the digits by path-magnitude or by magnitude, or truncate their weights. Over the test images the output moves less than {prf:ref}`pm-main` allows, by a factor of more than $10^4$ every time.
# :::

# %%
images_here = experiments.setting(config, "cpu").images
trained = experiments.network(images_here, config, torch.Generator(), copies=1)
trained.load_state_dict(result.trained[0])
live = output_change_study(
    trained,
    images_here.test_x,
    sparsities=(0.1, 0.4, 0.8),
    steps=(2**-9, 2**-6, 2**-3),
)
change_record = read(EXPERIMENTS["output-change"])
looseness_live = torch.stack([c.certified / c.observed for c in live.values()])
looseness_full = change_record["certified"] / change_record["observed"]


# %%
def far_below(case):
    factor, ratios, seed = case
    smallest = float(ratios.min())
    return observed(
        smallest > factor,
        f"one certificate is {smallest:.2g} times what is observed",
        n=ratios.size,
        seed=seed,
    )


# %%
for ratios, seed, scope in (
    (
        looseness_live.numpy(),
        config.seed,
        "one network of the small experiment",
    ),
    (
        looseness_full,
        change_record.info["seed"],
        "five networks of the full schedule, recorded",
    ),
):
    check(
        "pm-trained",
        far_below,
        (1e4, ratios, seed),
        counterfeit=(1e5, ratios, seed),
        says="a factor of more than 100 000 every time",
        scope=scope,
    )

# %% tags=["remove-output"]
fig, ax = plt.subplots()
ways = dict(zip(live, ("blue", "green", "red"), strict=True))
for k, (way, color) in enumerate(ways.items()):
    moved, allowed = (
        np.median(change_record[name][:, k], axis=0)
        for name in ("observed", "certified")
    )
    ax.loglog(moved, allowed, "-o", color=COLORS[color])
    ax.loglog(66, allowed[-1], lw=0, color=COLORS[color], label=way)
    style = {"color": COLORS[color], "markerfacecolor": "none", "ms": 9}
    ax.loglog(live[way].observed, live[way].certified, "o", **style)
ends = np.array([1, 65])
ax.loglog(ends, ends, "--", color=COLORS["grey"], label="no slack")
ax.set(xlim=(1, 70), ylim=(0.5, 1e8))
ax.set_xlabel("largest observed change of the output (ℓ¹)")
ax.set_ylabel("certified change (ℓ¹)")
ax.annotate(change_record.note, (0.02, 0.5), xycoords="axes fraction")
label_lines(ax)
figure("trained", fig)
caption("trained-stamp", change_record.stamp)

decades = np.log10(looseness_full)
assert decades.min() > 4 and decades.max() < 6
for name, end in (
    ("low", looseness_full.min()),
    ("high", looseness_full.max()),
):
    glue(f"trained-{name}", scientific(float(end)))
levels_ = np.median(change_record["certified"][:, :2], axis=0)
moves_ = np.median(change_record["observed"][:, :2, 0], axis=0)
assert (levels_[0] < levels_[1]).all() and moves_[0] > moves_[1]

# %% [markdown]
# :::{glue:figure} trained
# :name: fig-trained
# :alt: Certified change against the largest observed change of the output, both axes logarithmic. Three rising lines, for pruning by path-magnitude, by magnitude and for truncation, lie close together, about five powers of ten above a dashed diagonal on which both would be equal. Open circles of another network lie beside the lines.
#
# What the path-metric allows, and what happens, for networks trained on the digits. Dots are medians over five networks of the full schedule, at shares pruned from 10 to 80 %, or steps of truncation from $2^{-10}$ to $2^{-3}$; open circles are one network of the small experiment above. {glue:md}`trained-stamp`
# :::
#
# The recorded certificates are {glue:text}`trained-low` to {glue:text}`trained-high` times what is observed, at every level and for every way: for these networks a certificate holds and tells nothing of use. Nor does the order of the certificates give the order of the changes. At 10 % pruned path-magnitude has the smaller certificate, and magnitude the smaller change.
#
# ### The authors' experiment and ours
#
# The authors ran the experiment at full size. {numref}`table-imagenet` shows the numbers of their public rerun, not ours {status}`pm-imagenet`.
#
# :::{table} Top-1 accuracy of ResNet-18 on ImageNet after pruning, in per cent. *The authors' numbers* (public repository, one seed; the dense network has 68.7).
# :name: table-imagenet
#
# | pruned | 10 % | 20 % | 40 % | 60 % | 80 % |
# |---|---|---|---|---|---|
# | path-magnitude | 68.7 | 68.7 | 68.9 | 68.4 | 64.9 |
# | magnitude | 69.1 | 69.4 | 69.2 | 68.6 | 67.3 |
# | magnitude, rescaled | 68.8 | 68.2 | 62.4 | 59.1 | 0.1 |
# :::
#
# :::{table} The authors' experiment and our full schedule: accuracy in per cent after finishing; ours are means over the seeds.
# :name: table-differences
#
# | what | the authors | ours |
# |---|---|---|
# | images | ImageNet | 8×8 digits |
# | network | ResNet-18 | small residual network, {glue:text}`full-weights` weights to prune |
# | schedule | 90 epochs, back to the fifth | the same |
# | seeds | one | {glue:text}`full-seeds` |
# | dense | 68.7 | {glue:text}`full-dense` |
# | path-magnitude, 40 % and 80 % pruned | 68.9, 64.9 | {glue:text}`full-path` |
# | magnitude, 40 % and 80 % | 69.2, 67.3 | {glue:text}`full-magnitude` |
# | magnitude, rescaled, 40 % and 80 % | 62.4, 0.1 | {glue:text}`full-rescaled` |
# :::
#
# At 80 % our small experiment loses {glue:text}`pruning-lost` points to the rescaling, and our full schedule {glue:text}`full-lost`: the digits are so easy that training mends nearly any mask. At the authors' scale the loss is total. In our full schedule path-magnitude and magnitude on the rescaled network end level at 80 %: their numbers of right answers, of {glue:text}`full-tested`, differ by {glue:text}`full-apart`. At the authors' scale path-magnitude stays within 0.8 points of magnitude up to 60 %, and trails by 2.4 points at 80 %. A row *path-magnitude, rescaled* would repeat the first one, up to the randomness of training.
#
# The authors also time the scores on a GPU {status}`pm-runtime` and compare criteria in a table {status}`pm-criteria`. Version 1 of the second paper announces a generalization theorem by path-metrics {status}`pm-generalization-metric`; we have not read it.
#
# ## Key points
#
# - A ReLU network is linear in its path-lifting $\Phi(\theta)$; the activations are 0 or 1.
# - $\Phi$ forgets rescalings: with free parameters one number per hidden neuron, and near a point without zeros nothing else.
# - $\|\Phi\|_q$ is one forward pass of a changed network. It belongs to a graph: fix the graph before comparing.
# - With equal signs, the path-metric bounds the change of every output at every input. Without, it can be 0 while the output moves.
# - With equal signs, two passes compute it when $|\theta'|\le|\theta|$ in every entry, and three passes bound it otherwise.
# - The score $\theta_i\,\partial_{\theta_i}\|\Phi\|_1$ is what runs through a parameter, what it costs and, where {prf:ref}`pm-synflow` applies, SynFlow's first round.
#
# ## What was not checked
#
# - The generalization theorem, its margin version and its table of earlier bounds: we recompute constants only.
# - By machine: the inductions on the graph, here and for the rank of the Jacobian. The machine checked the lemma for one neuron over all reals (for pooling, in small windows), the theorems on exact random draws, and the main theorem for short chains.
# - Everything that needs ImageNet. The experiment here is small, and its error bars are wide.
# - Certificates hold in real arithmetic. We compute them in floating point, without directed rounding.
#
# ## Exercises
#
# :::{exercise} Count the paths
# :label: ex-count
#
# How many paths has a 3-4-3-2 network with biases? Count by hand, layer by layer, and confirm with `path_norm` at $q=0$. Near a point without zeros, in how many directions can the lifting move? Confirm with `paths.incidence`, the matrix $Z$ of {prf:ref}`pm-jacobian`; `unroll(reference, (3,))` gives the graph of the network.
# :::
#
# :::{solution-start} ex-count
# :class: dropdown
# :::
#
# There are $3\cdot4\cdot3\cdot2$ paths from inputs, and $4\cdot3\cdot2+3\cdot2+2$ that start at a bias. There are $16+15+8$ parameters and $4+3$ hidden neurons, so the 104 path values move in 32 directions.

# %%
by_hand = 3 * 4 * 3 * 2 + 4 * 3 * 2 + 3 * 2 + 2
assert path_norm(reference, (3,), q=0) == by_hand
rank = np.linalg.matrix_rank(paths.incidence(unroll(reference, (3,))[0]))
assert rank == (16 + 15 + 8) - (4 + 3)
print(by_hand, "paths,", rank, "directions")


# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} A norm that can be fooled
# :label: ex-fooled
#
# The $\ell^2$ norm of the parameters is not invariant. Rescale the first hidden neurons of the 3-4-3-2 network `reference` by $\lambda$ with `paths.rescale(reference, {"0": factors})`, where `"0"` is the name of their layer and `factors` a tensor of four numbers. Show that $\|\theta\|_2$ can be made as large as you like while `path_norm` does not move.
# :::
#
# :::{solution-start} ex-fooled
# :class: dropdown
# :::
#
# The part of $\|\theta\|_2$ in the first layer is multiplied by $\lambda$, and the path values do not change.

# %%
def parameter_norm(model):
    return float(
        torch.cat([p.detach().flatten() for p in model.parameters()]).norm()
    )


for factor in (1, 16, 256):
    other = paths.rescale(reference, {"0": torch.full((4,), float(factor))})
    print(
        f"λ = {factor:3}: ‖θ‖₂ = {parameter_norm(other):7.1f}, path-norm {path_norm(other, (3,)):.6f}"
    )
    assert np.isclose(
        path_norm(other, (3,)), path_norm(reference, (3,)), rtol=1e-12
    )
    assert torch.allclose(other(cube), reference(cube), rtol=0, atol=1e-12)


# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Change the pooling
# :label: ex-pooling
#
# {prf:ref}`pm-one-pass` sums over pooling windows. Suppose that the pass takes the maximum at every pooling neuron, whatever its $k$, and call its result $N_{\max}(\theta)\le\|\Phi(\theta)\|_1$. (a) Show that $N_{\max}$ still bounds the change with the *input*, as in {prf:ref}`pm-input-lipschitz`, and so is the sharper bound. (b) Show that it is worthless for the change with the *parameters*: find $\theta\ge\theta'\ge0$, to which {prf:ref}`pm-two-pass` applies, with $N_{\max}(\theta)-N_{\max}(\theta')=0$ though the output moves.
# :::
#
# :::{solution-start} ex-pooling
# :class: dropdown
# :::
#
# (a) A maximum moves at most as far as the argument that moves most: $|\max_j u_j-\max_j u'_j|\le\max_j|u_j-u'_j|$, and the same holds for the $k$-th largest. Go through the neurons in order: if each antecedent $u$ of $v$ moves by at most $N_u\|x-x'\|_\infty$, then $v$ moves by at most $\sum_u|\theta^{u\to v}|N_u$ or, at a pooling neuron, $\max_u|\theta^{u\to v}|N_u$, times $\|x-x'\|_\infty$. This is the pass with the maximum taken, except that the pass also adds the $|b_v|$, which only helps. Sum over the outputs.
#
# (b) Take $R_\theta(x)=\max(\theta_1x_1,\theta_2x_2)$ and prune $\theta_2$. The largest weight stays, but at $x=(0,1)$ the output falls from 1 to 0. The sum over the window sees what is lost.

# %%
def pooled_output(theta, x):
    return max(w * v for w, v in zip(theta, x, strict=True))


full, pruned, x_ = (1, 1), (1, 0), (0, 1)
difference_of_passes = max(map(abs, full)) - max(map(abs, pruned))
change = abs(pooled_output(full, x_) - pooled_output(pruned, x_))
assert difference_of_passes == 0 and change == 1
print("certified:", difference_of_passes, " true:", change)

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Signs over the reals
# :label: ex-smt
#
# For the chain 1-1-1 without biases, ask Z3 which of the two weights must keep its sign for the main theorem to hold: `decide(claim, assumptions)` from `lib.smt` proves a SymPy relation over all reals or raises `Refuted` (from `lib.claims`) with a witness. Read the witness that it gives when neither weight must, and evaluate both sides by hand.
# :::
#
# :::{solution-start} ex-smt
# :class: dropdown
# :::
#
# Without biases we may ask for the sharper form, with $|z|$ for $\max(|z|,1)$. Either sign suffices. If $uu'\ge0$, both ReLUs are open at the same $z$ (a weight 0 makes the output 0 either way), and there the outputs are the path values times $z$. If $vv'\ge0$ and only one ReLU is open, say the first, then $uvz$ and $u'v'z$ have no equal signs, so $|uvz|\le|uvz-u'v'z|$.

# %%
from lib.claims import Refuted
from lib.smt import decide

u, v, u_, v_, z = sp.symbols("u v u' v' z", real=True)
gap = sp.Abs(v * relu(u * z) - v_ * relu(u_ * z))
theorem = sp.Le(gap, sp.Abs(z) * sp.Abs(u * v - u_ * v_))

print("u keeps its sign:", decide(theorem, [u * u_ >= 0]).kind)
print("v keeps its sign:", decide(theorem, [v * v_ >= 0]).kind)
try:
    decide(theorem)
except Refuted as witness:
    print("neither:", witness)


# %% [markdown]
# At $u=v=z=1$ and $u'=v'=-1$ the left side is $|1\cdot\operatorname{relu}(1)-(-1)\operatorname{relu}(-1)|=1$ and the right side $|1|\cdot|1-1|=0$.
#
# :::{solution-end}
# :::
#
# :::{exercise} When signs change
# :label: ex-signs
#
# Show that three path-norms bound the change of the output for *every* pair. Let $m$ be as in {prf:ref}`pm-three-pass` where the signs agree, and $m_i=0$ where they do not; then
#
# $$\|R_\theta(x)-R_{\theta'}(x)\|_1\le\max(\|x\|_\infty,1)\,\bigl(\|\Phi(\theta)\|_1+\|\Phi(\theta')\|_1-2\,\|\Phi(m)\|_1\bigr) .$$
#
# What does it say of the pair in {prf:ref}`pm-sign-needed`? Try it on random pairs.
# :::
#
# :::{solution-start} ex-signs
# :class: dropdown
# :::
#
# Go from $\theta$ to $m$ and from $m$ to $\theta'$. On either leg no signs are opposite and $m$ is the smaller one, so {prf:ref}`pm-main` and {prf:ref}`pm-two-pass` apply, and the triangle inequality adds the legs. For the pair in question $m=0$: the bound is $2\max(|x|,1)$, for a change of $|x|$.

# %%
def bounded(case):
    graph, theta, theta_, x = case
    both = zip(theta, theta_, strict=True)
    m = [min(v, w, key=abs) if v * w > 0 else 0 for v, w in both]
    a, b, c = (exact.norm(graph, p) for p in (theta, theta_, m))
    return exact.change(*case) <= max(1, *map(abs, x)) * (a + b - 2 * c)


flips = exact.pairs([dag, chain], 300, seed=11, same_signs=False)
assert all(map(bounded, flips))

# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} The cost of a neuron
# :label: ex-neuron
#
# By conservation, the cost of removing a hidden neuron can be read off its incoming or its outgoing scores. Compute it both ways for each neuron of the first hidden layer of a 3-4-3-2 network, and confirm by zeroing the outgoing weights.
# :::
#
# :::{solution-start} ex-neuron
# :class: dropdown
# :::
#
# A path through the neuron uses just one of its outgoing weights, so the cost of these as a set equals the sum of their scores.

# %%
scores = paths.path_magnitude(reference, (3,))
for j in range(4):
    entering = scores["0.weight"][j].sum() + scores["0.bias"][j]
    leaving = scores["2.weight"][:, j].sum()
    other = copy.deepcopy(reference)
    with torch.no_grad():
        other[2].weight[:, j] = 0
    lost = path_metric(reference, other, (3,)).value
    print(f"neuron {j}: {entering:.6f} = {leaving:.6f} = {lost:.6f}")
    assert np.allclose([entering, leaving], lost, rtol=1e-12)


# %% [markdown]
# :::{solution-end}
# :::
#
# :::{exercise} Rounding, certified
# :label: ex-rounding
#
# Round the 3-4-3-2 network to multiples of $\tfrac14$. Which certificate does `path_metric` choose? How many bits does rounding need to reach the certificate of truncation with 4 bits? Do you expect the answer to depend on the network?
# :::
#
# :::{solution-start} ex-rounding
# :class: dropdown
# :::

# %%
def certificate(bit, mode):
    return path_metric(
        reference, paths.quantize(reference, 2.0**-bit, mode=mode), (3,)
    )


chosen = certificate(2, "round")
print(chosen)
assert not chosen.exact
assert np.isclose(chosen.value, float(exact_norms("round")[2]), rtol=1e-12)
target = certificate(4, "truncate").value
enough = next(bit for bit in bits if certificate(bit, "round").value <= target)
print(f"truncation with 4 bits: {target:.3f}; rounding needs {enough} bits")
assert enough == 3

# %% [markdown]
# Three bits of rounding do better than four of truncation. One bit is expected, since truncation may move a weight twice as far. But the three-pass bound is not exact, and how loose it is depends on the network.
#
# :::{solution-end}
# :::
#
# :::{exercise} Prune a network of your own
# :label: ex-prune
#
# Build a convolutional network with max-pooling, prune 40 % of its weights by path-magnitude with `paths.score_prune`, which sets masks of `torch.nn.utils.prune`, and certify the change of its output with `path_metric`. Compare with pruning by magnitude.
# :::
#
# :::{solution-start} ex-prune
# :class: dropdown
# :::

# %%
own, allowed = normal(pooled_network(), seed=9), []
for name, score in (("path", paths.path_magnitude), ("magnitude", magnitude)):
    pruned_net = paths.score_prune(own, score(own, (1, 4, 4)), 0.4)
    bound = path_metric(own, pruned_net, (1, 4, 4))
    print(
        f"{name:9}: output moves by at most {bound.value:.2f} max(‖x‖, 1), exact: {bound.exact}"
    )
    allowed.append(bound.value)
assert 0.9 * allowed[1] < allowed[0] < allowed[1]

# %% [markdown]
# Path-magnitude has the smaller bound, but here by less than a tenth: how much it gains depends on the network.
#
# :::{solution-end}
# :::
#
# ## Bibliography
#
# :::{bibliography}
# :filter: docname in docnames
# :::
#
# **To cite this chapter**, cite the papers, and the book as in its {doc}`front page <index>`.
