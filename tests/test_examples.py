"""The graphs and exact quantities that chapters try their statements on."""

import random
from fractions import Fraction

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lib.paths import exact, forward, lifting, paths, unroll
from lib.paths.examples import example_dag, mlp, normal, random_dag, sines


def test_the_example_has_everything():
    dag = example_dag()
    kinds = {(n.kind, n.k) for n in dag.neurons}
    assert kinds == {("input", 1), ("id", 1), ("relu", 1), ("max", 1), ("max", 2)}
    assert len(dag.inputs) == len(dag.outputs) == 2
    skips = [e for v, n in enumerate(dag.neurons) for e in n.edges if v - e.source > 3]
    assert skips and any(n.bias is not None for n in dag.neurons)


@given(st.integers(0, 2**31))
def test_every_parameter_of_a_random_graph_lies_on_a_path(seed):
    dag = random_dag(torch.Generator().manual_seed(seed))
    used = {i for path in paths(dag) for i in path.parameters}
    assert used == set(range(len(dag.names)))


def test_random_graphs_follow_their_seed():
    draw = [repr(random_dag(torch.Generator().manual_seed(s)).neurons) for s in (0, 0, 1)]
    assert draw[0] == draw[1] != draw[2]


def test_sines_follow_the_recipe():
    model = sines(nn.Sequential(nn.Linear(1, 2), nn.Linear(2, 1)))
    flat = torch.cat([p.flatten() for p in model.parameters()])
    expected = torch.sin(0.7 * torch.arange(1, 8, dtype=torch.float64))
    assert torch.equal(flat, expected)


def test_normal_follows_its_seed_and_leaves_the_global_one():
    state = torch.get_rng_state()
    a, b, c = (normal(nn.Linear(3, 2), seed) for seed in (0, 0, 1))
    assert torch.equal(a.weight, b.weight) and not torch.equal(a.weight, c.weight)
    torch.set_rng_state(state)
    model = nn.Linear(3, 2)
    drawn = torch.get_rng_state()
    normal(model, 5)
    assert torch.equal(torch.get_rng_state(), drawn)


def test_mlp_has_relu_between_layers_only():
    kinds = [type(m).__name__ for m in mlp(3, 4, 2)]
    assert kinds == ["Linear", "ReLU", "Linear"]
    assert all(m.bias is None for m in mlp(3, 4, 2, bias=False) if isinstance(m, nn.Linear))


def test_pairs_have_the_signs_and_the_order_that_they_promise():
    dag = example_dag()
    for _, a, b, _ in exact.pairs([dag], 50, seed=0):
        assert all(v * w >= 0 for v, w in zip(a, b, strict=True))
    for _, a, b, _ in exact.pairs([dag], 50, seed=0, ordered=True):
        assert all(v * w >= 0 and abs(w) <= abs(v) for v, w in zip(a, b, strict=True))
    free = exact.pairs([dag], 50, seed=0, same_signs=False)
    assert any(v * w < 0 for _, a, b, _ in free for v, w in zip(a, b, strict=True))


def test_meet_takes_entries_by_absolute_value():
    assert exact.meet(min, [3, -2, 0], [1, -5, 4]) == [1, -2, 0]
    assert exact.meet(max, [3, -2, 0], [1, -5, 4]) == [3, -5, 4]


def test_rescaling_moves_parameters_and_keeps_the_function():
    dag = example_dag()
    (theta, x), *_ = exact.draws(dag, 1, seed=3)
    for v in dag.hidden:
        other = exact.rescaled(dag, theta, v, Fraction(7, 3))
        assert other != theta
        assert forward(dag, other, x) == forward(dag, theta, x)
        assert list(lifting(dag, other)) == list(lifting(dag, theta))


def test_norm_metric_and_change_by_hand():
    dag, _ = unroll(mlp(1, 1, 1, bias=False), (1,))
    assert exact.norm(dag, [2, -3]) == 6
    assert exact.metric(dag, [2, -3], [1, -1]) == 5
    assert exact.change(dag, [2, -3], [1, -1], [2]) == abs(-12 + 2)


def test_fractions_are_exact_and_sometimes_zero():
    values = exact.fractions(random.Random(0), 500)
    assert all(isinstance(v, Fraction) for v in values)
    assert 0 in values and min(values) < 0 < max(values)
    assert min(exact.magnitudes(random.Random(0), 500)) == 0


def test_normalised_layers_keep_the_norms_of_the_outputs():
    layers = exact.matrices(0, (3, 4, 4, 2))
    before = exact.output_norms(layers)
    assert before.max() <= exact.operator_norms(layers)
    best = exact.normalised(layers, 2)
    assert list(exact.output_norms(best)) == list(before)
    assert all(row == 1 for m in best[:2] for row in abs(m).sum(1))
    assert exact.operator_norms(best) == before.max()


def test_moved_by_hand():
    dag, _ = unroll(mlp(1, 1, 1, bias=False), (1,))
    assert exact.moved(dag, [2, -3], [1], [-5]) == 6
