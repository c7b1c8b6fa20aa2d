"""Small pieces of the ledger: HTML elements as nodes, the badge at a statement, the tally."""

import html
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath

from docutils import nodes

from lib.claims import KINDS, MARKS, label, summary

UNEXPLAINED = "no check ran and no reason is given"
PART = "◐"


# --- HTML elements as docutils nodes, so that parsed statements can stand among them


class Tag(nodes.General, nodes.Element):
    """One HTML element; builders of other formats write its content only."""


def tag(name: str, /, *children, **attributes) -> Tag:
    """``tag("td", "text", node, colspan=2, class_="x", data_kind="proved")``."""
    names = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    node = Tag(tag=name, attributes=names)
    for child in children:
        node += nodes.Text(child) if isinstance(child, str) else child
    return node


def _open(self, node):
    given = {k: v for k, v in node["attributes"].items() if v not in (None, False)}
    words = (f" {k}" if v is True else f' {k}="{html.escape(str(v))}"' for k, v in given.items())
    self.body.append(f"<{node['tag']}{''.join(words)}>")


def _close(self, node):
    self.body.append(f"</{node['tag']}>")


def _pass(self, node):
    pass


VISITORS = {"html": (_open, _close)} | dict.fromkeys(
    ("latex", "text", "man", "texinfo"), (_pass, _pass)
)


# --- what a page is drawn from


@dataclass(frozen=True)
class Book:
    """The joined ledger, and the page that it is drawn for."""

    builder: object
    doc: str
    home: str | None  # the ledger's page
    papers: dict
    rows: list

    def link(self, doc: str | None, rest: str = "") -> str | None:
        """The address of a page as seen from this one; None where pages have no address."""
        if doc is None or self.builder.format != "html":
            return None
        return ("" if doc == self.doc else self.builder.get_relative_uri(self.doc, doc)) + rest

    def title(self, doc: str) -> str:
        """The title of a document, as text."""
        return self.builder.env.titles[doc].astext()


def short(doc: str) -> str:
    """The name of a chapter in filters: its file name."""
    return PurePosixPath(doc).name


def totals(rows: list[dict]) -> dict:
    """Count the rows by status, and add up the checks and their seconds."""
    count = dict.fromkeys((*KINDS[:-1], "in part", KINDS[-1]), 0)
    for row in rows:
        count["in part" if row["partial"] else row["status"]] += 1
    checks = [check for row in rows for check in row["checks"]]
    seconds = round(sum(check["seconds"] for check in checks), 2)
    return {"status": count, "checks": len(checks), "seconds": seconds}


# --- badges


def look(kind: str, partial: bool = False) -> tuple[str, str]:
    """The symbol and the words of a status; no status is told by its colour alone."""
    return PART if partial else MARKS[kind], label(kind, partial)


def badge(kind: str, partial: bool = False, **attributes) -> Tag:
    """``✓ proved`` and its kin; a link where ``href`` is given."""
    mark, words = look(kind, partial)
    name = "a" if attributes.get("href") else "span"
    symbol = tag("span", mark, aria_hidden="true")
    return tag(name, symbol, f" {words}", class_=f"status status-{kind}", **attributes)


def anchored_badge(book: Book, row: dict) -> Tag:
    """The badge at a statement: the ledger's link to it, and its link to the ledger."""
    href = book.link(book.home, f"#row-{row['id']}")
    return badge(
        row["status"], row["partial"], id=f"status-{row['id']}", href=href, title=_in_short(row)
    )


def _in_short(row: dict) -> str:
    if not row["checks"]:
        return f"not checked: {row['reason'] or UNEXPLAINED}"
    return "; ".join(_evidence_words(check) for check in row["checks"])


def _evidence_words(check: dict) -> str:
    scope = f"for {check['scope']}" if check["scope"] else ""
    return ", ".join(filter(None, (scope, summary(check["facts"]))))


# --- how many statements have which status


def tally(book: Book) -> Tag:
    """How many rows have which status, of this chapter or, on a page without rows, of the book.

    Each count is a link to those rows.
    """
    own = [row for row in book.rows if row["chapter"] == book.doc]
    rows, where = (own, "chapter") if own else (book.rows, "book")
    here = f"chapter={short(book.doc)}&" if own else ""
    return tag(
        "div",
        tag("p", f"{plural(len(rows), 'statement')} in this {where}", class_="tally-head"),
        _counts(book, rows, here),
        tag("p", *_assurance(totals(rows)), *_ways(book, rows, here)),
        class_="tally",
    )


def counts(book: Book, chapter: str) -> Tag:
    """How many rows of a chapter have which status, for a card that leads there."""
    rows = [row for row in book.rows if row["chapter"] == chapter]
    return tag("div", _counts(book, rows), class_="tally-counts")


def _counts(book: Book, rows: list[dict], here: str | None = None) -> Tag | str:
    """A list with one badge for each kind: how many rows have it, and how many of these in part."""
    found = Counter((row["status"], row["partial"]) for row in rows)
    pairs = {kind: (found[kind, False], found[kind, True]) for kind in KINDS}
    items = [tag("li", _count(book, kind, *n, here)) for kind, n in pairs.items() if any(n)]
    return tag("ul", *items) if items else ""


def _count(book: Book, kind: str, whole: int, part: int, here: str | None) -> Tag:
    words = [f"{whole} {kind}"] if whole else []
    words += [f"{part} in part" if whole else f"{part} {label(kind, True)}"] if part else []
    symbol = tag("span", look(kind, not whole)[0], aria_hidden="true")
    href = None if here is None else book.link(book.home, f"?{here}kind={kind}")
    name = "a" if href else "span"
    return tag(name, symbol, f" {', '.join(words)}", class_=f"status status-{kind}", href=href)


def _assurance(counts: dict) -> list:
    if not counts["checks"]:
        return ["No check ran. "]
    n, seconds = counts["checks"], counts["seconds"]
    words = "The one check" if n == 1 else f"Each of the {n} checks"
    return [f"{words} also refused its counterfeit, a near-miss that is false ({spent(seconds)}). "]


def _ways(book: Book, rows: list[dict], here: str) -> list:
    papers = dict.fromkeys(row["paper"] for row in rows)
    places = [(f"?{here}".rstrip("&"), "this chapter")]
    places += [(f"?paper={paper}", paper) for paper in papers]
    links = [(book.link(book.home, q), words) for q, words in (places if here else [("", "all")])]
    if not all(href for href, _ in links):
        return []
    parts = ["In the ledger: "]
    for href, words in links:
        parts += [tag("a", words, href=href), " · "]
    return [*parts[:-1], "."]


def spent(seconds: float) -> str:
    """Seconds as words; two figures are enough."""
    if seconds >= 99.5:
        return f"{seconds / 60:.2g} min"
    return f"{seconds:.2g} s" if seconds >= 0.01 else "under 0.01 s"


def plural(n: int, word: str) -> str:
    """``1 check``, ``2 checks``."""
    return f"{n} {word}" if n == 1 else f"{n} {word}s"
