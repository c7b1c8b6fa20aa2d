"""Hand a value from a chapter's cell to the page: a number, a figure, a verdict.

MyST-NB collects every output whose metadata carries a ``scrapbook`` name.  We write that metadata
ourselves, so a chapter runs wherever IPython does, with or without MyST-NB.
"""

from typing import Any

HIDDEN = "application/papermill.record/"  # front ends do not show what they do not know


def emit(name: str, bundle: dict[str, Any], prefix: str = "", **extra: Any) -> None:
    """Display the MIME ``bundle`` and file it under ``name``; ``extra`` joins its metadata."""
    from IPython.display import display

    filed = {"scrapbook": {"name": name, "mime_prefix": prefix}, **extra}
    display(bundle, raw=True, metadata=filed)


def glue(name: str, value: Any) -> None:
    """File a number or a string under ``name`` for ``{glue:text}`` in the prose, out of sight."""
    emit(name, {f"{HIDDEN}text/plain": repr(value)}, prefix=HIDDEN)


def caption(name: str, markdown: str) -> None:
    """File a piece of Markdown under ``name`` for ``{glue:md}`` in a caption, out of sight."""
    emit(name, {f"{HIDDEN}text/markdown": markdown}, prefix=HIDDEN)


SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def scientific(value: float, digits: int = 1) -> str:
    """A large or small number as a reader writes it: ``scientific(4.9e60)`` is ``4.9·10⁶⁰``."""
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa}·10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def show(latex: str) -> None:
    """Display a formula; every front end renders ``text/latex``."""
    from IPython.display import Latex, display

    display(Latex(latex))
