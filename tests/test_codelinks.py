"""Names of the library in the code of chapters: where their links lead, and which have none."""

import re
from html import unescape

import pytest

from codelinks import imported, summary
from conftest import CONFIG, ROOT
from library import is_shown, named

TOOLS = '''\
"""Tools."""


def double(x: int) -> int:
    """Twice `x`.

    More.
    """
    return 2 * x


def half(x: int) -> int:
    """Not on the page."""
    return x // 2
'''
PAGE = """\
# Start

```{eval-rst}
.. autofunction:: lib.tools.double
```
"""
LINK = re.compile(r'<a href="([^"]*)" title="([^"]*)">(.*?)</a>')
CHAPTERS = sorted(file.stem for file in (ROOT / "chapters").glob("*.yml"))


def links(html: str) -> list[tuple[str, str, str]]:
    """Links in code: the target, the tooltip, and the plain text."""
    found = (match.groups() for match in LINK.finditer(html))
    return [(to, unescape(about), re.sub("<.*?>", "", text)) for to, about, text in found]


def test_names_come_from_the_library_and_keep_their_meaning():
    code = "from lib import ntk\nfrom lib.smt import prove as certain\nfrom os import path"
    names = {"ntk": "lib.ntk", "certain": "lib.smt.prove"}
    assert imported(code) == names
    for rebound in ("ntk = 1", "def f(ntk): pass", "[0 for ntk in 'a']", "def ntk(): pass"):
        assert imported(f"{code}\n{rebound}") == {"certain": "lib.smt.prove"}


def test_a_tooltip_is_the_first_paragraph_without_markup():
    def thing():
        """Twice `x`, as
        :func:`half` is not.

        More.
        """

    assert summary(thing) == "Twice x, as half is not."
    assert summary(lambda: 0) == ""


def test_links_lead_to_the_page_or_to_the_source(book):
    extensions = "{address: EXT, cache: EXT, library: EXT, codelinks: EXT}"
    kept = extensions.replace("EXT", str(ROOT / "_ext"))
    book.write("_config.yml", re.sub(r"(?<=local_extensions: ).*", kept, CONFIG))
    book.write("lib/tools.py", TOOLS)
    book.write("chapters/index.md", PAGE)
    imports = "from lib import tools\nfrom lib.tools import double, half"
    uses = "double(1) + double(half(2)) + tools.half(4)"
    book.chapter("a", imports, uses, "import types\ntypes.SimpleNamespace(half=1).half")
    for status, said in (book.run(), book.build()):
        assert status == 0, said
    source = "https://github.com/OWNER/small-book/blob/main/lib/tools.py"
    page = ("index.html#lib.tools.double", "lib.tools.double: Twice x.", "double")
    line = TOOLS[: TOOLS.index("def half")].count("\n") + 1
    off = (f"{source}#L{line}", "lib.tools.half: Not on the page.")
    module = (f"{source}#L1", "lib.tools: Tools.", "tools")
    half = (*off, "half")
    assert links(book.html("a")) == [module, page, half, page, half]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_each_name_that_a_chapter_imports_is_a_link(chapter):
    html = ROOT / f"_build/html/chapters/{chapter}.html"
    assert html.exists(), "run `make book` first"
    code = (ROOT / f"chapters/{chapter}.py").read_text(encoding="utf8")
    linked = {about.partition(":")[0] for _, about, _ in links(html.read_text(encoding="utf8"))}
    names = imported(code).values()
    assert len(names) > 20
    assert [n for n in names if is_shown(named(n)) and n not in linked] == []
