"""The figure with a slider: what the page holds, beside what `test_ntk_curves.py` says of it."""

import json
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from lib import frames

mpl.use("Agg")
WORDS = ["start", "1 < 2", "</script>"]


@pytest.fixture(params=[None, "constrained"])
def filed(monkeypatch, request):
    """What reaches the page: two lines of three frames, the second with a gap."""
    bundles = {}
    monkeypatch.setattr(frames, "emit", lambda name, bundle: bundles.update({name: bundle}))
    plt.close("all")  # what other tests left open
    fig, ax = plt.subplots(layout=request.param)
    ax.set_ylabel("two\nlines")
    first, second = (ax.plot(x, [0, 1, 2, 3])[0] for x in ([0, 1, 2, 3], [0, np.nan, 2, 3]))
    ax.set_ylim(0, 30)
    heights = np.arange(12.0).reshape(3, 4)
    lines = [(first, heights), (second, 2 * heights)]
    frames.slider("s", fig, lines, WORDS, label="step <1>", alt='"two" lines')
    return bundles["s"]


def paths(page):
    return json.loads(re.search(r"frames = (\[\[.*?\]\]), words", page)[1])


def numbers(path):
    return [float(n) for n in re.findall(r"-?\d+\.?\d*", path)]


def test_each_line_is_drawn_as_in_the_middle_frame(filed):
    page = filed["text/html"]
    for k, frames_of_line in enumerate(paths(page)):
        (drawn,) = re.findall(rf'<g id="s-line-{k}">\s*<path d="([^"]*)"', page)
        # Letters are a little wider at 100 dots an inch than in SVG, and move the axes.
        assert np.allclose(numbers(drawn), numbers(frames_of_line[1]), atol=0.06)
        assert frames_of_line[0] != frames_of_line[1] != frames_of_line[2]


def test_higher_is_up_and_a_gap_in_either_direction_is_a_gap(filed):
    first, second = paths(filed["text/html"])
    ends = [numbers(path)[1::2] for path in first]
    assert (np.diff(ends, axis=0) < 0).all()  # SVG counts from the top
    assert [path.count("M") for path in first] == [1, 1, 1]
    assert [re.findall("[ML]", path) for path in second] == [["M", "M", "L"]] * 3


def test_words_are_text_and_end_no_script(filed):
    page = filed["text/html"]
    assert '<output aria-live="polite">1 &lt; 2</output>' in page
    assert page.count("</script>") == 1
    assert json.loads(re.search(r"words = (\[.*?\]);", page)[1]) == WORDS


def test_where_no_page_is_shown_words_stand_for_it(filed):
    assert filed["text/plain"] == '"two" lines (step <1>: 1 < 2)'


def test_the_slider_has_a_place_for_each_frame_and_starts_in_the_middle(filed):
    page = filed["text/html"]
    assert '<input type="range" min="0" max="2" value="1" step="1">' in page
    assert "<label>step &lt;1&gt;\n" in page
    assert page.count('<svg role="img" aria-label="&quot;two&quot; lines"') == 1


def test_the_layout_that_the_figure_asks_for_is_kept(filed, request):
    width, margin = 72 * plt.rcParams["figure.figsize"][0], 0.05 / 1.1
    left = width * (0.125 + 0.775 * margin)  # without a layout, at x = 0
    ((first, *_), _) = paths(filed["text/html"])
    kept = abs(numbers(first)[0] - left) < 0.1
    assert kept == ("None" in request.node.name)


@pytest.mark.parametrize(("heights", "words"), [((3, 2), 3), ((3, 3), 2)])
def test_lines_and_words_of_different_lengths_are_refused(heights, words):
    fig, ax = plt.subplots()
    lines = [(ax.plot([0, 1])[0], np.zeros((n, 2))) for n in heights]
    with pytest.raises(ValueError, match=r"s: lines and words have \[2, 3\] frames; give each"):
        frames.slider("s", fig, lines, WORDS[:words], label="", alt="")
    plt.close(fig)


def test_the_figure_is_closed(filed):
    assert plt.get_fignums() == []


def test_the_picture_can_stand_within_a_page(filed):
    """No XML declaration and no document type, which HTML has only at its start."""
    assert "<?xml" not in filed["text/html"] and "<!DOCTYPE" not in filed["text/html"]
