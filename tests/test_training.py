import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from lib import training
from lib.nets import small_resnet, split_state
from lib.training import Schedule, accuracy, hold, loss, moved, moves, orders, train


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(images=40):
    g = seeded(1)
    x = torch.randn(images, 1, 8, 8, generator=g, dtype=torch.float64)
    return x, torch.randint(10, (images,), generator=g)


def network(copies=1):
    return small_resnet(generator=seeded(2), widths=(4, 4), copies=copies, dtype=torch.float64)


def run(model, schedule, **options):
    x, y = problem()
    order = orders(len(x), schedule.epochs, seeded(3))
    return list(train(model, x, y, schedule, order, **options))


SCHEDULE = Schedule(epochs=3, batch=16, rate=0.1, weight_decay=1e-3)


# --- the loop


def test_many_copies_train_exactly_as_each_would_alone():
    """Same seeds, same batches: equal to rounding (float64, 6 steps)."""
    together, alone = network(3), network()
    states = split_state(together, alone, 3)
    run(together, SCHEDULE)
    for start, end in zip(states, split_state(together, alone, 3), strict=True):
        alone.load_state_dict(start)
        run(alone, SCHEDULE)
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(end[name], value, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("first", [0, 1])
def test_the_loop_is_the_textbook_recursion(first):
    """One linear layer, gradients by hand: v <- m v + g + d w, w <- w - rate v."""
    x = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [0.3, 0.1], [2.0, -1.0]]).double()
    y = torch.tensor([0, 1, 1, 0])
    model = nn.Linear(2, 2, bias=False).double()
    w = model.weight.detach().clone()
    v = torch.zeros_like(w)
    schedule = Schedule(epochs=3, batch=2, rate=0.5, momentum=0.8, weight_decay=0.1)
    order = orders(4, 3, seeded())
    for step in range(2 * first, 6):  # two in each epoch
        now = order[step // 2, 2 * (step % 2) :][:2]
        gradient = (torch.softmax(x[now] @ w.T, 1) - torch.eye(2)[y[now]]).T @ x[now] / 2
        v = 0.8 * v + gradient + 0.1 * w
        w = w - 0.5 * (1 + math.cos(math.pi * step / 6)) / 2 * v
    list(train(model, x, y, schedule, order, epochs=range(first, 3)))
    torch.testing.assert_close(model.weight.detach(), w, rtol=1e-12, atol=1e-12)


def test_batch_statistics_are_collected_even_if_the_caller_evaluates_between_epochs():
    x, y = problem()
    model = network()
    for _ in train(model, x, y, SCHEDULE, orders(len(x), 3, seeded(3))):
        accuracy(model, x, y)
    assert model.bn1.num_batches_tracked == 3 * 2


def test_the_same_seeds_give_the_same_bits():
    first, second = network(2), network(2)
    run(first, SCHEDULE), run(second, SCHEDULE)
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_masked_weights_stay_exactly_zero():
    model = network(2)
    masks = [
        (p, torch.rand(p.shape, generator=seeded(4)) < 0.5)
        for p in model.parameters()
        if p.dim() > 1
    ]
    run(model, SCHEDULE, masks=masks)
    for parameter, mask in masks:
        assert (parameter[~mask] == 0).all()
        assert (parameter[mask] != 0).all()


def test_masks_hold_from_the_first_step_on():
    """Weights that are masked, but not yet zero, do not count in the first gradient."""
    model, pruned = network(), network()
    masks = [(p, torch.rand(p.shape, generator=seeded(4)) < 0.5) for p in model.parameters()]
    hold((p, mask) for p, (_, mask) in zip(pruned.parameters(), masks, strict=True))
    run(model, SCHEDULE, masks=masks)
    same = [(p, mask) for p, (_, mask) in zip(pruned.parameters(), masks, strict=True)]
    run(pruned, SCHEDULE, masks=iter(same))  # masks may come one by one
    for a, b in zip(model.parameters(), pruned.parameters(), strict=True):
        assert torch.equal(a, b)


def test_epochs_selects_a_part_of_the_schedule():
    assert run(network(), SCHEDULE, epochs=range(1, 3)) == [1, 2]
    assert run(network(), SCHEDULE) == [0, 1, 2]


def test_the_rate_falls_from_its_start_to_zero():
    assert SCHEDULE.rate_at(0) == SCHEDULE.rate
    assert SCHEDULE.rate_at(1.5) == pytest.approx(SCHEDULE.rate / 2)
    assert SCHEDULE.rate_at(3) == pytest.approx(0)


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match="choose at most 40"):
        run(network(), Schedule(epochs=1, batch=41, rate=0.1))
    assert run(network(), Schedule(epochs=1, batch=40, rate=0.1)) == [0]


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"batch": 1},
        {"rate": -1.0},
        {"rate": math.nan},
        {"weight_decay": -1.0},
        {"momentum": 1.0},
        {"momentum": -0.1},
    ],
)
def test_a_schedule_names_the_field_that_is_wrong(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))} = .*: choose"):
        Schedule(**{"epochs": 1, "batch": 2, "rate": 0.1} | change)


def test_momentum_and_the_rate_may_be_absent():
    assert run(network(), replace(SCHEDULE, momentum=0.0, epochs=1)) == [0]
    still, other = network(), network()
    run(still, replace(SCHEDULE, rate=0.0, epochs=1))
    assert all(map(torch.equal, still.parameters(), other.parameters()))


# --- the parts


def test_each_epoch_sees_every_image_once():
    order = orders(7, 3, seeded())
    assert (order.sort(dim=1).values == torch.arange(7)).all()
    assert not torch.equal(order[0], order[1])


def test_loss_is_the_sum_over_copies_of_the_mean_over_images():
    logits = torch.randn(5, 3, 4, generator=seeded(), dtype=torch.float64)
    y = torch.tensor([0, 3, 1, 1, 2])
    alone = sum(nn.functional.cross_entropy(logits[:, s], y) for s in range(3))
    torch.testing.assert_close(loss(logits, y), alone)
    torch.testing.assert_close(loss(logits[:, 0], y), nn.functional.cross_entropy(logits[:, 0], y))


class Echo(nn.Module):
    """Returns its input as logits."""

    def forward(self, x):
        return x


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_accuracy_counts_each_copy(batch):
    logits = torch.tensor([[[1, 0], [0, 1]], [[0, 1], [0, 1]], [[1, 0], [1, 0]]])
    y = torch.tensor([0, 1, 1])
    shares = accuracy(Echo(), logits, y, batch=batch)
    torch.testing.assert_close(shares, torch.tensor([2 / 3, 1 / 3], dtype=torch.float64))
    assert accuracy(Echo(), logits[:, 0], y, batch=batch).tolist() == [pytest.approx(2 / 3)]


def test_hold_multiplies_in_place():
    weight = nn.Parameter(torch.ones(2))
    hold([(weight, torch.tensor([True, False]))])
    assert weight.tolist() == [1, 0]


def test_moved_images_are_shifted_or_mirrored_copies():
    x = torch.arange(1.0, 2 * 3 * 5 * 6 + 1).reshape(2, 3, 5, 6).repeat(20, 1, 1, 1)
    after = moved(x, moves(len(x), seeded(), reach=2), reach=2)
    for image, other in zip(x, after, strict=True):
        assert any(torch.equal(other, candidate) for candidate in shifts(image, 2))


def test_a_move_is_down_right_and_then_a_mirror():
    x = torch.tensor([[0.0, 1, 2], [3, 4, 5], [6, 7, 8]]).expand(2, 1, 3, 3)
    plain, mirrored = moved(x, torch.tensor([[1, 1], [-2, -2], [0, 1]]), reach=2)
    shifted = torch.tensor([[0.0, 0, 0], [2, 0, 0], [5, 0, 0]])  # down by 1, left by 2
    assert torch.equal(plain[0], shifted)
    assert torch.equal(mirrored[0], shifted.flip(-1))


def test_images_move_by_up_to_four_pixels_unless_told():
    assert moves(2000, seeded())[:2].unique().tolist() == list(range(-4, 5))


def test_all_moves_are_drawn_and_only_those():
    shifts, mirror = moves(2000, seeded(), reach=2).split((2, 1))
    assert shifts.unique().tolist() == [-2, -1, 0, 1, 2]
    assert mirror.unique().tolist() == [0, 1]
    assert abs(mirror.double().mean() - 0.5) < 0.05
    assert not torch.equal(shifts[0], shifts[1])


def test_zero_reach_only_mirrors_and_does_both():
    x = torch.arange(12.0).reshape(1, 1, 3, 4).repeat(20, 1, 1, 1)
    after = moved(x, moves(20, seeded(), reach=0), reach=0)
    mirrored = [torch.equal(a, x[0].flip(-1)) for a in after]
    kept = [torch.equal(a, x[0]) for a in after]
    assert any(mirrored)
    assert any(kept)
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))


AUGMENTED = replace(SCHEDULE, augment=True)


def test_the_generator_decides_the_moves_of_every_epoch():
    first, again, other = (network() for _ in range(3))
    for model, seed in ((first, 5), (again, 5), (other, 6)):
        run(model, AUGMENTED, generator=seeded(seed))
    weights = [model.conv1.weight for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_image_keeps_its_move_whatever_the_batch(monkeypatch):
    """The loop hands each image its own column of the epoch's moves."""
    seen = []
    monkeypatch.setattr(training, "moved", lambda x, moves: seen.append((x, moves)) or x)
    x, y = problem()
    order = orders(len(x), 1, seeded(3))
    list(train(network(), x, y, replace(AUGMENTED, epochs=1), order, generator=seeded(5)))
    drawn, batches = moves(len(x), seeded(5)), order[0].split(16)[:2]
    assert len(seen) == 2
    for (images, columns), batch in zip(seen, batches, strict=True):
        assert torch.equal(images, x[batch])
        assert torch.equal(columns, drawn[:, batch])


def test_augmentation_without_a_generator_is_refused():
    with pytest.raises(ValueError, match="pass generator="):
        run(network(), AUGMENTED)


def shifts(image, reach):
    """All images that a shift by at most ``reach``, with or without mirroring, can give."""
    _, h, w = image.shape
    padded = nn.functional.pad(image, (reach,) * 4)
    for i in range(2 * reach + 1):
        for j in range(2 * reach + 1):
            window = padded[:, i : i + h, j : j + w]
            yield window
            yield window.flip(-1)
