"""From a PyTorch model to a program of meanings: the model is examined and left untouched."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.nn.utils import parametrize

from lib.paths import calls, checks, memory, vocabulary
from lib.paths.calls import N, X
from lib.paths.errors import UnsupportedModule
from lib.paths.vocabulary import MODULES, Meaning, Refusal


class Step(NamedTuple):
    """One line of a program: `name` = meaning(`inputs`)."""

    name: str
    where: str  # "layer1.0.conv1 (Conv2d)", for messages
    meaning: Meaning
    inputs: tuple[str, ...]
    module: nn.Module | None = None
    weight: Tensor | None = None  # the effective one: masked if pruned, γ/√(var+ε) for BatchNorm
    bias: Tensor | None = None  # the effective one: β − weight·mean for BatchNorm

    @property
    def kind(self) -> str:
        return self.meaning.kind

    def on_channels(self, v: Tensor, x: Tensor) -> Tensor:
        """The per-channel vector v, shaped to broadcast over x: last dimension after Linear."""
        return v if isinstance(self.module, nn.Linear) else vocabulary.on_channels(v, x)


class Program(NamedTuple):
    """A traced model: steps in order, the names of the outputs, one dtype and one device."""

    model: nn.Module
    steps: tuple[Step, ...]
    source: str  # name of the input
    outputs: tuple[str, ...]
    dtype: torch.dtype
    device: torch.device


def trace(model: nn.Module) -> Program:
    """Read a model as a program.

    Raises TypeError if it is no module, and UnsupportedModule for whatever lies outside the
    vocabulary, with the place and the remedy. The numbers are not looked at.
    """
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise TypeError(f"expected a torch.nn.Module (not scripted), got {type(model).__name__}")
    checks.refuse_hooks(model)
    dtype, device = checks.common_type(model)
    steps, source, outputs = structure(model)
    steps = tuple([with_weights(step) if step.kind == "affine" else step for step in steps])
    checks.refuse_ties(steps)
    return Program(model, steps, source, outputs, dtype, device)


Structure = tuple[tuple[Step, ...], str, tuple[str, ...]]  # steps, input, outputs: no weights yet
REMEMBERED: WeakKeyDictionary[nn.Module, tuple[Hashable, Structure]] = WeakKeyDictionary()


def structure(model: nn.Module) -> Structure:
    """The steps of the model, read anew unless it is certain that they are as they were."""
    now = memory.signature(model)
    then, known = REMEMBERED.get(model, (None, None))
    if now is not None and now == then:
        return known
    steps, source, outputs = read(*symbolic(model))
    checks.refuse_overwriting(steps, source, outputs)
    if now is not None and type(model) not in MODULES:  # a lone layer would keep itself alive
        REMEMBERED[model] = now, (steps, source, outputs)
    return steps, source, outputs


def with_weights(step: Step) -> Step:
    """The step with the weights its layer has now."""
    try:
        weight, bias = checks.effective(step.module)
    except Refusal as refusal:
        raise refusal.at(step.where) from None
    return step._replace(weight=weight, bias=bias)


# --- reading the graph ------------------------------------------------------------------------


class InPlaceProxy(fx.Proxy):
    """torch.fx turns `x += y` into `x + y`; keep the difference, for x may be used again."""

    def _apply(self, target: Callable, other) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", target, (self, other), {})

    def __iadd__(self, other):
        return self._apply(operator.iadd, other)

    def __isub__(self, other):
        return self._apply(operator.isub, other)

    def __imul__(self, other):
        return self._apply(operator.imul, other)

    def __itruediv__(self, other):
        return self._apply(operator.itruediv, other)


class Tracer(fx.Tracer):
    def proxy(self, node: fx.Node) -> fx.Proxy:
        return InPlaceProxy(node, self)

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return type(module) in MODULES or super().is_leaf_module(module, name)


def symbolic(model: nn.Module) -> tuple[fx.Graph, dict[str, nn.Module]]:
    """The graph of the model and its modules by name.

    A lone layer is put in a box, for tracing would open it; so is a model with a forward of its
    own, for tracing would take that of its class.
    """
    tracer = Tracer()
    boxed = tracer.is_leaf_module(model, "") or "forward" in vars(model)
    root = nn.Sequential(model) if boxed else model
    try:
        graph = tracer.trace(root)
    except Exception as error:  # whatever the forward function of a stranger may raise
        raise UnsupportedModule(
            f"{type(model).__name__} cannot be traced by torch.fx ({error}); "
            "forward must run without looking at the values in its input"
        ) from error
    return graph, dict(root.named_modules())


def read(graph: fx.Graph, modules: dict) -> Structure:
    steps: dict[str, Step] = {}
    sources = [node.name for node in graph.nodes if node.op == "placeholder"]
    if len(sources) != 1:
        raise UnsupportedModule(f"forward takes {len(sources)} inputs; wrap it to take one tensor")
    for node in graph.nodes:
        if node.op not in ("placeholder", "output"):
            for step in steps_of(node, modules, steps):
                steps[step.name] = step
    (final,) = (node for node in graph.nodes if node.op == "output")
    outputs: list[str] = []
    map_arg(final.args, lambda n: outputs.append(n.name))
    if not outputs or any(is_size(steps, name) for name in outputs):
        raise UnsupportedModule("forward returns something other than tensors; return tensors only")
    return tuple(steps.values()), sources[0], tuple(outputs)


def steps_of(node: fx.Node, modules: dict, known: dict[str, Step]) -> list[Step]:
    """The step of one graph node, preceded by the copying of a border if its padding needs one."""
    module = modules[node.target] if node.op == "call_module" else None
    where = place(node, module)
    try:
        meaning = meaning_of(node, module, known)
    except Refusal as refusal:
        raise refusal.at(where) from None
    step = Step(node.name, where, meaning, operand_names(node), module)
    if meaning.pad is None:
        return [step]
    copying = Meaning("move", meaning.pad, channels="keep")
    border = Step(f"{node.name}:border", where, copying, step.inputs)
    return [border, step._replace(inputs=(border.name,))]


def operand_names(node: fx.Node) -> tuple[str, ...]:
    """Operands in order, repeated if used twice (x + x)."""
    names: list[str] = []
    map_arg((node.args, node.kwargs), lambda n: names.append(n.name))
    return tuple(names)


def place(node: fx.Node, module: nn.Module | None) -> str:
    if module is not None:
        return f"{node.target} ({type(module).__name__})"
    stack = node.meta.get("nn_module_stack") or {"": ("", None)}
    inside = list(stack.values())[-1][0]
    target = node.target if isinstance(node.target, str) else node.target.__name__
    return f"{node.op.removeprefix('call_')} {target!r} in {inside or 'forward'}"


def is_size(known: dict[str, Step], name: str) -> bool:
    return name in known and known[name].kind == "size"


SHAPES = (getattr, operator.getitem, operator.add, operator.sub, operator.mul, operator.floordiv)


def meaning_of(node: fx.Node, module: nn.Module | None, known: dict[str, Step]) -> Meaning:
    """Look the node up; calls are examined with X for each tensor and N for each size."""
    if module is not None:
        if type(module) not in MODULES:
            raise Refusal("is not in the vocabulary", "see lib.paths.vocabulary; " + hint(module))
        if len(node.args) != 1 or node.kwargs:
            raise Refusal("is called with more than its input", "pass it one tensor")
        return MODULES[type(module)](module)
    if node.op == "get_attr":
        raise Refusal("uses a parameter directly", "put it in a layer such as nn.Linear")

    def stand(n: fx.Node):
        return N if is_size(known, n.name) else X

    args, kwargs = map_arg((node.args, node.kwargs), stand)
    sizes = [is_size(known, n.name) for n in node.all_input_nodes]
    shape = node.target is getattr and node.args[1] == "shape"
    if shape or (node.target in SHAPES and sizes and all(sizes)):
        return with_arguments(node, Meaning("size", node.target, (repr(args),)))
    table = calls.METHODS if node.op == "call_method" else calls.FUNCTIONS
    if node.target not in table:
        raise Refusal("is not in the vocabulary", "see lib.paths.vocabulary")
    try:
        meaning = table[node.target](*args, **kwargs)
    except TypeError as error:
        raise Refusal(f"is called in an unknown way ({error})", "use the documented form") from None
    return with_arguments(node, meaning) if meaning.kind in ("move", "size") else meaning


def with_arguments(node: fx.Node, meaning: Meaning) -> Meaning:
    """Give a move its arguments: at run time its operands arrive in order and take their places."""

    def apply(*operands):
        supply = iter(operands)
        args, kwargs = map_arg((node.args, node.kwargs), lambda n: next(supply))
        return meaning.apply(*args, **kwargs)

    return meaning._replace(apply=apply)


def hint(module: nn.Module) -> str:
    """What usually helps, for the layers people meet first."""
    name = type(module).__name__
    if parametrize.is_parametrized(module):
        return "fix its weights with torch.nn.utils.parametrize.remove_parametrizations"
    if "Norm" in name:
        return "only batch normalisation in eval mode is a fixed linear map"
    if isinstance(module, (nn.Softmax, nn.LogSoftmax, nn.Sigmoid)):
        return "take the logits"
    if type(module).__module__ == "torch.nn.modules.activation":
        return "the activation must be ReLU"
    return "build the network from its layers"
