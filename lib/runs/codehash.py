"""Which files of the library a piece of code runs, and one name for what they say."""

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "lib"


def imported(source: str, package: str = "") -> Iterator[str]:
    """Dotted names of the modules that `source`, a module of `package`, may import, at any depth.

    `from a import b` gives both `a` and `a.b`, since only the disk tells whether `b` is a module.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: package.count(".") + 2 - node.level]
            base = ".".join([*(parents if node.level else []), *filter(None, [node.module])])
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


def module_files(root: Path, name: str) -> Iterator[Path]:
    """The files of module `name` and of the packages above it, if they are the library's."""
    parts = name.split(".")
    if parts[0] != LIBRARY:
        return
    for depth in range(1, len(parts) + 1):
        stem = root.joinpath(*parts[:depth])
        yield from filter(Path.is_file, (stem.with_suffix(".py"), stem / "__init__.py"))


def library_files(root: Path, code: str) -> set[Path]:
    """Every file of the library that running `code` may import, followed to the end."""
    found: set[Path] = set()
    queue = [(code, "")]
    while queue:
        for name in imported(*queue.pop()):
            for path in set(module_files(root, name)) - found:
                found.add(path)
                package = ".".join(path.parent.relative_to(root).parts)
                queue.append((path.read_text(encoding="utf8"), package))
    return found


@lru_cache
def code_digest(module: str, root: Path = ROOT) -> str:
    """A short name for the code that `module` runs: comments, docstrings and blank lines apart.

    A record that was made with other words about the same computation is not old.
    """
    files = sorted(library_files(root, f"import {module}"))
    parts = [
        f"{path.relative_to(root).as_posix()}\n{bare(path.read_text(encoding='utf8'))}"
        for path in files
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def bare(source: str) -> str:
    """The lines of `source` that do something.  It does not depend on the version of Python."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for first, last in docstrings(source):
        lines[first - 1 : last] = [""] * (last - first + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def docstrings(source: str) -> Iterator[tuple[int, int]]:
    """First and last line of each docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            start = node.body[0] if node.body else None
            if isinstance(start, ast.Expr) and isinstance(start.value, ast.Constant):
                yield start.lineno, start.end_lineno
