"""The ledger page: the graph of each chapter, the filters, and the table of all rows."""

from docutils import nodes

from ledger_badges import UNEXPLAINED, Book, Tag, badge, look, plural, short, spent, tag
from ledger_graph import Claim, plain, svg
from lib.claims import KINDS, summary

SOURCE_LABELS = {
    "paper": "read in the published text",
    "source": "read in a public source, which the chapter names",
    "recalled": "remembered, not compared with the text; the wording is ours",
    "derived": "derived for this book and printed with its proof",
}
EXTENTS = {"whole": "the whole statement", "part": "a part of it", "none": "not checked"}


def page(book: Book, parsed: dict) -> list:
    """The graphs, the filters and the tables."""
    if not book.rows:
        return [tag("p", "No chapter has a row yet.")]
    chapters = {row["chapter"]: [] for row in book.rows}
    for row in book.rows:
        chapters[row["chapter"]].append(row)
    return [
        tag("h2", "What leans on what", id="graph"),
        tag("p", GRAPH_NOTE, " ", tag("a", "Straight to the table", href="#statements"), "."),
        *(_graph(book, doc, rows) for doc, rows in chapters.items()),
        tag("h2", "Every statement", id="statements"),
        *_download(book),
        _filters(book, list(chapters)),
        *(_chapter(book, doc, rows, parsed) for doc, rows in chapters.items()),
    ]


GRAPH_NOTE = (
    "An arrow leads from a statement to one that it uses. An arrow that two others imply is not "
    "drawn; the table lists every use. A dashed box belongs to another chapter."
)


def _graph(book: Book, doc: str, rows: list[dict]) -> Tag:
    name = f"graph-{short(doc)}"
    title = f"Dependencies of the statements in {book.title(doc)}"
    drawing = svg(_claims(book, rows), name, title) if book.builder.format == "html" else ""
    box = tag("div", nodes.raw("", drawing, format="html"), **_scrolls(title), class_="graph-box")
    return tag("div", tag("h3", _doc_link(book, doc)), box, class_="ledger-graph")


def _scrolls(name: str) -> dict:
    return {"tabindex": "0", "role": "region", "aria_label": name}


def _claims(book: Book, rows: list[dict]) -> list[Claim]:
    """The chapter's rows, and the rows of other chapters that they use."""
    by_id, own = {row["id"]: row for row in book.rows}, {row["id"] for row in rows}
    used = dict.fromkeys(use for row in rows for use in row["uses"] if use not in own)
    foreign = [_claim(by_id[use] | {"uses": []}, True) for use in used]
    return [*(_claim(row, False) for row in rows), *foreign]


def _claim(row: dict, foreign: bool) -> Claim:
    mark, words = look(row["status"], row["partial"])
    return Claim(
        id=row["id"],
        title=row["title"],
        status=words,
        mark=mark,
        kind=row["status"],
        href=f"#row-{row['id']}",
        foreign=foreign,
        uses=tuple(row["uses"]),
    )


def _doc_link(book: Book, doc: str) -> Tag:
    return tag("a", book.title(doc), href=book.link(doc))


def _download(book: Book) -> list:
    if book.builder.format != "html":
        return []
    address = "../" * book.doc.count("/") + "ledger.json"
    return [tag("p", "The same rows as data: ", tag("a", "ledger.json", href=address), ".")]


def _filters(book: Book, chapters: list[str]) -> Tag:
    """The form; ``ledger.js`` shows it, so without scripts the full table stands alone."""
    kinds = {kind: kind for kind in KINDS}
    papers = dict.fromkeys(row["paper"] for row in book.rows)
    choices = (
        ("chapter", "Chapter", {short(doc): book.title(doc) for doc in chapters}),
        ("paper", "Paper", {paper: paper for paper in papers}),
        ("kind", "Kind of check", kinds),
        ("extent", "Checked", EXTENTS),
        ("source", "Source", {label: label for label in SOURCE_LABELS}),
    )
    search = tag("label", "Words", tag("input", type="search", name="words", autocomplete="off"))
    reset = tag("button", "Show all", type="reset")
    count = tag("output", plural(len(book.rows), "statement"), aria_live="polite")
    selects = [_select(name, words, options) for name, words, options in choices]
    return tag("form", *selects, search, reset, count, id="ledger-filters", hidden=True)


def _select(name: str, words: str, options: dict) -> Tag:
    every = tag("option", "all", value="")
    entries = [tag("option", text, value=value) for value, text in options.items()]
    return tag("label", words, tag("select", every, *entries, name=name, autocomplete="off"))


def _chapter(book: Book, doc: str, rows: list[dict], parsed: dict) -> Tag:
    heads = ("Statement", "Status", "Evidence", "Counterfeit, and why it was refused")
    head = tag("thead", tag("tr", *(tag("th", words, scope="col") for words in heads), role="row"))
    bodies = [_row(book, row, parsed) for row in rows]
    return tag(
        "section",
        tag("h3", _doc_link(book, doc), id=f"chapter-{short(doc)}"),
        *_papers(book, rows),
        tag("table", head, *bodies, class_="ledger"),
        class_="ledger-chapter",
    )


def _papers(book: Book, rows: list[dict]) -> list:
    """Which papers the short names stand for."""
    used = dict.fromkeys(row["paper"] for row in rows)
    entries = [_paper(book.papers[paper]) for paper in used if paper in book.papers]
    if "companion" in used:
        entries.append(tag("li", tag("b", "companion"), ": a statement of this book"))
    return [tag("ul", *entries, class_="ledger-papers")]


def _paper(paper: dict) -> Tag:
    words = [tag("b", paper["id"]), ": "]
    if paper.get("authors"):
        words.append(f"{paper['authors']}, ")
    words.append(tag("cite", paper["title"]))
    if paper.get("arxiv"):
        arxiv = str(paper["arxiv"])
        words += [", ", tag("a", f"arXiv:{arxiv}", href=f"https://arxiv.org/abs/{arxiv}")]
    return tag("li", *words)


def _row(book: Book, row: dict, parsed: dict) -> Tag:
    checks = row["checks"]
    span = len(checks) if len(checks) > 1 else None
    first, *others = [_check(check) for check in checks] or [_reason(row)]
    named = tag("th", *_statement(book, row, parsed), scope="row", rowspan=span)
    status = tag("td", badge(row["status"], row["partial"]), rowspan=span, class_="ledger-status")
    lines = [tag("tr", named, status, *first), *(tag("tr", *cells) for cells in others)]
    return tag(
        "tbody",
        *lines,
        id=f"row-{row['id']}",
        data_chapter=short(row["chapter"]),
        data_paper=row["paper"],
        data_kind=row["status"],
        data_extent=extent(row),
        data_source=row["source"],
        data_words=_words(row),
    )


def extent(row: dict) -> str:
    """How much of the statement was checked: whole, part or none."""
    return "none" if not row["checks"] else "part" if row["partial"] else "whole"


def _words(row: dict) -> str:
    """What the text filter searches: the row as words, in lower case."""
    texts = (row["id"], row["title"], row["statement"], row.get("locator", ""))
    return " ".join(f"{text} {plain(str(text))}" for text in texts if text).lower()


def _statement(book: Book, row: dict, parsed: dict) -> list:
    title = _copy(parsed, row, "title")
    href = book.link(row["chapter"], f"#status-{row['id']}")
    place = ", ".join(filter(None, (row["paper"], str(row.get("locator") or ""))))
    source = tag("span", row["source"], title=SOURCE_LABELS[row["source"]], class_="source")
    return [
        tag("p", tag("a", *title, href=href), class_="ledger-title"),
        tag("p", *_copy(parsed, row, "statement")),
        tag("p", place, " · ", source, *_uses(book, row), class_="ledger-note"),
    ]


def _copy(parsed: dict, row: dict, part: str) -> list:
    return [node.deepcopy() for node in parsed.get((row["id"], part), [nodes.Text(row[part])])]


def _uses(book: Book, row: dict) -> list:
    titles = {other["id"]: plain(other["title"]) for other in book.rows}
    links = [tag("a", titles[use], href=f"#row-{use}") for use in row["uses"]]
    separated = [part for link in links for part in (", ", link)][1:]
    return [" · uses ", *separated] if links else []


def _check(check: dict) -> list:
    scope = [tag("p", f"Only for {check['scope']}.", class_="scope")] if check["scope"] else []
    return [
        tag("td", *_ran(check), *scope, data_label="Evidence"),
        tag("td", *_refused(check["counterfeit"]), data_label="Counterfeit"),
    ]


def _ran(check: dict) -> list:
    mark, words = look(check["kind"])
    symbol = tag("span", mark, aria_hidden="true")
    head = tag("span", symbol, f" {words}", class_=f"kind status-{check['kind']}")
    facts = summary(check["facts"])
    return [tag("p", head, f": {facts}" if facts else "", f" ({spent(check['seconds'])})")]


def _refused(fake: dict) -> list:
    return [tag("p", f"{fake['says']} → ", tag("code", fake["witness"]))]


def _reason(row: dict) -> list:
    words = f"Not checked: {row['reason']}" if row["reason"] else UNEXPLAINED
    look = "reason" if row["reason"] else "reason missing"
    return [tag("td", tag("p", words), class_=look, data_label="Evidence"), tag("td")]
