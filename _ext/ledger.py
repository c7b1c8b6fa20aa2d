"""The ledger on the page: status badges, a tally per chapter, the table, the graph, ledger.json.

A chapter's rows are ``<chapter>.yml`` beside it.  Its checks are records that running it left in
its outputs.  This extension collects both, lets :func:`lib.ledger.ledger` join them, and draws the
result; it decides nothing about a status itself.

Records are read where MyST-NB files glued outputs, by the keys it keeps in the environment: that
holds for a fresh run, for outputs from the cache, for a build of one changed page, and for pages
read in parallel.
"""

import json
from pathlib import Path

from docutils import nodes
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.environment.collectors import EnvironmentCollector
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from ledger_badges import VISITORS, Book, Tag, anchored_badge, counts, tally, totals
from ledger_page import page
from ledger_rows import LedgerFileError, read_rows
from lib.ledger import LedgerError, ledger

logger = logging.getLogger(__name__)


def reading_order(env: BuildEnvironment) -> list[str]:
    """Documents as the table of contents lists them, then any that it does not list."""
    order, stack = {}, [env.config.root_doc]
    while stack:
        doc = stack.pop()
        if doc not in order:
            order[doc] = None
            stack += reversed(env.toctree_includes.get(doc, []))
    return [*(doc for doc in order if doc in env.found_docs), *sorted(env.found_docs - {*order})]


# --- records: what the checks left in the outputs


def read_records(env: BuildEnvironment, docnames: list[str]) -> list[dict]:
    """Return the records of all checks that ran, in reading order."""
    data = NbMetadataCollector.get_doc_data(env)
    return [record for doc in docnames for record in _records(env, doc, data.get(doc, {}))]


def _records(env: BuildEnvironment, doc: str, data: dict) -> list[dict]:
    # The keys come from the environment: a file outlives the last check of its page.
    keys = [key for key in data.get("glue") or [] if key.startswith("check/")]
    if not keys:
        return []
    path = Path(env.mystnb_config.output_folder, f"{doc}.glue.json")
    saved = json.loads(path.read_text(encoding="utf-8"))
    return [saved[key]["metadata"]["check"] for key in keys]


# --- what a page asks for: placeholders while reading, filled in when all pages are read


class StatusMark(nodes.Inline, nodes.Element):
    """A badge to come; ``row`` says whose."""


class TallyMark(nodes.General, nodes.Element):
    """The counts of this chapter, or of the chapter ``of``, to come."""


class LedgerMark(nodes.General, nodes.Element):
    """The whole ledger to come; each child holds one row's parsed title and statement."""


class StatusRole(SphinxRole):
    """``{status}`pm-main```: the computed status of a row, at its statement."""

    def run(self):
        mark = StatusMark(row=self.text)
        self.set_source_info(mark)
        return [mark], []


class TallyDirective(SphinxDirective):
    """``:::{tally}``: how many rows of this chapter, or of the book, have which status.

    With the name of a chapter: only the counts, of that one.
    """

    optional_arguments = 1

    def run(self):
        other = self.env.relfn2path(self.arguments[0])[0] if self.arguments else None
        if other and other not in self.env.found_docs:
            raise self.error(f"tally of {other!r}, which is no page: name a chapter")
        mark = TallyMark(of=other)
        self.set_source_info(mark)
        return [mark]


class LedgerDirective(SphinxDirective):
    """``:::{ledger}``: the dependency graph and the table of all rows."""

    def run(self):
        mark = LedgerMark()
        self.set_source_info(mark)
        for row in read_rows(self.env, sorted(self.env.found_docs))[1]:
            for part in ("title", "statement"):
                children, messages = self.parse_inline(str(row[part]), lineno=self.lineno)
                mark += nodes.inline("", "", *children, *messages, row=row["id"], part=part)
        return [mark]


class MarkCollector(EnvironmentCollector):
    """Remembers which page asks for what, through parallel reading and incremental builds."""

    def clear_doc(self, app, env, docname):
        marks(env).pop(docname, None)

    def merge_other(self, app, env, docnames, other):
        marks(env).update({doc: marks(other)[doc] for doc in docnames if doc in marks(other)})

    def process_doc(self, app, doctree):
        found = {
            "badges": [(mark["row"], mark.line) for mark in doctree.findall(StatusMark)],
            "tally": any(doctree.findall(TallyMark)),
            "ledger": any(doctree.findall(LedgerMark)),
        }
        if any(found.values()):
            marks(app.env)[app.env.docname] = found


def marks(env: BuildEnvironment) -> dict[str, dict]:
    """What each page asks for, by document; it lives in the environment."""
    if not hasattr(env, "ledger_marks"):
        env.ledger_marks = {}
    return env.ledger_marks


# --- events, in the order Sphinx emits them


def reread_ledger(app: Sphinx, env: BuildEnvironment, added, changed, removed) -> list[str]:
    """A .yml may have changed, or be new: the ledger page parses all statements again."""
    return [doc for doc, found in marks(env).items() if found["ledger"] and doc not in removed]


def join(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Compute all statuses, and ask for every page that shows one to be written again."""
    order = reading_order(env)
    papers, rows = read_rows(env, order)
    try:
        rows = ledger(rows, read_records(env, order))
    except LedgerError as error:
        raise LedgerFileError(str(error)) from None
    env.ledger = {"papers": papers, "rows": rows}
    return list(marks(env))


def warn(app: Sphinx, env: BuildEnvironment) -> None:
    """Every row has exactly one badge, every badge a row, every book one ledger."""
    badges = {}
    for doc, found in marks(env).items():
        for row, line in found["badges"]:
            badges.setdefault(row, []).append((doc, line))
    rows = {row["id"]: row for row in env.ledger["rows"]}
    for name, places in badges.items():
        if name not in rows:
            _warn(f"status of {name!r}, which is no row of a chapter's .yml: add it", places[0])
        for place in places[1:]:
            _warn(f"a second badge for {name!r}: a statement stands once", place)
    for row in rows.values():
        if row["id"] not in badges:
            where = f"{row['file']}:{row['line']}"
            _warn(f"row {row['id']!r} has no badge: write {{status}}`{row['id']}`", where)
    pages = [doc for doc, found in marks(env).items() if found["ledger"]]
    for doc in pages[1:]:
        _warn("a second ledger: its rows already have their addresses on another page", (doc, 1))


def _warn(message: str, location) -> None:
    logger.warning(message, location=location, type="ledger")


def fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put what was asked for in the place of each placeholder."""
    book = Book(app.builder, docname, _home(app.env), **app.env.ledger)
    rows = {row["id"]: row for row in book.rows}
    for mark in list(doctree.findall(StatusMark)):
        row = rows.get(mark["row"])
        mark.replace_self([anchored_badge(book, row)] if row else [])
    for mark in list(doctree.findall(TallyMark)):
        mark.replace_self(counts(book, mark["of"]) if mark["of"] else tally(book))
    for mark in list(doctree.findall(LedgerMark)):
        parsed = {(part["row"], part["part"]): part.children for part in mark}
        mark.replace_self(page(book, parsed))


def _home(env: BuildEnvironment) -> str | None:
    return next((doc for doc, found in marks(env).items() if found["ledger"]), None)


def write_json(app: Sphinx, exception: Exception | None) -> None:
    """Leave the ledger as data beside the pages, for whoever wants to read it with a program."""
    if exception or app.builder.format != "html" or not hasattr(app.env, "ledger"):
        return
    text = json.dumps(as_data(app), indent=1, ensure_ascii=False, sort_keys=True)
    Path(app.outdir, "ledger.json").write_text(text + "\n", encoding="utf-8")


def as_data(app: Sphinx) -> dict:
    """The ledger as plain data; rows and checks in reading order."""
    rows = app.env.ledger["rows"]
    hidden = ("line", "file")
    return {
        "title": app.config.html_title or app.config.project,
        "papers": list(app.env.ledger["papers"].values()),
        "rows": [{k: v for k, v in row.items() if k not in hidden} for row in rows],
        "totals": totals(rows),
        "checks": sum(len(row["checks"]) for row in rows),
    }


def setup(app: Sphinx) -> dict:
    """Sphinx's entry point."""
    app.setup_extension("repairs")  # links to statements need ids that stand once
    for mark in (StatusMark, TallyMark, LedgerMark):
        app.add_node(mark)  # never written: fill() replaces each
    app.add_node(Tag, **VISITORS)
    app.add_role("status", StatusRole())
    app.add_directive("tally", TallyDirective)
    app.add_directive("ledger", LedgerDirective)
    app.add_env_collector(MarkCollector)
    app.connect("env-get-outdated", reread_ledger)
    app.connect("env-updated", join)
    app.connect("env-check-consistency", warn)
    app.connect("doctree-resolved", fill)
    app.connect("build-finished", write_json)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
