"""Which files of the library a piece of code runs, and one name for what they say."""

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY, INIT = "lib", "__init__.py"


def imported(source: str, package: str = "") -> Iterator[str]:
    """Dotted names that `source`, a module of `package`, may import, at any depth.

    `from a import b` gives `a.b`, a module or something in `a`: only the disk tells which.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: package.count(".") + 2 - node.level]
            base = ".".join([*(parents if node.level else []), *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def module_files(root: Path, name: str) -> Iterator[Path]:
    """The file of `name` or of what holds it, if it is the library's, and the packages above.

    A package that only passes names on decides nothing about its modules, and counts only where a
    name is taken from it: else every module would run the code of all its neighbours.  So a module
    must not change another when it is imported.
    """
    parts = name.split(".")
    if parts[0] != LIBRARY:
        return
    stems = [root.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    candidates = (file for stem in stems for file in (stem.with_suffix(".py"), stem / INIT))
    *above, last = filter(Path.is_file, candidates)
    yield from (path for path in above if not passes_on(path))
    yield last


@lru_cache
def passes_on(package: Path) -> bool:
    """Whether a package holds imports and the list of its names only."""
    return all(
        isinstance(node, (ast.Import, ast.ImportFrom))
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
        for node in ast.parse(package.read_text(encoding="utf8")).body
    )


def library_files(root: Path, code: str) -> set[Path]:
    """Every file of the library whose code `code` may use, followed to the end."""
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
