"""In the code of the chapters, names from the library lead to where it describes them.

To the library page, or, for what that page does not list, to the source.  In each cell the first
use of a name is a link, so that the keyboard is not lost in a hundred of them.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from functools import partial
from html import escape
from pathlib import Path

import nbformat
from sphinx.application import Sphinx

from cache import code_of
from library import listed_as, named, shown_at

CELL = re.compile(r'<div class="highlight-ipython3 .*?</pre>', re.DOTALL)
DOT = '<span class="o">.</span>'
NAME = re.compile(
    rf'(?<!{re.escape(DOT)})<span class="n">\w+</span>'
    rf'(?:{re.escape(DOT)}<span class="n">\w+</span>)*'
    r'(?!<span class="o">=</span>)'  # the name of an argument
)


def imported(code: str) -> dict[str, str]:
    """Names that the code takes from the library, with their full names; none that it rebinds."""
    tree = list(ast.walk(ast.parse(code)))
    own = bound(tree)
    found = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in tree
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lib"
        for alias in node.names
    }
    return {name: full for name, full in found.items() if name not in own}


def bound(tree: list[ast.AST]) -> set[str]:
    """Names that the code gives to things of its own."""
    stored = {n.id for n in tree if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    defined = {n.name for n in tree if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    return stored | defined | {n.arg for n in tree if isinstance(n, ast.arg)}


def address_of(app: Sphinx, page: str, full: str) -> str | None:
    """Where a page finds the description of a name of the library, or its source."""
    thing = named(full)
    listed = listed_as(app.env, thing, full)
    if listed is None:
        return shown_at(Path(app.srcdir).resolve(), thing)
    entry = app.env.get_domain("py").objects[listed]
    return f"{app.builder.get_relative_uri(page, entry.docname)}#{entry.node_id}"


def summary(thing: object) -> str:
    """The first sentences of a docstring, without markup."""
    first = (inspect.getdoc(thing) or "").partition("\n\n")[0]
    return re.sub(r":\w+:(?=`)|`", "", first).replace("\n", " ")


def prefixes(text: str) -> Iterator[tuple[str, str]]:
    """A dotted name in HTML and its parts from the left, longest first: (HTML, plain)."""
    spans = text.split(DOT)
    for length in range(len(spans), 0, -1):
        html = DOT.join(spans[:length])
        yield html, re.sub(r"<.*?>", "", html)


def linked(app: Sphinx, page: str, names: dict[str, str], cell: re.Match) -> str:
    """A cell in HTML with its links."""
    seen = set()

    def link(found: re.Match) -> str:
        for html, plain in prefixes(found[0]):
            head, _, rest = plain.partition(".")
            full = ".".join(filter(None, (names.get(head), rest)))
            if head not in names or full in seen:
                break
            if not (to := address_of(app, page, full)):
                continue
            seen.add(full)
            title = escape(f"{full}: {summary(named(full))}")
            return f'<a href="{to}" title="{title}">{html}</a>{found[0][len(html) :]}'
        return found[0]

    return NAME.sub(link, cell[0])


def link_code(app: Sphinx, pagename: str, template: str, context: dict, doctree) -> None:
    """Link the names in the code of a page that is made from a notebook."""
    notebook = Path(app.env.doc2path(pagename)) if doctree is not None else None
    if "body" in context and notebook is not None and notebook.suffix == ".ipynb":
        names = imported(code_of(nbformat.read(notebook, as_version=4)))
        context["body"] = CELL.sub(partial(linked, app, pagename, names), context["body"])


def setup(app: Sphinx) -> dict:
    """Sphinx's entry point."""
    app.connect("html-page-context", link_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
