import itertools
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib import figures
from lib.figures import COLORS, STYLE, band, figure, label_lines, spread, svg, use_style

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _style():
    with mpl.rc_context():
        use_style()
        yield
        plt.close("all")


def curves(ends=(1.0, 1.01, 1.02, 5.0)):
    fig, ax = plt.subplots()
    for name, end in zip("abcd", ends, strict=False):
        ax.plot([0, 1], [0, end], label=name)
    return fig, ax


# --- the file


def test_the_same_figure_gives_the_same_bytes():
    assert svg(curves()[0]) == svg(curves()[0])


def test_a_figure_of_another_style_has_its_bytes_and_glyphs_too():
    with mpl.rc_context():
        mpl.rcdefaults()
        assert svg(curves()[0]) == svg(curves()[0])
        assert "<text" not in svg(curves()[0])


def test_the_file_is_well_formed_svg_without_date_text_or_links_to_load():
    text = svg(curves()[0])
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "<text" not in text  # glyphs are paths
    assert "metadata" not in text
    links = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")]
    assert links
    assert all(link.startswith("#") for link in links)


def test_the_ground_is_opaque_white():
    assert "fill: #ffffff" in svg(curves()[0])


def test_figure_hands_over_svg_and_closes(monkeypatch):
    seen = []
    monkeypatch.setattr(figures, "emit", lambda name, bundle: seen.append((name, bundle)))
    fig, _ = curves()
    figure("curves", fig)
    ((name, bundle),) = seen
    assert name == "curves"
    assert set(bundle) == {"image/svg+xml"}
    assert plt.get_fignums() == []


def test_the_style_is_set_only_by_asking():
    with mpl.rc_context():
        mpl.rcdefaults()
        plt.subplots()
        assert mpl.rcParams["font.size"] == 10
        use_style()
        assert mpl.rcParams["font.size"] == STYLE["font.size"]


# --- colours: WCAG 2 contrast, and CIE76 differences as seen with colour-vision deficiencies


def rgb(name):
    return np.array([int(COLORS[name][i : i + 2], 16) / 255 for i in (1, 3, 5)])


def linear(c):
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def luminance(c):
    return linear(c) @ [0.2126, 0.7152, 0.0722]


def contrast(a, b):
    low, high = sorted([luminance(a), luminance(b)])
    return (high + 0.05) / (low + 0.05)


def dark_mode(c, invert=0.93):
    """CSS filter: invert(.93) hue-rotate(180deg); the second is a reflection about the luma."""
    c = c * (1 - invert) + (1 - c) * invert
    return np.clip(2 * (c @ [0.213, 0.715, 0.072]) - c, 0, 1)


def lab(c):
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ c / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


VISION = {  # Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB
    "usual": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("name", COLORS)
@pytest.mark.parametrize("mode", [np.asarray, dark_mode])
def test_every_colour_is_legible_on_the_ground(name, mode):
    assert contrast(mode(rgb(name)), mode(np.ones(3))) >= 4.5


@pytest.mark.parametrize("vision", VISION)
def test_any_two_colours_stay_apart(vision):
    def seen(name):
        return lab(np.clip(np.asarray(VISION[vision]) @ linear(rgb(name)), 0, 1))

    for a, b in itertools.combinations(COLORS, 2):
        assert np.linalg.norm(seen(a) - seen(b)) >= 20, (a, b)


def test_text_is_legible_on_a_phone():
    pixels = STYLE["figure.figsize"][0] * 96  # 1 CSS px is 1/96 in, 1 pt is 4/3 px
    smallest = min(
        v
        for k, v in STYLE.items()
        if k.endswith("size") and k != "lines.markersize" and isinstance(v, int)
    )
    assert smallest * 4 / 3 * 358 / pixels >= 8.5


# --- labels and bands


def label_boxes(fig, ax):
    fig.draw_without_rendering()
    return [t.get_window_extent() for t in ax.texts]


@pytest.mark.parametrize("ends", [(1.0, 1.01, 1.02, 5.0), (2.0, 2.0, 2.0, 2.0), (0, 1, 2, 3)])
def test_labels_do_not_overlap_and_stay_on_the_page(ends):
    fig, ax = curves(ends)
    label_lines(ax)
    boxes = label_boxes(fig, ax)
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(fig.bbox.fully_contains(*corner) for b in boxes for corner in (b.min, b.max))


def test_labels_of_several_lines_do_not_overlap():
    fig, ax = curves()
    for line in ax.get_lines():
        line.set_label("two\nlines")
    label_lines(ax)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(label_boxes(fig, ax), 2))


def test_labels_in_a_subfigure_do_not_overlap():
    fig = plt.figure()
    ax = fig.subfigures(1, 2)[0].subplots()
    for end in (1.0, 1.01, 5.0):
        ax.plot([0, 1], [0, end], label=f"to {end}")
    label_lines(ax)
    boxes = label_boxes(fig, ax)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_labels_do_not_run_into_the_ticks_below():
    fig, ax = curves((0.0, 0.01, 0.02, 5.0))
    ax.set_ylim(0, 5)
    label_lines(ax)
    assert min(box.y0 for box in label_boxes(fig, ax)) > ax.get_window_extent().y0 - 1


def test_labels_are_in_the_colour_and_order_of_their_lines():
    fig, ax = curves()
    label_lines(ax)
    assert [t.get_text() for t in ax.texts] == list("abcd")
    assert [t.get_color() for t in ax.texts] == [line.get_color() for line in ax.get_lines()]
    bottoms = [b.y0 for b in label_boxes(fig, ax)]
    assert bottoms == sorted(bottoms)


def test_a_line_without_label_gets_none_and_nan_tails_are_skipped():
    _, ax = plt.subplots()
    ax.plot([0, 1], [0, 1])
    ax.plot([0, 1, 2], [0, 3, np.nan], label="a")
    label_lines(ax)
    (text,) = ax.texts
    assert text.xy[0] == 1
    assert text.xy[1] == 3


def test_a_label_with_room_stands_level_with_the_end_of_its_line():
    fig, ax = curves((1.0, 3.0, 5.0))
    label_lines(ax)
    for box, line in zip(label_boxes(fig, ax), ax.get_lines(), strict=True):
        end = ax.transData.transform(line.get_xydata()[-1])[1]
        assert abs((box.y0 + box.y1) / 2 - end) < 3  # pixels, of letters 12 high


def test_lines_without_a_word_or_a_point_get_no_label():
    _, ax = plt.subplots()
    (bare,) = ax.plot([0, 1], [0, 1])
    bare.set_label("")
    ax.plot([0, 1], [np.nan, np.nan], label="a")
    ax.plot([0, 1], np.ma.masked_array([2.0, 3.0], mask=[False, True]), label="b")
    label_lines(ax)
    assert [(text.get_text(), *text.xy) for text in ax.texts] == [("b", 0, 2)]


def test_a_line_that_leaves_the_axes_has_its_label():
    fig, ax = curves((1.0, 2.0))
    ax.set_ylim(0, 1.5)
    label_lines(ax)
    assert all(box.height > 5 for box in label_boxes(fig, ax))


def test_nothing_to_label_is_fine():
    _, ax = plt.subplots()
    label_lines(ax)
    assert len(ax.texts) == 0


heights = st.lists(st.floats(-100, 100), max_size=8)


@given(heights, st.floats(0.1, 10))
def test_spread_keeps_the_gap_and_the_order(values, gap):
    placed = spread(values, gap)
    order = np.argsort(values, kind="stable")
    assert (np.diff(placed[order]) >= gap - 1e-9).all()


@given(heights, st.floats(0.1, 10))
def test_spread_moves_nothing_that_is_already_apart(values, gap):
    apart = spread(values, gap)
    np.testing.assert_allclose(spread(apart, gap * (1 - 1e-9)), apart, atol=1e-9)


def test_spread_is_the_nearest_choice():
    np.testing.assert_allclose(spread([0, 0, 10], 1), [-0.5, 0.5, 10])
    np.testing.assert_allclose(spread([0.2, 0, 0.1], 1), [1.1, -0.9, 0.1])
    np.testing.assert_allclose(spread([0, 1], [1, 3]), [-0.5, 1.5])  # touching: 2 apart
    np.testing.assert_allclose(spread([10, 0, 0.1], [9, 1, 1]), [10, -0.45, 0.55])
    np.testing.assert_allclose(spread([0.2, 0, 5], 1, floor=0), [1.5, 0.5, 5])


def test_band_draws_the_mean_and_the_range():
    _, ax = plt.subplots()
    runs = np.array([[0.0, 2.0, 1.0], [0.0, 1.0, 1.0], [3.0, 6.0, 1.0]])
    line = band(ax, [0, 1, 2], runs, color=COLORS["blue"], label="a", marker="o")
    np.testing.assert_array_equal(line.get_ydata(), [1, 3, 1])
    assert (line.get_color(), line.get_label(), line.get_marker()) == (COLORS["blue"], "a", "o")
    (area,) = ax.collections
    assert mpl.colors.to_hex(area.get_facecolor()[0]).upper() == COLORS["blue"]
    assert area.get_facecolor()[0][3] < 1  # what is behind shows through
    low, high = area.get_paths()[0].get_extents().intervaly
    assert (low, high) == (0, 6)


def test_band_between_quantiles():
    _, ax = plt.subplots()
    runs = np.arange(101)[:, None] * np.array([1.0, 2.0])
    band(ax, [0, 1], runs, color=COLORS["blue"], between=(0.1, 0.75))
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert {10.0, 75.0, 20.0, 150.0} <= set(heights.round(9))
    assert (heights.min(), heights.max()) == (10, 150)


@pytest.mark.parametrize("runs", [[1.0, 2.0], [[1.0, 2.0, 3.0]]])
def test_band_refuses_runs_that_do_not_fit(runs):
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match="one row per run"):
        band(ax, [0, 1], runs, color="black")
