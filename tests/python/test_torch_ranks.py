"""The torch engine on 1, 2 and 4 ranks in float64: one run, whatever parts its norms take apart, and wherever it goes on."""

from __future__ import annotations

import pytest
from conftest import need
from sassl._sassl import load_checkpoint

need("torch")

import torch  # noqa: E402
import torch.multiprocessing as mp  # noqa: E402
import torch_ranks  # noqa: E402
from torch_ranks import CASES, RESUMED, STEPS  # noqa: E402

#: What was measured is 2e-13 at most.
BOUND = 1e-11


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each number of ranks found, of one spawn."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(torch_ranks.work, (f"file://{folder}/meet", str(folder)), nprocs=4)
    return {ranks: torch.load(folder / f"{ranks}.pt") for ranks in (1, 2, 4)} | {"folder": folder}


def apart(one, other):
    """The largest difference of what was told and of the states; of the last steps, where one run has fewer."""
    assert one[1].keys() == other[1].keys()
    n = min(len(one[0]), len(other[0]))
    told = [abs(a[name] - b[name]) for a, b in zip(one[0][-n:], other[0][-n:], strict=True) for name in a]
    return max([*told, *((one[1][name] - other[1][name]).abs().max().item() for name in one[1])])


@pytest.mark.parametrize("name", CASES)
def test_any_ranks_are_one_run(found, name):
    one = found[1][name]
    assert len(one[0]) == STEPS
    assert one[0][0]["loss"] != one[0][-1]["loss"]
    for ranks in (2, 4):
        assert apart(found[ranks][name], one) < BOUND, ranks


@pytest.mark.parametrize("name", RESUMED)
def test_a_run_goes_on_on_other_ranks(found, name):
    for ranks in (1, 4):
        assert len(found[ranks][f"{name}, resumed"][0]) == STEPS - 2
        assert apart(found[ranks][f"{name}, resumed"], found[1][name]) < BOUND, ranks


def test_gathers_gradient_is_the_sum_over_ranks(found):
    assert max(found[ranks]["gather"] for ranks in (1, 2, 4)) < 1e-12


def test_rank_0_writes_what_all_have(found):
    for ranks in (2, 4):
        state, metadata = load_checkpoint(found["folder"] / f"{ranks}.safetensors")
        assert metadata["world_size"] == str(ranks)
        begun = found[ranks]["begun"]
        assert state.keys() == begun.keys()
        assert all(torch.equal(torch.from_numpy(state[name]), begun[name].float()) for name in state)
