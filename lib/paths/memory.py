"""When a graph traced earlier is still the graph of a model: a signature of all it depends on.

Tracing costs a tenth of a forward pass of ResNet-18, so `trace` remembers, for each living model,
the graph and the signature it had. The signature covers the modules, their settings and flags, and
the code of their forward functions with the constants it looks up. A model whose code could look
elsewhere (at other objects, a file, the clock) has no signature, and is traced anew each time.
"""

from __future__ import annotations

import dis
import math
import operator
from collections.abc import Hashable
from functools import lru_cache
from itertools import chain
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType

import torch
from torch import nn

from lib.paths import calls
from lib.paths.vocabulary import MODULES

INTERNAL = frozenset(vars(nn.Module())) - {"training"}
LIBRARIES = (torch, nn, nn.functional, math, operator)
PLAIN = (int, float, complex, str, bytes, type(None), torch.dtype, torch.device, type)
STATE = ("is_", "are_", "get_", "initial_seed", "backends", "open", "input", "eval", "exec", "vars")


class Unknown(Exception):
    """The graph may depend on something that a signature does not cover."""


def signature(model: nn.Module) -> Hashable | None:
    """Equal signatures mean equal graphs; None if that cannot be promised."""
    seen: dict[FunctionType, Hashable] = {}
    try:
        return tuple(
            [
                (name, id(module), settings(module), behaviour(type(module), module, seen))
                for name, module in model.named_modules(remove_duplicate=False)
            ]
        )
    except Unknown:
        return None


def settings(module: nn.Module) -> Hashable:
    """What is stored on the module itself, but for its parameters, submodules and hooks."""
    own = [(key, value) for key, value in vars(module).items() if key not in INTERNAL]
    if type(module) in MODULES:  # torch's pruning leaves masked weights on a layer
        own = [(key, value) for key, value in own if not isinstance(value, torch.Tensor)]
    return tuple([(key, frozen(value)) for key, value in own])


def frozen(value) -> Hashable:
    """A hashable image of plain data, in which 1 is not True."""
    if isinstance(value, PLAIN):
        return type(value), value
    if isinstance(value, (tuple, list)):
        return type(value), *map(frozen, value)
    if isinstance(value, dict):
        return dict, *((frozen(k), frozen(v)) for k, v in value.items())
    raise Unknown


def behaviour(kind: type, module: nn.Module, seen: dict) -> Hashable:
    """What a forward function depends on besides its module. The layers of torch are known."""
    if kind in MODULES or kind.__module__.startswith("torch.nn.modules."):
        return kind
    tensors = chain(module.parameters(recurse=False), module.buffers(recurse=False))
    if next(tensors, None) is not None or kind.__call__ is not nn.Module.__call__:
        raise Unknown  # forward may look at the values of tensors
    return kind, reachable(kind.forward, kind, seen)


def reachable(value, owner: type, seen: dict) -> Hashable:
    """What a name in a forward function stands for: plain data, torch, or a function like it."""
    if isinstance(value, ModuleType):
        known = value in LIBRARIES
    elif isinstance(value, type):
        known = value.__module__.startswith("torch.") or issubclass(value, nn.Module)
    elif isinstance(value, BuiltinFunctionType):
        known = value in calls.FUNCTIONS or value in KNOWN
    elif isinstance(value, FunctionType):
        known = value.__module__.startswith("torch.")
        if not known:
            return dependencies(value, owner, seen)
    else:
        return frozen(value)
    if not known:
        raise Unknown
    return value


KNOWN = frozenset(f for m in (math, operator) for f in vars(m).values() if callable(f))


def dependencies(function: FunctionType, owner: type, seen: dict) -> Hashable:
    """The function, and all that it can look up, as it is now."""
    if function not in seen:
        seen[function] = function  # a recursion ends here
        used = names(function.__code__)
        found = [cell.cell_contents for cell in function.__closure__ or ()]
        found += [function.__globals__[n] for n in used if n in function.__globals__]
        found += [getattr(owner, n) for n in used - INHERITED if hasattr(owner, n)]
        below = tuple([reachable(value, owner, seen) for value in found])
        seen[function] = function, frozen(function.__defaults__), below
    return seen[function]


INHERITED = frozenset(dir(nn.Module))


@lru_cache(maxsize=1024)
def names(code: CodeType) -> frozenset[str]:
    """All names a function looks up; Unknown if it imports or asks for the state of the world."""
    used = set(code.co_names)
    for inner in code.co_consts:
        used |= names(inner) if isinstance(inner, CodeType) else set()
    imports = any(i.opname == "IMPORT_NAME" for i in dis.get_instructions(code))
    if imports or any(name.startswith(STATE) for name in used):
        raise Unknown
    return frozenset(used)
