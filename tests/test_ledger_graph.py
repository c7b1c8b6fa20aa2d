"""The dependency graph: where boxes and arrows go, and what a reader without eyes is told."""

from itertools import pairwise
from xml.etree import ElementTree

import networkx as nx
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

import ledger_graph
from ledger_graph import Claim


def claims(uses: dict[str, list[str]]) -> list[Claim]:
    return [
        Claim(k, f"Claim {k}", "proved", "✓", "proved", f"#row-{k}", uses=tuple(v))
        for k, v in uses.items()
    ]


def drawn(uses: dict[str, list[str]]) -> ElementTree.Element:
    return ElementTree.fromstring(ledger_graph.svg(claims(uses), "g", "A graph"))


SVG = "{http://www.w3.org/2000/svg}"
DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c", "a"], "e": []}


def test_the_graph_links_every_claim_by_name():
    links = drawn(DIAMOND).findall(f"{SVG}a")
    assert [link.get("href") for link in links] == [f"#row-{k}" for k in DIAMOND]
    assert links[3].get("aria-label") == "Claim d: proved; uses Claim b, Claim c, Claim a"


def test_an_implied_arrow_is_not_drawn():
    arrows = [p for p in drawn(DIAMOND).findall(f"{SVG}path") if p.get("class") == "arrow"]
    assert len(arrows) == 4  # d → a follows from d → b → a


def test_an_empty_graph_is_still_an_image():
    assert drawn({}).tag == f"{SVG}svg"


@st.composite
def dags(draw) -> dict[str, list[str]]:
    n = draw(st.integers(1, 12))
    subsets = [draw(st.sets(st.integers(0, k - 1))) if k else set() for k in range(n)]
    return {f"n{k}": [f"n{j}" for j in sorted(used)] for k, used in enumerate(subsets)}


def boxes(svg: ElementTree.Element) -> np.ndarray:
    rects = svg.findall(f"{SVG}a/{SVG}rect")
    return np.array([[float(r.get(k)) for k in ("x", "y", "width", "height")] for r in rects])


@settings(max_examples=60, deadline=None)
@given(dags())
def test_no_two_boxes_overlap_and_none_leaves_the_drawing(uses):
    svg = drawn(uses)
    x, y, w, h = boxes(svg).T
    assert len(x) == len(uses)
    apart = (np.abs(x[:, None] - x) >= w - 0.2) | (np.abs(y[:, None] - y) >= h - 0.2)
    assert (apart | np.eye(len(x), dtype=bool)).all()
    assert min(x.min(), y.min()) >= 0
    assert (x + w).max() <= float(svg.get("width"))
    assert (y + h).max() <= float(svg.get("height"))


@settings(max_examples=60, deadline=None)
@given(dags())
def test_every_claim_stands_to_the_right_of_what_it_uses(uses):
    x = dict(zip(uses, boxes(drawn(uses))[:, 0], strict=True))
    assert all(x[used] < x[user] for user in uses for used in uses[user])


@settings(max_examples=40, deadline=None)
@given(dags())
def test_the_arrows_are_the_transitive_reduction(uses):
    graph = nx.DiGraph([(a, b) for a, used in uses.items() for b in used])
    arrows = [p for p in drawn(uses).findall(f"{SVG}path") if p.get("class") == "arrow"]
    assert len(arrows) == nx.transitive_reduction(graph).number_of_edges()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=6))
def test_boxes_move_as_little_as_possible(wish):
    sizes = [50.0, 8.0, 50.0, 50.0, 8.0, 50.0][: len(wish)]
    placed = np.array(ledger_graph._apart(wish, sizes))
    least = (np.array(sizes)[1:] + np.array(sizes)[:-1]) / 2 + ledger_graph.SLACK
    assert (np.diff(placed) >= least - 1e-9).all()
    rival = scipy.optimize.minimize(
        lambda y: ((y - wish) ** 2).sum(),
        np.cumsum([0, *least]),
        constraints={"type": "ineq", "fun": lambda y: np.diff(y) - least},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert ((placed - wish) ** 2).sum() <= rival.fun + 1e-6 * (1 + rival.fun)


def test_a_planar_drawing_is_found():
    uses = {"a": [], "b": [], "c": ["b"], "d": ["a"], "e": ["c"], "f": ["d"]}
    layers, paths = ledger_graph._layout(claims(uses))
    links = [pair for path in paths for pair in pairwise(path)]
    assert ledger_graph._crossings(layers, links) == 0


def test_crossings_are_counted():
    assert ledger_graph._crossings([["a", "b"], ["c", "d"]], [("a", "d"), ("b", "c")]) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Path cost $\\Phi_p(\\theta)$", "Path cost Φ_p(θ)"),
        ("$\\ell^1$", "\N{SCRIPT SMALL L}^1"),
        ("$\\lambda \\le 1$", "λ≤1"),
    ],
)
def test_mathematics_in_a_title_becomes_words(text, words):
    assert ledger_graph.plain(text) == words
