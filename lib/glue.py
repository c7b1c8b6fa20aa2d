"""Hand a value from a chapter's cell to the page: a number, a figure, a verdict.

MyST-NB collects every output whose metadata carries a ``scrapbook`` name.  We write that metadata
ourselves, so a chapter runs wherever IPython does, with or without MyST-NB.
"""

from typing import Any


def emit(name: str, bundle: dict[str, Any], **extra: Any) -> None:
    """Display the MIME ``bundle`` and file it under ``name``; ``extra`` joins its metadata."""
    from IPython.display import display

    display(bundle, raw=True, metadata={"scrapbook": {"name": name, "mime_prefix": ""}, **extra})


def glue(name: str, value: Any) -> Any:
    """File a number or a string under ``name`` for ``{glue:text}`` in the prose, and return it."""
    emit(name, {"text/plain": repr(value)})
    return value


def show(latex: str) -> None:
    """Display a formula; every front end renders ``text/latex``."""
    from IPython.display import Latex, display

    display(Latex(latex))
