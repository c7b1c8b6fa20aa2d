"""Numbers of `lib.paths.studies` that can be told by hand."""

import pytest
import torch
from torch import nn

from lib.paths import studies
from lib.paths.studies import output_change_study


@pytest.mark.parametrize(("ordered", "low", "high"), [(False, 0.5, 1.5), (True, 0.5, 1.0)])
def test_weights_change_by_factors_from_the_whole_range_and_no_other(ordered, low, high):
    streams = studies._streams(1, torch.Generator().manual_seed(0))
    ((a, b),) = studies._layers(1, 64, streams, 0.5, ordered)
    factors = b / a
    assert low - 1e-12 <= factors.min().item() <= low + 0.01
    assert high - 0.01 <= factors.max().item() <= high + 1e-12


def test_changes_of_several_outputs_add_up():
    model = nn.Sequential(nn.Linear(1, 2, bias=False, dtype=torch.float64))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.25], [0.75]]))
    ones = torch.ones(1, 1, dtype=torch.float64)
    change = output_change_study(model, ones, sparsities=(), steps=(1.0,))["truncation"]
    assert change.observed.tolist() == [0.25 + 0.75]
