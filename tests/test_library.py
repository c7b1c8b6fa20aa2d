"""The library page: docstrings as they are meant, all public names, and faults that tell."""

import doctest
import importlib
import inspect
import re
from html import unescape

import pytest

from conftest import ROOT
from library import is_shown

SOURCE = (ROOT / "chapters/library.py").read_text(encoding="utf8")
PACKAGES = re.findall(r"automodule:: ([\w.]+)", SOURCE)
BUILT = ROOT / "_build/html/chapters/library.html"
CONFIG = """\
title: A small library
only_build_toc_files: true
repository: {url: https://github.com/OWNER/small-book, branch: main}
execute: {execute_notebooks: "off"}
sphinx:
  local_extensions: {library: EXT}
  config:
    html_theme: basic
    html_theme_options: {}
    autodoc_typehints: signature
    python_use_unqualified_type_names: true
"""
SMALL = '''\
"""Of which `f` is public."""
from lib.kinds import LIMIT, Bad, Pair, f

__all__ = ["LIMIT", "Bad", "Pair", "f"]
'''
KINDS = '''\
"""What is listed, and `g`, which is not."""
from typing import NamedTuple
from torch import Tensor

LIMIT = 32


class Bad(ValueError):
    """Not good."""


class Pair(NamedTuple):
    """Two numbers.

    a, b_: as many. They may differ.
    """

    a: float = 1.5
    b_: float = LIMIT

    def both(self) -> "Pair":
        """This one, see :meth:`both` and :func:`f`."""


def f(x: float | Tensor, *rest: int, limit: int = LIMIT, **more) -> tuple[Pair, int]:
    """w* and |x|^2 and x_ and *t are text, *this* is not; `x_` and ``limit`` are code.

    x: a number,
    or "more".
    limit: at most.
    Raises :class:`Bad`, see `lib.kinds.g`.

    Args:
        rest: of the *numbers
            in `a row`.
    """


def g() -> None:
    """Not listed."""
'''
FAULTS = {  # what stands in a docstring, and what the build says to it
    "Half of `x.": "without end-string",
    "See :func:`nowhere`.": "target not found: nowhere",
    "See `lib.kinds.nowhere`.": "target not found: lib.kinds.nowhere",
    "See :wrong:`f`.": "Unknown interpreted text role",
    "": "lib.faults.f4 has no docstring",
}


# --- what stands on the page, against what Python says


@pytest.fixture(scope="module", params=PACKAGES)
def package(request):
    """A package of the page, imported, with its public functions and classes by name."""
    module = importlib.import_module(request.param)
    return module, {n: getattr(module, n) for n in module.__all__ if is_shown(getattr(module, n))}


def test_every_package_with_public_names_is_on_the_page():
    public = (
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for path in (ROOT / "lib").rglob("__init__.py")
        if "__all__" in path.read_text(encoding="utf8")
    )
    assert set(public) == set(PACKAGES)


def test_only_parameters_are_described(package):
    for name, thing in package[1].items():
        arguments = re.search(r"\nArgs:\n(.*?)(\n\n|$)", inspect.getdoc(thing), re.DOTALL)
        heads = re.findall(r"^ {4}(\w[\w, ]*):", arguments[1], re.M) if arguments else []
        said = {part for head in heads for part in head.split(", ")}
        assert said <= set(inspect.signature(thing).parameters) if said else True, name


@pytest.mark.parametrize("name", ["lib.proof", "lib.smt"])
def test_the_examples_of_docstrings_print_what_they_say(name):
    tried = doctest.testmod(importlib.import_module(name))
    assert tried.attempted > 0
    assert tried.failed == 0


def test_the_built_page_has_an_address_for_every_name(package):
    assert BUILT.exists(), "run `make book` first"
    module, names = package
    page = BUILT.read_text(encoding="utf8")
    assert [n for n in names if f'id="{module.__name__}.{n}"' not in page] == []


def test_a_signature_says_what_a_reader_can_use():
    text = plain(BUILT.read_text(encoding="utf8"))
    assert "lib.ntk.phase( sigma_w2: float | Tensor, sigma_b2: float | Tensor," in text
    assert "object at 0x" not in text
    assert "<function" not in text


# --- a library of a few lines


def library(book, page: str):
    """Make the small book a book of its library."""
    book.write("_config.yml", CONFIG.replace("EXT", str(ROOT / "_ext")))
    book.write("_toc.yml", "format: jb-book\nroot: chapters/index\n")
    book.write("chapters/index.md", f"# Library\n\n```{{eval-rst}}\n{page}```\n")
    return book.build()


def plain(html: str) -> str:
    """The text of a page, on one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", "", re.sub(r"</d[td]>", " ", html))).split())


def test_a_library_is_shown_with_its_links(book):
    book.write("lib/kinds.py", KINDS)
    book.write("lib/small/__init__.py", SMALL)
    status, said = library(book, ".. automodule:: lib.small\n   :members:\n   :imported-members:\n")
    assert status == 0, said
    page = book.html("index")
    text = plain(page)
    assert "lib.small.f(x: float | Tensor, *rest: int, limit: int = 32, **more)" in text
    assert "w* and |x|^2 and x_ and *t are text, this is not; x_ and limit are code." in text
    assert "Alias for field" not in text
    source = "https://github.com/OWNER/small-book/blob/main/lib/kinds.py"
    line = KINDS[: KINDS.index("def g(")].count("\n") + 1
    assert f'href="{source}#L{line}"' in page
    for name in ("lib.small.Pair", "lib.small.Pair.both", "lib.small.Bad", "lib.small.f"):
        assert f'id="{name}"' in page
        assert f'href="#{name}"' in page
    terms = re.findall(r"<dt>(.*?)</dt>", page)
    assert [plain(term) for term in terms] == ["a, b_", "x", "limit"]


def test_a_fault_in_a_docstring_fails_the_build(book):
    book.write("lib/kinds.py", "")
    defined = (f'def f{k}(x):\n    """{doc}"""\n' for k, doc in enumerate(FAULTS))
    book.write("lib/faults.py", "\n\n".join(defined))
    status, said = library(
        book, "".join(f".. autofunction:: lib.faults.f{k}\n\n" for k in range(len(FAULTS)))
    )
    assert status != 0
    assert [fault for fault in FAULTS.values() if fault not in said] == []
