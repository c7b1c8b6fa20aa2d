"""What a chapter hands to the page."""

import pytest

from lib import glue


@pytest.fixture
def shown(monkeypatch):
    """What reaches the display, as (bundle, metadata)."""
    calls = []

    def display(bundle, raw=False, metadata=None):
        calls.append((bundle if raw else {"text/latex": bundle._repr_latex_()}, metadata))

    monkeypatch.setattr("IPython.display.display", display)
    return calls


def test_a_glued_number_is_filed_out_of_sight(shown):
    glue.glue("answer", 42)
    bundle, metadata = shown[0]
    assert bundle == {"application/papermill.record/text/plain": "42"}
    glue.glue("word", "4·2")
    assert shown[1][0] == {"application/papermill.record/text/plain": "'4·2'"}
    assert metadata["scrapbook"] == {
        "name": "answer",
        "mime_prefix": "application/papermill.record/",
    }


def test_a_caption_is_markdown_out_of_sight(shown):
    glue.caption("words", "*two* records")
    ((bundle, metadata),) = shown
    assert bundle == {"application/papermill.record/text/markdown": "*two* records"}
    assert metadata["scrapbook"] == {
        "name": "words",
        "mime_prefix": "application/papermill.record/",
    }


def test_a_formula_is_shown_as_latex(shown):
    glue.show("$x^2$")
    assert shown == [({"text/latex": "$x^2$"}, None)]


def test_an_emitted_bundle_is_shown_and_carries_its_metadata(shown):
    glue.emit("check/x", {"text/plain": "proved"}, check={"row": "x"})
    ((bundle, metadata),) = shown
    assert bundle == {"text/plain": "proved"}
    assert metadata["scrapbook"]["mime_prefix"] == ""
    assert metadata["check"] == {"row": "x"}


@pytest.mark.parametrize(
    ("value", "digits", "words"),
    [(4.91e60, 1, "4.9·10⁶⁰"), (8e28, 0, "8·10²⁸"), (1.5e-7, 1, "1.5·10⁻⁷"), (1, 0, "1·10⁰")],
)
def test_scientific_notation(value, digits, words):
    assert glue.scientific(value, digits) == words


def test_scientific_notation_has_one_decimal_unless_told():
    assert glue.scientific(123.0) == "1.2·10²"
