"""The torch engine on 1, 2 and 4 ranks in float64: one run, whatever parts its norms take apart, and wherever it goes on."""

from __future__ import annotations

import pytest
from conftest import need
from sassl._sassl import load_checkpoint
from sassl.cli import main

need("torch")

import torch  # noqa: E402
import torch.multiprocessing as mp  # noqa: E402
import torch_ranks  # noqa: E402
from sassl.distributed import launch  # noqa: E402
from torch_ranks import ACCUMULATED, CASES, REMADE, RESUMED, STEPS  # noqa: E402

#: What was measured is 2e-13 at most.
BOUND = 1e-11


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each number of ranks found, of one spawn."""
    folder = tmp_path_factory.mktemp("ranks")
    torch_ranks.prepared(folder)
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


@pytest.mark.parametrize("name", ACCUMULATED)
def test_a_step_in_pieces_is_the_whole_step(found, name):
    for ranks in (1, 2):
        made = {key: run for key, run in found[ranks].items() if key[0] == name}
        assert made
        for key, run in made.items():
            assert apart(run, found[1][name]) < BOUND, (ranks, key)


@pytest.mark.parametrize("name", REMADE)
def test_blocks_that_are_made_again_are_the_same_run(found, name):
    for ranks in (1, 2):
        assert apart(found[ranks][name, "remade"], found[1][name]) < BOUND, ranks


@pytest.mark.parametrize("name", RESUMED)
def test_a_run_goes_on_on_other_ranks(found, name):
    for ranks in (1, 4):
        assert len(found[ranks][f"{name}, resumed"][0]) == STEPS - 2
        assert apart(found[ranks][f"{name}, resumed"], found[1][name]) < BOUND, ranks


def test_a_run_in_a_folder_is_the_same_on_any_ranks_and_after_a_signal_to_one(found):
    (one, state), (two, other) = (found[ranks]["fitted"] for ranks in (1, 2))
    assert [row.keys() for row in one] == [row.keys() for row in two]
    assert "knn_top1" in one[-1]
    for row, same in zip(one, two, strict=True):
        assert all(row[name] == pytest.approx(same[name], abs=1e-9) for name in row)
    assert max((state[name] - other[name]).abs().max().item() for name in state) < 1e-9


def test_compiled_networks_are_the_same_on_two_ranks(found):
    # Gradients too, and all that they have moved: torch.compile makes those of collectives in place zero without a word.
    assert max(found[2]["compiled"].values()) < BOUND


def test_networks_compiled_by_inductor_are_the_same(found):
    if not (found["folder"] / "inductor").exists():
        pytest.skip("DID NOT RUN: torch.compile's inductor needs a C++ compiler")
    assert float((found["folder"] / "inductor").read_text()) < BOUND


def test_a_rank_that_ends_by_an_error_ends_the_others_with_it(found):
    assert (found["folder"] / "lost1").read_text() == "KeyError: 'mine'"
    assert (found["folder"] / "lost0").read_text() == "RuntimeError: rank 1: KeyError: 'mine'"


def test_gathers_gradient_is_the_sum_over_ranks(found):
    assert max(found[ranks]["gather"] for ranks in (1, 2, 4)) < 1e-12


def test_features_are_the_same_bits_on_any_ranks_with_and_without_a_cache(found):
    for ranks in (1, 2, 4):
        parts = found[ranks]["extracted"]
        # All images but the damaged one; nothing the third time.
        assert [n for *_, n in parts] == [26, 11, 26, 11, 0, 0]
        for (features, targets, left_out, _), one in zip(parts, 3 * found[1]["extracted"][:2], strict=True):
            assert torch.equal(features, one[0])
            assert (targets, list(left_out)) == (one[1], list(one[2]))
        assert [list(left_out) for _, _, left_out, _ in parts[:2]] == [[], ["red/3.png"]]


def test_an_augmented_probe_is_the_same_on_two_ranks(found):
    one, two = (found[ranks]["augmented"] for ranks in (1, 2))
    assert (one["n"], one["train"], one["batch_size"], len(one["val"])) == (20, 45, 12, 2)
    assert one == two


def test_a_command_on_several_ranks_says_what_one_process_says_once(found, capsys):
    folder = found["folder"]
    words = ["eval", "knn", f"{folder}/a.safetensors", "--data", f"{folder}/photos"]
    capsys.readouterr()
    assert main([*words, "--on-error", "report"]) == 0
    said = capsys.readouterr()
    assert (folder / "out0").read_text() == said.out
    # Of the second command, the error of the rank that has the image.
    assert main(words) == 1
    error = capsys.readouterr().err.splitlines(keepends=True)[-1]
    told = ["".join((folder / f"err{rank}").read_text()) for rank in range(4)]
    assert told[0].startswith(f"{said.err}0\n")
    assert "".join(told).replace(said.err, "", 1).count(error) == 1
    for rank in range(1, 4):
        assert (folder / f"out{rank}").read_text() == ""
        assert told[rank] in ("0\n1\n", f"0\n{error}1\n")


TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
SRUN = {
    "SLURM_PROCID": "5",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_ID": "0",
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_NODELIST": "gpu[07-09,12],big3",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
}


def test_a_process_knows_its_place_by_the_environment():
    meet = {"MASTER_ADDR": "head", "MASTER_PORT": "1234"}
    assert launch.place({}) is None
    assert launch.place({**TORCHRUN, **meet}) == (3, 8, 1, 2, "head", 1234)
    assert launch.place({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}) is None
    for environ, told in (
        ({"RANK": "3"}, "WORLD_SIZE must be an integer in the environment, next to RANK.*, got ''"),
        ({**TORCHRUN, "RANK": "x"}, "RANK must be an integer .*, got 'x'"),
        (TORCHRUN, "MASTER_ADDR is missing"),
        ({**TORCHRUN, "MASTER_ADDR": "head"}, "MASTER_PORT must be .*, got ''"),
        ({**SRUN, "SLURM_STEP_NODELIST": ""}, "SLURM_STEP_NODELIST must be names of machines, got ''"),
    ):
        with pytest.raises(ValueError, match=told):
            launch.place(environ)
    here = launch.place(SRUN)
    assert here[:5] == (5, 8, 1, 4, "gpu07")
    assert here.port in range(20_000, 32_000)
    assert launch.place({**SRUN, "SLURM_JOB_ID": "4712"}).port != here.port
    assert launch.place({**SRUN, **meet})[4:] == ("head", 1234)
    # A shell in an allocation has a number of tasks, and is alone.
    assert launch.place({"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_JOB_ID": "4711"}) is None
    assert launch.place({**SRUN, "SLURM_STEP_NUM_TASKS": "1"}) is None
    assert [launch.first_host(text) for text in ("a", "a,b", "n[3]", "n[03-05].x,m")] == ["a", "a", "n3", "n03.x"]


def test_rank_0_writes_what_all_have(found):
    for ranks in (2, 4):
        state, metadata = load_checkpoint(found["folder"] / f"{ranks}.safetensors")
        assert metadata["world_size"] == str(ranks)
        begun = found[ranks]["begun"]
        assert state.keys() == begun.keys()
        assert all(torch.equal(torch.from_numpy(state[name]), begun[name].float()) for name in state)


def test_a_process_takes_the_gpu_of_its_number(monkeypatch):
    own = launch.Place(5, 8, 1, 4, "head", 1234)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for count, index in ((4, 1), (1, 0)):
        # srun may show each process its own GPU alone.
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        assert launch.device_of(None, own) == launch.device_of("cuda", own) == torch.device("cuda", index)
    for count, rank in ((4, 4), (0, 0)):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        with pytest.raises(
            ValueError,
            match=rf"local rank must be less than the number of GPUs \({count}\), got {rank}; start one process for each",
        ):
            launch.device_of("cuda", own._replace(local_rank=rank))
    assert launch.device_of("cpu", own) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert launch.device_of(None, own) == torch.device("cpu")


def test_a_process_has_its_share_of_the_cores(monkeypatch):
    monkeypatch.delenv("SASSL_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(16), raising=False)
    own = launch.Place(5, 8, 1, 4, "head", 1234)
    assert [launch.threads_of(given, own) for given in (3, None)] == [3, 4]
    assert launch.threads_of(None, None) == 16
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert launch.threads_of(None, None) == 8
    monkeypatch.setenv("SASSL_THREADS", "5")
    assert launch.threads_of(None, own) == 5
