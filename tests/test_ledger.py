"""The ledger extension, on a book of six small pages built by plain Sphinx."""

import json
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest

from ledger_badges import Book, Tag, badge, spent, tally, totals
from ledger_rows import LedgerFileError, read_chapter

ROOT = Path(__file__).resolve().parents[1]

CONF = f"""
import sys
sys.path.insert(0, {str(ROOT / "_ext")!r})
project = "A small book"
extensions = ["myst_nb", "ledger"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
nb_execution_mode = "cache"
nb_execution_cache_path = "cache"
nb_execution_raise_on_error = True
html_theme = "basic"
mathjax_path = "mathjax.js"
exclude_patterns = ["_build", "cache"]
"""
HEAD = "---\nfile_format: mystnb\nkernelspec: {name: python3, display_name: Python 3}\n---\n"
IMPORTS = """\
from lib.claims import check, exhaustive
small = lambda top: exhaustive(lambda n: n < 4, range(top))
"""
ROWS_A = """
papers:
  - {id: P1, arxiv: "1234.56789", title: A paper, authors: Ada}
rows:
  - {id: a-one, title: First, paper: P1, locator: Theorem 1, source: paper,
     statement: "$x^2 \\\\ge 0$."}
  - {id: a-two, title: "Second, $\\\\Phi$", paper: companion, source: derived, statement: Two.,
     uses: [a-one, b-one]}
  - {id: a-three, title: Third, paper: P1, source: recalled, statement: Three., reason: too large}
"""
ROWS_B = """
papers: []
rows:
  - {id: b-one, title: Other, paper: companion, source: derived, statement: One.}
  - {id: b-two, title: Bare, paper: companion, source: source, statement: Two.}
"""


def cell(*lines: str) -> str:
    return "```{code-cell}\n" + "\n".join(lines) + "\n```\n"


def checks(*calls: str) -> str:
    return cell(IMPORTS, *calls)


def statements(*ids: str) -> str:
    return "\n".join(f"Statement {{status}}`{name}`\n" for name in ids)


ONE = "check('a-one', small, 4, 5, says='one <more> case');"
TWO = "check('a-two', small, 3, 6, says='more', scope='small cases');"
OTHER = "check('b-one', small, 2, 7, says='many more');"
ELSEWHERE = "check('b-two', small, 1, 8, says='even more');"  # of a row of the other chapter
TALLY = ":::{tally}\n:::\n"
PAGES = {
    "conf.py": CONF,
    "index.md": "# Start\n\n```{toctree}\na\nb\nc\nd\nledger\n```\n",
    "a.md": HEAD
    + "# Chapter A\n\n"
    + TALLY
    + statements("a-one", "a-two", "a-three")
    + checks(ONE, TWO, ELSEWHERE),
    "b.md": HEAD + "# Chapter B\n\n" + TALLY + statements("b-one", "b-two") + checks(OTHER),
    "c.md": "# Nothing here\n\n" + TALLY + "\n:::{tally} a\n:::\n",
    "d.md": "# Nor here\n",
    "ledger.md": "# Ledger\n\n:::{ledger}\n:::\n",
    "a.yml": ROWS_A,
    "b.yml": ROWS_B,
}


@dataclass(frozen=True)
class Built:
    """What one build left behind."""

    status: int
    said: str
    data: dict
    pages: dict[str, str]

    def row(self, name: str) -> dict:
        """One row of ledger.json."""
        return next(row for row in self.data["rows"] if row["id"] == name)


def write(folder: Path, pages: dict[str, str]) -> None:
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")


def build(folder: Path, *options: str) -> Built:
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going", *options]
    command += [".", "_build/html"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    file = folder / "_build/html/ledger.json"
    data = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    pages = {p.stem: p.read_text(encoding="utf-8") for p in folder.glob("_build/html/*.html")}
    return Built(done.returncode, done.stdout + done.stderr, data, pages)


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """One book through its life: each build starts from what the one before it left."""
    folder = tmp_path_factory.mktemp("book")
    write(folder, PAGES)
    made = {"cold, parallel": build(folder, "-j", "2")}
    shutil.rmtree(folder / "_build")
    made["warm"] = build(folder)
    write(folder, {"a.md": PAGES["a.md"] + "\nAn afterthought.\n"})
    made["one page changed"] = build(folder)
    write(folder, {"b.yml": ROWS_B.replace("One.", "Now $y = 1$.")})
    write(folder, {"a.md": PAGES["a.md"].replace(ELSEWHERE, "")})
    made["one page changed from outside"] = build(folder)
    write(folder, {"b.md": PAGES["b.md"].replace(OTHER, "")})
    made["checks removed"] = build(folder)
    write(folder, {"b.yml": ROWS_B, "b.md": PAGES["b.md"].replace("b-one'", "b-none'")})
    made["a check without a row"] = build(folder)
    return made


GOOD = (
    "cold, parallel",
    "warm",
    "one page changed",
    "one page changed from outside",
    "checks removed",
)


@pytest.mark.parametrize("name", GOOD)
def test_the_book_builds_without_a_warning(builds, name):
    assert builds[name].status == 0
    assert "WARNING:" not in builds[name].said


def test_statuses_are_what_the_checks_earned(builds):
    rows = builds["cold, parallel"].data["rows"]
    assert [(r["id"], r["status"], r["partial"], len(r["checks"])) for r in rows] == [
        ("a-one", "exhaustive", False, 1),
        ("a-two", "exhaustive", True, 1),
        ("a-three", "stated", False, 0),
        ("b-one", "exhaustive", False, 1),
        ("b-two", "exhaustive", False, 1),
    ]


def test_a_record_arrives_whole(builds):
    (record,) = builds["cold, parallel"].row("a-two")["checks"]
    assert record["scope"] == "small cases"
    assert record["facts"] == {"cases": 3}
    assert record["counterfeit"] == {"says": "more", "witness": "case 5 fails: 4"}


def statuses(built: Built) -> list:
    """Everything of the ledger that does not depend on how fast a chapter ran."""
    return [
        {**row, "checks": [{**c, "seconds": 0} for c in row["checks"]]}
        for row in built.data["rows"]
    ]


@pytest.mark.parametrize("name", ["warm", "one page changed"])
def test_a_later_build_finds_the_same_ledger(builds, name):
    assert statuses(builds[name]) == statuses(builds["cold, parallel"])


def test_outputs_from_the_cache_keep_their_seconds(builds):
    assert builds["one page changed"].data == builds["warm"].data


def test_a_changed_statement_reaches_the_ledger_page(builds):
    assert r"\(y = 1\)" not in builds["warm"].pages["ledger"]
    assert r"\(y = 1\)" in builds["one page changed from outside"].pages["ledger"]


def test_a_page_without_checks_left_has_none(builds):
    assert builds["checks removed"].row("b-one")["status"] == "stated"
    assert builds["checks removed"].row("a-one")["status"] == "exhaustive"


def test_a_check_on_another_page_changes_the_badge(builds):
    badges = {name: by_id(builds[name].pages["b"], "status-b-two") for name in GOOD}
    assert badges["warm"]["class"] == "status status-exhaustive"
    assert badges["one page changed from outside"]["class"] == "status status-stated"


def test_a_check_without_a_row_fails_the_build(builds):
    bad = builds["a check without a row"]
    assert bad.status != 0
    assert "b-none" in bad.said


# --- what stands on the pages


class Elements(HTMLParser):
    """All start tags of a page with their attributes."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def by_id(page: str, name: str) -> dict:
    (attributes,) = [a for _, a in Elements(page).found if a.get("id") == name]
    return attributes


def test_a_badge_links_to_its_row_and_the_row_back(builds):
    pages = builds["warm"].pages
    assert by_id(pages["a"], "status-a-one")["href"] == "ledger.html#row-a-one"
    assert by_id(pages["ledger"], "row-a-one")["data-kind"] == "exhaustive"
    assert 'href="a.html#status-a-one"' in pages["ledger"]


def test_a_badge_says_its_status_in_words(builds):
    page = builds["warm"].pages["a"]
    assert "∀</span> exhaustive</a>" in page
    assert "◐</span> exhaustive in part</a>" in page
    assert by_id(page, "status-a-two")["title"] == "for small cases, 3 cases"
    assert by_id(page, "status-a-three")["title"] == "not checked: too large"


def test_the_tally_counts_this_chapter_only(builds):
    page = builds["warm"].pages["a"]
    assert "3 statements in this chapter" in page
    counts = ["1 exhaustive, 1 in part", "1 stated"]
    assert re.findall(r"</span> (\d+ [\w ,]+)</a>", page)[:2] == counts
    assert "Each of the 2 checks also refused its counterfeit" in page
    assert "No check ran." in builds["checks removed"].pages["b"]


def test_the_tally_links_to_its_rows(builds):
    assert 'href="ledger.html?chapter=a&amp;kind=exhaustive"' in builds["warm"].pages["a"]
    assert 'href="ledger.html?paper=P1"' in builds["warm"].pages["a"]


def test_a_page_without_rows_counts_the_book_or_one_chapter(builds):
    page = builds["warm"].pages["c"]
    assert "5 statements in this book" in page
    assert 'href="ledger.html?kind=exhaustive"' in page
    assert 'In the ledger: <a href="ledger.html">all</a>' in page
    box, cards = page.split('<div class="tally-counts">')
    counts = ["1 exhaustive, 1 in part", "1 stated"]
    assert re.findall(r"</span> (\d+ [\w ,]+)</a>", box) != counts
    assert re.findall(r"</span> (\d+ [\w ,]+)</span>", cards) == counts


def test_the_table_shows_mathematics_evidence_and_counterfeit(builds):
    page = builds["warm"].pages["ledger"]
    assert r"\(x^2 \ge 0\)" in page
    assert "4 cases" in page
    assert "one &lt;more&gt; case → <code>case 5 fails: 4</code>" in page
    assert "Only for small cases." in page


def test_a_row_that_nothing_explains_says_so(builds):
    page = builds["checks removed"].pages["ledger"]
    assert "Not checked: too large" in page
    assert "no check ran and no reason is given" in page


def test_all_rows_have_what_the_filters_ask_for(builds):
    rows = [a for t, a in Elements(builds["warm"].pages["ledger"]).found if t == "tbody"]
    assert len(rows) == 5
    assert {row["data-extent"] for row in rows} == {"whole", "part", "none"}
    assert "second, $\\phi$ second, φ" in rows[1]["data-words"]


CHECK = {
    "type": "object",
    "required": ["row", "kind", "scope", "facts", "seconds", "counterfeit"],
    "properties": {
        "kind": {"enum": ["proved", "exhaustive", "certified", "measured"]},
        "scope": {"type": "string"},
        "facts": {"type": "object"},
        "seconds": {"type": "number", "minimum": 0},
        "counterfeit": {
            "type": "object",
            "required": ["says", "witness"],
            "additionalProperties": {"type": "string", "minLength": 1},
        },
    },
}
TEXTS = ("id", "title", "paper", "locator", "statement", "chapter", "reason")
ROW = {
    "type": "object",
    "required": [
        "id",
        "title",
        "paper",
        "source",
        "statement",
        "uses",
        "chapter",
        "status",
        "checks",
    ],
    "additionalProperties": False,
    "properties": {
        **{key: {"type": "string"} for key in TEXTS},
        "source": {"enum": ["paper", "source", "recalled", "derived"]},
        "uses": {"type": "array", "items": {"type": "string"}},
        "status": {"enum": ["proved", "exhaustive", "certified", "measured", "stated"]},
        "partial": {"type": "boolean"},
        "checks": {"type": "array", "items": CHECK},
    },
}
LEDGER = {
    "type": "object",
    "required": ["title", "papers", "rows", "totals", "checks"],
    "additionalProperties": False,
    "properties": {
        "title": {"type": "string"},
        "papers": {"type": "array", "items": {"type": "object", "required": ["id", "title"]}},
        "rows": {"type": "array", "items": ROW},
        "totals": {"type": "object", "required": ["status", "checks", "seconds"]},
        "checks": {"type": "integer", "minimum": 0},
    },
}


def test_ledger_json_has_the_promised_shape(builds):
    jsonschema.validate(builds["warm"].data, LEDGER)


def test_ledger_json_adds_up(builds):
    data = builds["warm"].data
    assert sum(data["totals"]["status"].values()) == len(data["rows"]) == 5
    assert data["checks"] == data["totals"]["checks"] == 4


# --- badges and rows belong together


def test_each_row_has_one_badge_and_each_badge_a_row(tmp_path):
    page = "# A\n\n" + statements("a-one", "a-one", "a-four") + "\n:::{tally} z\n:::\n"
    rows = ROWS_A.replace(", b-one", "")
    index = "# Start\n\n```{toctree}\na\nledger\n```\n"
    conf = CONF.replace('"cache"\nnb', '"off"\nnb')
    write(tmp_path, {"conf.py": conf, "index.md": index, "a.md": page, "a.yml": rows})
    write(tmp_path, {"ledger.md": PAGES["ledger.md"]})
    built = build(tmp_path)
    assert built.status != 0
    assert re.search(r"a\.md:5: WARNING: a second badge for 'a-one'", built.said)
    assert re.search(r"a\.md:7: WARNING: status of 'a-four', which is no row", built.said)
    assert "tally of 'z', which is no page: name a chapter" in built.said
    assert re.search(r"a\.yml:7: WARNING: row 'a-two' has no badge", built.said)
    assert re.search(r"a\.yml:9: WARNING: row 'a-three' has no badge", built.said)
    assert built.said.count("WARNING") == 4


# --- rows as data


def chapter(tmp_path: Path, text: str) -> tuple[list, list]:
    path = tmp_path / "x.yml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return read_chapter(path, "x.yml")


def test_a_row_knows_its_line(tmp_path):
    papers, rows = chapter(tmp_path, ROWS_A)
    assert [(row["id"], row["line"]) for row in rows] == [
        ("a-one", 5),
        ("a-two", 7),
        ("a-three", 9),
    ]
    assert papers == [
        {"id": "P1", "arxiv": "1234.56789", "title": "A paper", "authors": "Ada", "line": 3}
    ]
    assert (rows[0]["uses"], rows[0]["reason"]) == ([], "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("title: First, ", ""), r"x\.yml:5: needs title"),
        (("paper: P1, locator", "paper: P2, locator"), r"x\.yml:5: paper 'P2' is not listed"),
        (("uses:", "use:"), r"x\.yml:7: unknown key 'use'"),
        (("id: a-one", "id: A_one"), r"x\.yml:5: an id is lower case"),
        (("rows:", "rows: ["), r"x\.yml: while parsing"),
    ],
)
def test_a_faulty_file_is_named_with_the_line_and_the_remedy(tmp_path, change, message):
    with pytest.raises(LedgerFileError, match=message):
        chapter(tmp_path, ROWS_A.replace(*change))


def test_a_chapter_without_rows_has_none(tmp_path):
    assert chapter(tmp_path, "papers: []\n") == ([], [])


# --- badges and counts


@pytest.mark.parametrize("kind", ["proved", "exhaustive", "certified", "measured", "stated"])
def test_no_two_statuses_look_the_same_without_colour(kind):
    others = {"proved", "exhaustive", "certified", "measured", "stated"} - {kind}
    symbol = badge(kind).children[0].astext()
    assert symbol not in {badge(other).children[0].astext() for other in others}


def test_totals_count_a_partial_row_once():
    checks = [{"seconds": 0.25}, {"seconds": 0.5}]
    rows = [
        {"status": "proved", "partial": True, "checks": checks},
        {"status": "proved", "partial": False, "checks": checks[:1]},
        {"status": "stated", "partial": False, "checks": []},
    ]
    counted = totals(rows)
    assert {k: v for k, v in counted["status"].items() if v} == {
        "proved": 1,
        "in part": 1,
        "stated": 1,
    }
    assert (counted["checks"], counted["seconds"]) == (3, 1.0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "under 0.01 s"), (0.314, "0.31 s"), (12.0, "12 s"), (99.6, "1.7 min")],
)
def test_seconds_never_read_as_nothing(seconds, words):
    assert spent(seconds) == words


def test_a_page_without_a_ledger_has_a_tally_without_links():
    builder = SimpleNamespace(format="html")
    row = {"chapter": "a", "status": "proved", "partial": False, "checks": [], "paper": "P1"}
    drawn = tally(Book(builder, "a", None, {}, [row]))
    assert "1 proved" in drawn.astext()
    part = tally(Book(builder, "a", None, {}, [row | {"partial": True}]))
    assert "1 proved in part" in part.astext()
    assert not any(node["attributes"].get("href") for node in drawn.findall(Tag))
