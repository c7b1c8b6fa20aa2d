"""Mend what other extensions write into every page: repeated ids, and roles without a parent."""

from docutils import nodes
from sphinx.application import Sphinx

# Each statement, proof, exercise and solution comes with the same id as the others.
REPEATED = {"proof", "proof-content", "exercise-content", "solution-content"}


def drop_repeated_ids(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """An id may stand once on a page; nothing links to these."""
    for node in doctree.findall(nodes.Element):
        if REPEATED.intersection(node.get("ids", ())):
            node["ids"] = [name for name in node["ids"] if name not in REPEATED]


def visit_citation(self, node: nodes.citation) -> None:
    """docutils writes role="doc-biblioentry", which is deprecated and no child of a list."""
    if not isinstance(node.previous_sibling(), nodes.citation):
        self.body.append('<div role="list" class="citation-list">\n')
    self.body.append(self.starttag(node, "div", classes=["citation"], role="listitem"))


def depart_citation(self, node: nodes.citation) -> None:
    """Close the list after its last entry."""
    self.body.append("</div>\n")
    if not isinstance(node.next_node(descend=False, siblings=True), nodes.citation):
        self.body.append("</div>\n")


def setup(app: Sphinx) -> dict:
    """Sphinx's entry point."""
    app.connect("doctree-resolved", drop_repeated_ids)
    app.add_node(nodes.citation, override=True, html=(visit_citation, depart_citation))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
