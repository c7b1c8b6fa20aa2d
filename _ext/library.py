"""The library's docstrings, made ready for Sphinx's autodoc.

They are plain prose with mathematics as text, `w*`, `|Φ|`, `x_`, which reStructuredText would take
for markup. Markup in them is: code in backticks, a role such as :class:`Chain`, *emphasis*, the
sections of Napoleon (`Args:`, `Returns:`), and a line `name: …`, where `name` is a parameter or a
field, which starts its description.
"""

import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.autodoc import FunctionDocumenter
from sphinx.util import logging

import address

logger = logging.getLogger(__name__)
SPAN = re.compile(
    r"(?P<kept>>>> .*|``.+?``|:\w+:`[^`]+`|(?<!\S)\*[A-Za-z](?:[^*]*[^*\s])?\*(?!\w))"
    r'|`(?P<code>[^`]+)`|(?P<quoted>(?<![\w=])"[^"]+"(?!\w))'
    r"|(?P<plain>[*|\\]|(?<=\w)_(?!\w))"
)
ITEM = re.compile(r"(\w+(?:, \w+)*): +(.*)")
LINES = re.compile(r'<dl>\n(?:<dd><em class="sig-param">.*</dd>\n)+</dl>')  # a long signature
TYPES = r"(torch|collections|numpy|fractions|sympy|os|pathlib)\..*|Tensor"  # described elsewhere


# --- docstrings


def prepared(app: Sphinx, what: str, name: str, thing: object, options, lines: list[str]) -> None:
    """Rewrite a docstring in place as reStructuredText."""
    if not any(lines):
        logger.warning("%s has no docstring", name, type="library")
    lines[:] = listed(SPAN.sub(marked, "\n".join(lines)).split("\n"), described(thing))
    if what == "module":  # all names that follow, as links
        shown = {n: getattr(thing, n) for n in thing.__all__ if is_shown(getattr(thing, n))}
        links = [f":py:obj:`{n}`" for n in sorted(shown, key=lambda n: inspect.isclass(shown[n]))]
        lines += [".. container:: library-names", "", "    " + " ".join(links), ""]


def marked(found: re.Match) -> str:
    """A piece of a docstring, marked up or escaped; names in full become links."""
    if found["plain"]:
        return "\\" + found["plain"]
    if found["code"]:
        link = re.fullmatch(r"lib(\.\w+)+", found["code"])
        return f":py:obj:`{found['code']}`" if link else f"``{found['code']}``"
    return f"``{found['quoted']}``" if found["quoted"] else found["kept"]


def described(thing: object) -> set[str]:
    """The names that a docstring may describe: parameters, and fields of a class."""
    try:
        return set(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        return set()


def listed(lines: list[str], names: set[str]) -> Iterator[str]:
    """Lines that start with a name and a colon, as a list of definitions."""
    inside = False
    for line in lines:
        item = ITEM.match(line.replace("\\_:", "_:"))
        if item and set(item[1].split(", ")) <= names:
            yield from ([] if inside else [""])
            yield from (f"``{item[1]}``", f"    {item[2]}")
            inside = True
        elif inside and (not line or line.startswith("Raises ")):
            yield from ("", line)
            inside = False
        else:
            yield f"    {line.strip()}" if inside else line


def is_shown(thing: object) -> bool:
    """Not a constant, and not a field of a class, which stands in its signature."""
    return inspect.isroutine(thing) or inspect.isclass(thing) or isinstance(thing, property)


def skipped(app: Sphinx, what: str, name: str, thing: object, skip: bool, options) -> bool | None:
    """What autodoc leaves out beyond its own choice."""
    return None if is_shown(thing) else True


def in_lines(app: Sphinx, pagename: str, template: str, context: dict, doctree) -> None:
    """Sphinx writes long signatures as lists of definitions of nothing; lines are meant."""

    def mended(found: re.Match) -> str:
        whole = found[0].replace("<dl>", '<span class="sig-lines">').replace("<dd>", "<span>")
        return whole.replace("</dl>", "</span>").replace("</dd>", "</span>")

    if "body" in context:
        context["body"] = LINES.sub(mended, context["body"])


# --- links


def named(dotted: str) -> object | None:
    """What the library calls by this name, or None."""
    head, _, last = dotted.rpartition(".")
    try:
        return importlib.import_module(dotted)
    except ImportError:
        return getattr(named(head), last, None) if head else None


def source(root: Path, domain: str, info: dict[str, str]) -> str | None:
    """Where the repository shows a name, for `sphinx.ext.linkcode`."""
    return shown_at(root, named(f"{info['module']}.{info['fullname']}"))


def shown_at(root: Path, thing: object) -> str | None:
    """The address of the source of a module, class or function of the library."""
    thing = inspect.unwrap(getattr(thing, "fget", None) or thing)
    try:
        file = Path(inspect.getsourcefile(thing)).resolve().relative_to(root)
        line = inspect.getsourcelines(thing)[1] or 1  # 0 is that of a module
    except (OSError, TypeError, ValueError):
        return None
    return f"{files_at(root)}/{file.as_posix()}#L{line}"


@cache
def files_at(root: Path) -> str:
    """The address of the repository's files; it is asked for hundreds of times."""
    branch = address.config(root)["repository"]["branch"]
    return f"{address.repository(root)}/blob/{branch}"


def elsewhere(app: Sphinx, env: BuildEnvironment, node, content) -> nodes.Node | None:
    """A name by its home leads to where the page has it; one that the page lacks, to its source.

    Exceptions are also found by their short names, in the package's module of errors.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    thing = named(target) or named(f"{node.get('py:module')}.errors.{target}")
    domain, full = env.get_domain("py"), listed_as(env, thing, target)
    if full:
        return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", full, node, content)
    where = shown_at(Path(env.srcdir).resolve(), thing)
    return nodes.reference("", "", content, refuri=where) if where else None


def listed_as(env: BuildEnvironment, thing: object, name: str) -> str | None:
    """What the page calls a thing: it may have its home elsewhere."""
    last = name.rpartition(".")[2]
    same = (full for full in env.get_domain("py").objects if full.endswith(f".{last}"))
    return next((full for full in same if thing is not None and named(full) is thing), None)


def setup(app: Sphinx) -> dict:
    """Sphinx's entry point."""
    for extension in ("autodoc", "napoleon", "linkcode"):
        app.setup_extension(f"sphinx.ext.{extension}")
    FunctionDocumenter.member_order = 1  # before the classes
    app.config.linkcode_resolve = partial(source, Path(app.srcdir).resolve())
    app.config.nitpick_ignore_regex = [("py:class", TYPES)]
    app.connect("autodoc-process-docstring", prepared, priority=400)  # before Napoleon
    app.connect("autodoc-skip-member", skipped)
    app.connect("missing-reference", elsewhere)
    app.connect("html-page-context", in_lines)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
