"""The inequalities of the proof and their counterfeits; margins over all inputs, enumerated."""

from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
import torch

from lib.maxpool.benchmark import fastest, main, rows
from lib.maxpool.dynamics import (
    Halves,
    Hyperparameters,
    State,
    first_layer,
    halves,
    hyperparameters,
    initial_network,
    lucky_probability,
    max_margin_outer,
)
from lib.maxpool.lemmas import (
    STATEMENTS,
    Lottery,
    class_fractions,
    count_slacks,
    lemma_slacks,
    lottery,
)
from lib.maxpool.margin import (
    enumerated_luck,
    exact_risk,
    margin_constants,
    margin_vector,
    max_margin_linear,
    partial_luck,
    real_complexity,
    solved_margin,
    support,
    support_margin,
    widest,
)
from lib.maxpool.network import MaxPoolNet, pooled
from lib.maxpool.record_lemmas import LEMMAS, LemmaConfig, drawn, run_cell
from lib.maxpool.subsets import codes, outputs, pooled_gradients, ranking
from lib.maxpool.task import PatternTask
from lib.runs import records, verifying
from lib.runs.plan import Plan

TINY = PatternTask(5, 6, 4)
PROOF = PatternTask(5, 5, 6)
CONFIG = LemmaConfig(dimensions=(3, 4), samples=(8, 40), seeds=5, n=4, steps=2)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def trajectory(hyper, task=PROOF, m=200, copies=6, seed=0):
    """Halves, initial network, and all states."""
    generator = seeded(seed)
    half = halves(task.sample(m, generator, copies=copies))
    start, signs = initial_network(task, hyper, generator, copies=copies)
    return half, start, signs, list(first_layer(task, half, start, signs, hyper))


def slacks(hyper, task=PROOF, **options):
    """The smallest of each slack over steps and copies."""
    half, start, signs, states = trajectory(hyper, task)
    parts = [lemma_slacks(task, half, start, signs, s, hyper, **options) for s in states]
    return {name: min(float(p[name].min()) for p in parts) for name in parts[0]}


# --- the lemmas


def test_every_inequality_holds_at_the_hyperparameters_of_the_theorem():
    found = slacks(hyperparameters(PROOF))
    assert found.keys() == STATEMENTS.keys()
    assert all(0 <= slack < np.inf for slack in found.values()), found


def test_every_inequality_holds_with_fewer_patterns_than_dimensions():
    task = PatternTask(4, 7, 5)
    found = slacks(hyperparameters(task, dimension=4), task)
    assert all(0 <= slack < np.inf for slack in found.values()), found


@pytest.mark.parametrize("growth", [1 / 3, 1 / 4])
def test_a_faster_growth_is_refuted(growth):
    found = slacks(hyperparameters(PROOF), growth=growth)
    assert found["growth_plus"] < 0
    assert found["growth_minus"] < 0


def test_too_large_a_radius_breaks_what_needs_it():
    hyper = hyperparameters(PROOF)
    large = Hyperparameters(hyper.k, hyper.steps, hyper.rate, radius=10 * hyper.rate)
    assert slacks(large)["norms"] < 0


def test_too_large_a_rate_breaks_what_needs_it():
    hyper = hyperparameters(PROOF)
    fast = Hyperparameters(hyper.k, hyper.steps, 400 * hyper.rate, 2 * hyper.rate)
    found = slacks(fast)
    assert min(found[name] for name in ("half", "quarter", "rate_low")) < 0


def test_the_slacks_are_what_a_direct_look_finds():
    """Norms, outputs and winners on the training inputs themselves, by pooling over patches."""
    hyper = hyperparameters(PROOF)
    sample = PROOF.sample(100, seeded(1))
    half = halves(sample)
    start, signs = initial_network(PROOF, hyper, seeded(2))
    *_, last = first_layer(PROOF, half, start, signs, hyper)
    found = lemma_slacks(PROOF, half, start, signs, last, hyper)
    x, y, filters = sample.x[:50], sample.y[:50], last.filters
    largest = filters.norm(dim=-1).max() / (hyper.rate * 6)
    torch.testing.assert_close(found["norms"], 1 - largest)
    assert found["quarter"] <= 0.25 - MaxPoolNet(filters, signs)(x).abs().max()
    chosen = lottery(PROOF, start, signs).plus
    overlaps = x[y > 0] @ filters[chosen].T  # (positive inputs, patches, lucky filters)
    winners = sample.which[:50][y > 0].gather(-1, overlaps.argmax(1))
    assert (winners == 0).all()
    rivals = overlaps.topk(2, dim=1).values
    assert found["winner_plus"] * hyper.rate <= (rivals[:, 0] - rivals[:, 1]).min() + 1e-18
    grown = filters[chosen, 0].min() / hyper.rate - 5 / 9
    torch.testing.assert_close(found["growth_plus"], grown)


def test_every_slack_of_a_network_made_by_hand():
    """Three filters: one lucky for each class, one not; after 2 steps at rate 1 from radius 1/2."""
    task, hyper = PatternTask(3, 3, 2), Hyperparameters(k=3, steps=2, rate=1.0, radius=0.5)
    start = torch.tensor([[0.4, 0.1, 0.2], [0.1, 0.3, 0.0], [0.0, 0.0, 0.5]]).double()
    filters = torch.tensor([[1.4, -0.1, 0.3], [0.2, 1.1, -0.4], [0.0, 0.0, -3.0]]).double()
    signs, code = torch.tensor([1.0, -1.0, 1.0]).double(), torch.tensor([5, 5, 5, 6])
    half = Halves(code, torch.tensor([1.0, 1.0, 1.0, -1.0]).double(), code, signs)
    state = State(2, filters, outputs(ranking(filters, 3), signs))
    low, high = 1 / (1 + np.exp(0.25)), 1 / (1 + np.exp(-0.25))
    expected = {
        "fractions": 1 / 4 - 1 / 3,
        "norms": 0,
        "outputs": 1 - 1.2 / 9,  # the largest |N| is that of {o_1}: 1.4 - 0.2
        "half": 1 / 2 - 1.2,
        "quarter": 1 / 4 - 1.2,
        "growth_plus": 1.4 - 2 / 9,
        "others_plus": 1 - 0.3 / 0.5,
        "winner_plus": 1.4 - 0.3,
        "growth_minus": 1.1 - 2 / 9,
        "others_minus": 1 - 0.2 / 0.5,
        "winner_minus": 1.1,
        "values": 2 * 2 - 1.4,
        "rate_low": min(0.5 - 0.75 * low, 0.4 - 0.25 * low),
        "rate_high": min(0.75 * high - 0.5, 0.25 * high - 0.4),
    }
    found = lemma_slacks(task, half, start, signs, state, hyper)
    assert {name: float(slack) for name, slack in found.items()} == pytest.approx(
        expected, abs=1e-6
    )


def test_lucky_filters_are_counted_for_their_own_sign():
    start = torch.tensor([[2.0, 1, 1], [1, 2, 1], [2, 3, 1], [2, 3, 1]], dtype=torch.float64)
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    tickets = lottery(PatternTask(3, 3, 2), start, signs)
    assert tickets.plus.tolist() == [True, False, True, False]
    assert tickets.minus.tolist() == [False, True, False, True]


def test_count_slacks_are_distances_to_both_ends():
    task = PatternTask(4, 4, 2)  # of 16 filters between 1 and 4

    def slack(plus, minus):
        flags = [torch.arange(16) < count for count in (plus, minus)]
        return float(count_slacks(task, Lottery(*flags)))

    assert slack(1, 2) == 0
    assert slack(0, 2) == -1 / 4
    assert slack(2, 5) == -1 / 4
    assert slack(2, 3) == 1 / 4


def test_luck_is_as_frequent_as_the_lemma_says():
    """200 networks with 8d³ + 1 channels: mean within 4.5 standard errors, all inside."""
    task, hyper = PatternTask(3, 3, 2), hyperparameters(PatternTask(3, 3, 2))
    tickets = lottery(task, *initial_network(task, hyper, seeded(), copies=200))
    p = float(lucky_probability(3)) / 2
    counts = tickets.plus.sum(-1).double()
    assert abs(counts.mean() / hyper.k - p) < 4.5 * (p * (1 - p) / 200 / hyper.k) ** 0.5
    assert (count_slacks(task, tickets) > 0).all()


def test_a_statement_about_no_filter_is_vacuous():
    hyper = hyperparameters(PROOF)
    half, start, signs, states = trajectory(hyper, m=20, copies=1)
    found = lemma_slacks(PROOF, half, start, 0 * signs, states[1], hyper)
    assert torch.isinf(found["growth_plus"]).all()
    assert torch.isfinite(found["norms"]).all()


def test_class_fractions_are_of_the_first_half():
    half = halves(TINY.sample(9, seeded()))
    assert class_fractions(half)[0] == (half.first_y > 0).double().sum() / 5
    assert class_fractions(half).sum() == 1


# --- over the whole distribution


@pytest.mark.parametrize("task", [TINY, PatternTask(7, 7, 3), PatternTask(3, 3, 5)])
def test_the_support_is_that_of_the_task(task):
    labels, chances = support(task)
    expected = {sum(1 << p for p in chosen): label for label, chosen in task.support()}
    assert {c: int(labels[c]) for c in labels.nonzero()[:, 0].tolist()} == expected
    for label, chosen in task.support():
        code = sum(1 << p for p in chosen)
        assert float(chances[code]) == float(task.probability(label, chosen))
    assert float(chances.sum()) == pytest.approx(1, abs=1e-14)


def test_margin_risk_and_width_are_those_over_all_inputs():
    which, y = TINY.points()
    x, y = TINY.patches(which), y.double()
    hyper = Hyperparameters(k=7, steps=1, rate=1.0, radius=1.0)
    filters, outer = initial_network(TINY, hyper, seeded(4), copies=3)
    values = MaxPoolNet(filters, outer)(x.expand(3, *x.shape))
    torch.testing.assert_close(support_margin(TINY, filters, outer), (y * values).amin(-1))
    wrong = ((values > 0) != (y > 0)).double().mean(-1)
    assert (wrong > 0).all()
    torch.testing.assert_close(exact_risk(TINY, filters, outer), wrong)
    z = pooled(filters, x.expand(3, *x.shape))
    torch.testing.assert_close(widest(TINY, filters), z.square().sum(-1).amax(-1))
    expected = outer.square().sum(-1) * widest(TINY, filters)
    torch.testing.assert_close(real_complexity(TINY, filters, outer), expected)


def test_an_output_of_zero_counts_as_negative():
    """A network that sees pattern 1 alone gives 0 to positive inputs."""
    filters = torch.eye(6, dtype=torch.float64)[1:2]
    outer = torch.ones(1, dtype=torch.float64)
    assert float(exact_risk(TINY, filters, -outer)) == pytest.approx(0.5)
    assert float(exact_risk(TINY, filters, outer)) == pytest.approx(1)


def test_the_vector_of_the_proof_has_margin_one_and_bounded_complexity():
    hyper = hyperparameters(PROOF)
    _, start, signs, states = trajectory(hyper)
    vector = margin_vector(lottery(PROOF, start, signs), hyper, 5)
    size = vector.max().item()
    assert set(vector.unique().tolist()) == {-size, 0, size}
    assert size == pytest.approx(80 * 5 / (hyper.k * hyper.rate * 5))
    assert (support_margin(PROOF, states[-1].filters, vector) > 1).all()
    complexity = real_complexity(PROOF, states[-1].filters, vector)
    assert (complexity < 51_200 * 5).all()
    assert (support_margin(PROOF, states[0].filters, vector) < 1).all()  # before the first step


def test_the_learned_classifier_makes_no_mistake_and_is_much_simpler_than_its_bound():
    hyper = hyperparameters(PROOF)
    half, _, _, states = trajectory(hyper)
    outer = max_margin_outer(PROOF, states[-1].filters, half)
    assert (exact_risk(PROOF, states[-1].filters, outer) == 0).all()
    assert (real_complexity(PROOF, states[-1].filters, outer) < 7).all()


def test_ideal_lucky_filters_have_complexity_two():
    """Three for each class, each a multiple of its pattern."""
    filters = torch.eye(5, dtype=torch.float64)[[0, 0, 0, 1, 1, 1]]
    outer = torch.tensor([1.0, 1, 1, -1, -1, -1], dtype=torch.float64) / 3
    task = PatternTask(5, 5, 4)
    assert float(support_margin(task, filters, outer)) == pytest.approx(1)
    assert float(real_complexity(task, filters, outer)) == pytest.approx(2)


def test_the_constants_of_the_proof():
    d = sp.Symbol("d", positive=True)
    assert margin_constants() == (1, 51_200 * d)
    assert margin_constants(leak=Fraction(1, 40)).margin == 0
    assert margin_constants(size=160).complexity == 4 * 51_200 * d


def test_sharper_lemmas_give_a_constant_below_650():
    """With growth f/(1 + e^(1/4)), f ≥ 1/3, leak r and ‖w‖ ≤ r + t η_1/(1 + e^(-1/4))."""
    growth, value = (1 / (1 + sp.exp(sp.Rational(sign, 4))) for sign in (1, -1))
    given = {"growth": growth / 3, "leak": Fraction(1, 200), "value": value + sp.Rational(1, 200)}
    size = 1 / margin_constants(size=1, **given).margin
    sharp = margin_constants(size=size, **given)
    assert sp.simplify(sharp.margin) == 1
    assert 647 < (sharp.complexity / sp.Symbol("d", positive=True)).evalf() < 650


# --- linear classifiers


@pytest.mark.parametrize(("l", "n"), [(3, 2), (4, 3), (5, 3), (4, 5)])
def test_the_max_margin_linear_classifier_has_squared_norm_2n(l, n):  # noqa: E741
    task = PatternTask(l, l, n)
    which, y = task.points()
    w = max_margin_linear(task)
    margins = y * (task.patches(which) * w).sum((-2, -1))
    assert (margins == 1).all()
    assert w.square().sum() == 2 * n
    assert solved_margin(task) == pytest.approx(2 * n, rel=1e-6)


# --- partial luck


@pytest.mark.parametrize(("l", "n"), [(4, 3), (6, 4), (5, 2)])
def test_partial_luck_is_enumerated(l, n):  # noqa: E741
    values = [partial_luck(l, h, n) for h in range(l - 1)]
    assert values == [enumerated_luck(l, h, n) for h in range(l - 1)]
    assert (values[0], values[-1]) == (1, 0)
    with pytest.raises(ValueError, match="spurious patterns"):
        partial_luck(l, l - 1, n)


def test_the_expected_first_step_is_a_quarter_of_the_luck():
    """Over the whole distribution, where all slopes are 1/2: exact up to rounding."""
    which, y = TINY.points()
    amounts = y.double() / 2 / len(y)
    for beaten in range(4):
        w = torch.tensor([[1.0, -1, -1, -1, -1, 5]], dtype=torch.float64)
        w[0, 2 : 2 + beaten] = 2
        step = pooled_gradients(ranking(w, 5), codes(which), amounts)[0, 0]
        assert float(step) == pytest.approx(float(partial_luck(5, beaten, 4)) / 4, abs=1e-15)


# --- the sweep


def test_a_cell_does_not_depend_on_how_many_seeds_are_in_memory():
    cell = {"dimension": 4, "m": 40}
    many = run_cell(CONFIG, cell, "cpu", {})
    one = run_cell(LemmaConfig(**vars(CONFIG) | {"at_once": 1}), cell, "cpu", {})
    assert many.keys() == one.keys()
    for name, array in many.items():
        np.testing.assert_allclose(array, one[name], rtol=1e-9, atol=1e-12)


def test_cells_have_the_same_shapes_and_hold_what_the_lemmas_say():
    results = [run_cell(CONFIG, cell, "cpu", {}) for cell in LEMMAS.cells(CONFIG)]
    shapes = [{name: array.shape for name, array in r.items()} for r in results]
    assert all(s == shapes[0] for s in shapes)
    assert {name.removeprefix("slack_") for name in shapes[0] if "slack_" in name} == {*STATEMENTS}
    for result in results:
        held = [v for n, v in result.items() if n[:6] == "slack_" and n != "slack_fractions"]
        assert min(array.min() for array in held) >= 0
        assert (result["complexity"] < result["complexity_untrained"]).any()
        inside = result["supposed"] & (result["count_slack"] >= 0)
        assert (result["proof_margin"][inside] > 1).all()


def test_seeds_whose_classes_are_unbalanced_do_not_count():
    """Of samples of 4 inputs some have one class only in S_1, and then nothing grows."""
    config = LemmaConfig(dimensions=(3,), samples=(4,), seeds=12, n=4, steps=2)
    result = run_cell(config, {"dimension": 3, "m": 4}, "cpu", {})
    assert 0 < result["supposed"].sum() < 12
    assert result["slack_fractions"].min() < 0
    assert result["slack_growth_plus"].min() >= 0
    assert (result["fractions"].min(-1) >= 1 / 3).tolist() == result["supposed"].tolist()


def test_a_cell_is_algorithm_one_on_both_halves():
    """The last seed of a cell, redone by hand; and the second layer on its initial filters."""
    cell = {"dimension": 4, "m": 40}
    result, runs = run_cell(CONFIG, cell, "cpu", {}), drawn(CONFIG, cell, range(4, 5), "cpu")
    task = PatternTask(4, 4, 4)
    *_, last = first_layer(task, *runs, hyperparameters(task, steps=2))
    for suffix, filters in (("", last.filters), ("_untrained", runs.start)):
        outer = max_margin_outer(task, filters, runs.half)
        assert result[f"risk{suffix}"][4] == exact_risk(task, filters, outer)
        complexity = float(real_complexity(task, filters, outer))
        assert result[f"complexity{suffix}"][4] == pytest.approx(complexity)
    assert result["lucky"][4].tolist() == [int(s.sum()) for s in lottery(task, *runs[1:])]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dimensions": (2, 4)}, r"dimensions = \(2, 4\): choose at least 3"),
        ({"samples": ()}, r"samples = \(\): choose at least 2"),
        ({"seeds": 0}, "seeds = 0: choose at least 1"),
    ],
)
def test_a_wrong_config_is_named(change, words):
    with pytest.raises(ValueError, match=words):
        LemmaConfig(**vars(CONFIG) | change)


# --- the record


def test_the_record_holds_every_inequality_and_small_cells_come_out_again():
    plan, record = Plan(LEMMAS), records.read(LEMMAS)
    for name in STATEMENTS.keys() - {"fractions"}:
        assert np.min(record[f"slack_{name}"]) >= 0, name
    inside = np.array(record["supposed"]) & (np.array(record["count_slack"]) >= 0)
    assert np.array(record["proof_margin"])[inside].min() > 1
    small = [i for i, cell in enumerate(plan.cells) if cell["dimension"] <= 6]
    assert all(c.accepted for c in verifying.compare(plan, record, small, say=bool))


# --- the benchmark


def test_the_fastest_of_the_rounds_is_kept_and_divided_by():
    calls = []
    seconds = fastest({n: (lambda n=n: calls.append(n)) for n in "ab"}, 2, "cpu")
    assert calls == ["a", "b"] * 3
    assert seconds.keys() == {"a", "b"}
    assert [line.split()[-2] for line in rows({"a": 0.5, "b": 1.0})] == ["1.00", "2.00"]


def test_the_benchmark_compares_runs_that_agree(monkeypatch, capsys):
    from lib.maxpool.benchmark import first_layers, forward_passes

    at_once, looped, plain = (call() for call in first_layers(3, 2, "cpu").values())
    torch.testing.assert_close(at_once, torch.stack(looped))
    torch.testing.assert_close(at_once, torch.stack(plain), rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(*(call() for call in forward_passes(3, "cpu").values()))
    arguments = ["benchmark", "--dimension", "3", "--seeds", "2", "--repeats", "1", "--no-figure"]
    monkeypatch.setattr("sys.argv", arguments)
    main()
    assert "loop with autograd" in capsys.readouterr().out
