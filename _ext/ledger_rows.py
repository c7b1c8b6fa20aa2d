"""The rows of the ledger: one YAML file beside each chapter, checked entry by entry."""

import re
from pathlib import Path

import yaml
from sphinx.environment import BuildEnvironment
from sphinx.errors import SphinxError

ROW_KEYS = {"id", "title", "paper", "locator", "source", "statement", "uses", "reason"}
NEEDED = ("id", "title", "paper", "source", "statement")
PAPER_KEYS = {"id", "arxiv", "title", "authors"}


class LedgerFileError(SphinxError):
    """Rows and records do not fit; nothing on the page could be trusted."""

    category = "Ledger"


class _NumberedLoader(yaml.SafeLoader):
    """Gives each mapping the line it starts on, for messages that point at the file."""

    def construct_mapping(self, node, deep=False):
        return super().construct_mapping(node, deep) | {"line": node.start_mark.line + 1}


def read_chapter(path: Path, name: str) -> tuple[list[dict], list[dict]]:
    """Return the papers and the rows of one chapter's .yml; ``name`` stands in the messages.

    Raises LedgerFileError, with the line, for an entry that lacks a key or has an unknown one.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _NumberedLoader) or {}
    except yaml.YAMLError as error:
        raise LedgerFileError(f"{name}: {error}") from None
    papers, rows = data.get("papers") or [], data.get("rows") or []
    known = {paper.get("id") for paper in papers} | {"companion"}
    for paper in papers:
        _expect(paper, ("id", "title"), PAPER_KEYS, name)
    for row in rows:
        _expect(row, NEEDED, ROW_KEYS, name)
        if row["paper"] not in known:
            raise LedgerFileError(f"{name}:{row['line']}: paper {row['paper']!r} is not listed")
        if not re.fullmatch(r"[a-z][a-z0-9-]*", str(row["id"])):
            raise LedgerFileError(f"{name}:{row['line']}: an id is lower case, digits and hyphens")
        row.setdefault("uses", [])
        row.setdefault("reason", "")
        row["file"] = name
    return papers, rows


def _expect(entry: dict, needed: tuple, allowed: set, name: str) -> None:
    place = f"{name}:{entry['line']}"
    if missing := [key for key in needed if not entry.get(key)]:
        raise LedgerFileError(f"{place}: needs {', '.join(missing)}")
    if unknown := sorted(entry.keys() - allowed - {"line"}):
        raise LedgerFileError(f"{place}: unknown key {unknown[0]!r}; allowed: {sorted(allowed)}")


def read_rows(env: BuildEnvironment, docnames: list[str]) -> tuple[dict, list[dict]]:
    """Return all papers by id, and all rows, each with the document of its chapter."""
    papers, rows = {}, []
    for doc in docnames:
        path = Path(env.srcdir, f"{doc}.yml")
        if path.is_file():
            some, own = read_chapter(path, f"{doc}.yml")
            papers |= {p["id"]: {k: v for k, v in p.items() if k != "line"} for p in some}
            rows += [row | {"chapter": doc} for row in own]
    return papers, rows
