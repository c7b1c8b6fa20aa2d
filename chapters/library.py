# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# (library)=
# # The library
#
# The chapters compute with a package named `lib`, and your programs can. This page lists its public names, with their signatures and descriptions as the source has them.
#
# - [`lib.ntk`](#library-ntk): the kernels of infinitely wide networks, and what they say about training.
# - [`lib.paths`](#library-paths): the path-norm, the path-magnitude and the path-metric of PyTorch models.
# - [`lib.maxpool`](#library-maxpool) and [`lib.teachers`](#library-teachers): the networks of the chapters {doc}`max-pooling` and {doc}`linear-teachers`.
# - [`lib.proof`](#library-proof), [`lib.smt`](#library-smt) and [`lib.claims`](#library-claims): derivations, proofs over all real values, and checks that could have failed.
# - [`lib.runs`](#library-runs): experiments and their records.
#
# In a clone of the repository, `pip install .` installs the package. Everything else in `lib` serves these parts and the chapters.
#
# ## An example
#
# How well do infinitely wide networks of three layers read handwritten digits? With their kernel, `mean_predictor` gives the mean output of such networks after training, without training one.

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

# %%
import torch
from sklearn.datasets import load_digits

from lib.ntk import fcn_kernel, fcn_kernels, mean_predictor, phase

images, digits = (torch.tensor(a) for a in load_digits(return_X_y=True))
x, labels = images[:1000] / 16, digits[:1000]
y = torch.nn.functional.one_hot(labels).double() - 0.1
train, test = slice(0, 500), slice(500, 1000)

network = {"sigma_w2": 3.0, "sigma_b2": 0.1, "activation": "erf"}
kernel = fcn_kernel(x[train], depth=3, **network).ntk
cross = fcn_kernel(x[test], x[train], depth=3, **network).ntk
outputs = mean_predictor(cross, kernel, y[train])
right = (outputs.argmax(1) == labels[test]).double().mean()
print(f"{right:.1%} of {len(outputs)} test images are read rightly")

# %% [markdown]
# And deeper ones? `phase` says over how many layers the correlation of any two inputs approaches one and the same value. A network that is several times deeper has little left of its inputs.

# %%
here = phase(**network)
lines = [f"{here.name}: correlations converge over {here.xi_c:.1f} layers"]
for depth, (_, ntk) in fcn_kernels(x, depths=(3, 10, 30), **network):
    outputs = mean_predictor(ntk[test, train], ntk[train, train], y[train])
    right = (outputs.argmax(1) == labels[test]).double().mean()
    lines.append(f"depth {depth}: {right:.1%} are read rightly")
print(*lines, sep="\n")

# %% [markdown]
# (library-ntk)=
# ## `lib.ntk`: infinitely wide networks
#
# ```{eval-rst}
# .. automodule:: lib.ntk
#    :members:
#    :imported-members:
# ```
#
# (library-paths)=
# ## `lib.paths`: paths of ReLU networks
#
# ```{eval-rst}
# .. automodule:: lib.paths
#    :members:
#    :imported-members:
# ```
#
# (library-maxpool)=
# ## `lib.maxpool`: max-pooling networks
#
# ```{eval-rst}
# .. automodule:: lib.maxpool
#    :members:
#    :imported-members:
# ```
#
# (library-teachers)=
# ## `lib.teachers`: leaky-ReLU networks
#
# ```{eval-rst}
# .. automodule:: lib.teachers
#    :members:
#    :imported-members:
# ```
#
# (library-proof)=
# ## `lib.proof`: derivations
#
# ```{eval-rst}
# .. automodule:: lib.proof
#    :members:
#    :imported-members:
# ```
#
# (library-smt)=
# ## `lib.smt`: all real values
#
# ```{eval-rst}
# .. automodule:: lib.smt
#    :members:
#    :imported-members:
# ```
#
# (library-claims)=
# ## `lib.claims`: checks
#
# ```{eval-rst}
# .. autofunction:: lib.claims.check
#
# .. autofunction:: lib.claims.exhaustive
#
# .. autofunction:: lib.claims.certified
#
# .. autofunction:: lib.claims.measured
#
# .. autofunction:: lib.claims.observed
#
# .. autofunction:: lib.claims.together
#
# .. autofunction:: lib.claims.each
#
# .. autofunction:: lib.claims.worst
#
# .. autoclass:: lib.claims.Evidence
#    :members:
#
# .. autoexception:: lib.claims.Refuted
#
# .. autoexception:: lib.claims.CounterfeitAccepted
# ```
#
# (library-runs)=
# ## `lib.runs`: recorded experiments
#
# ```{eval-rst}
# .. autofunction:: lib.runs.records.read
#
# .. autoclass:: lib.runs.records.Record
#    :members:
#
# .. autoclass:: lib.runs.experiment.Experiment
#    :members:
#
# .. autoclass:: lib.runs.experiment.Scale
#    :members:
#
# .. autoexception:: lib.runs.errors.MissingRecord
#
# .. autoexception:: lib.runs.errors.DamagedRecord
# ```
