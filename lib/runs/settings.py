"""Configs as plain data, and with some of their fields changed."""

import ast
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch

from lib.runs.errors import Trouble


def plain(value: Any) -> Any:
    """A config in JSON's types; fields marked ``local`` (where files lie) change no result."""
    if is_dataclass(value):
        kept = [f.name for f in fields(value) if not f.metadata.get("local")]
        return {name: plain(getattr(value, name)) for name in kept}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [plain(item) for item in value]
    return str(value).removeprefix("torch.") if isinstance(value, torch.dtype) else value


def parsed(text: str) -> tuple[str, Any]:
    """``key=value`` as a key and a Python value: a number, a tuple (0.1,0.2), or else a word."""
    key, sign, value = text.partition("=")
    if not (key and sign):
        raise Trouble(f"--set {text}: write key=value, for instance --set seeds=5")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def changed(config: Any, changes: dict[str, Any]) -> Any:
    """The config with new values.

    A dotted key reaches into a part, ``schedule.epochs``; where only one part has such a field,
    its name alone will do.
    """
    for key, value in changes.items():
        config = _changed(config, _path(config, key), value, key)
    return config


def _path(config: Any, key: str) -> list[str]:
    path = key.split(".")
    parts = {f.name: getattr(config, f.name) for f in fields(config)}
    homes = [n for n, part in parts.items() if is_dataclass(part) and hasattr(part, path[0])]
    return [*homes, *path] if path[0] not in parts and len(homes) == 1 else path


def _changed(config: Any, path: list[str], value: Any, key: str) -> Any:
    names = [field.name for field in fields(config)]
    if path[0] not in names:
        raise Trouble(f"{key}: there is no {path[0]}; choose one of {', '.join(names)}")
    old = getattr(config, path[0])
    if len(path) > 1 and not is_dataclass(old):
        raise Trouble(f"{key}: {path[0]} has no parts; use --set {path[0]}=...")
    new = _changed(old, path[1:], value, key) if len(path) > 1 else fitting(value, old, key)
    return replace(config, **{path[0]: new})


def fitting(value: Any, old: Any, key: str) -> Any:
    """The value in the type of the one it replaces."""
    if isinstance(old, tuple):
        items = value if isinstance(value, (tuple, list)) else (value,)
        return tuple(fitting(item, old[0], key) if old else item for item in items)
    if isinstance(old, torch.dtype):
        kinds = {str(k).removeprefix("torch."): k for k in (torch.float32, torch.float64)}
        if value not in kinds:
            raise Trouble(f"{key}: {value!r} is no dtype here; choose float32 or float64")
        return kinds[value]
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if is_dataclass(old) or (old is not None and type(value) is not type(old)):
        raise Trouble(f"{key}: {value!r} does not fit; now it is {old!r}")
    return value
