"""What several processes run for `test_torch_ranks.py`: every case on 1, 2 and 4 ranks, of one spawn of four."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import warnings
from importlib import util
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from conftest import TIMES, coloured
from sassl import SimCLR, evaluation, progress
from sassl.cli import main
from sassl.data import Arrays, ImageFolder, TwoViewLoader
from sassl.data.ranks import ALONE
from sassl.distributed.collectives import World
from sassl.distributed.ranks import Processes
from sassl.evaluation import reading
from sassl.pretraining import PRESETS, Monitor, Pretraining, Rates, Requeue, Torch
from sassl.pretraining.torch import backbones
from sassl.pretraining.torch.methods import Method
from torch import nn

STEPS, BATCH, SIDE = 4, 48, 8


class Tiny(nn.Module):
    """A backbone of two convolutions without kinks, by which rounding alone would choose."""

    feature_dim = 512

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, 1, 1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 512, 3, 2, 1, bias=False), nn.BatchNorm2d(512)

    def forward(self, x):
        x = nn.functional.silu(self.bn1(self.conv1(x)))
        return nn.functional.silu(self.bn2(self.conv2(x))).mean((2, 3))


#: A run's settings, by what a test is called.
CASES = {
    "simclr": {},
    "simclr, lars": {"optimizer": "lars"},
    "byol": {},
    "byol, lars": {"optimizer": "lars"},
    "simsiam": {},
    "barlow-twins": {},
    # It has other weights on each rank, and those of the first are the run's.
    "byol, of a module": {"arch": Tiny()},
    **{f"{name}, {parts} parts": {"splits": parts} for name in ("simclr", "byol", "simsiam") for parts in (3, 8)},
    **{f"moco-v2, {parts} parts": {"splits": parts} for parts in (1, 2, 3, 4, 6, 8, 12)},
    **{f"moco-v2, {parts} parts, symmetric": {"splits": parts, "symmetric": True} for parts in (3, 8)},
}
#: Those that are compiled too, on two ranks, where norms across ranks are within what is.
COMPILED = ("simclr", "barlow-twins", "moco-v2, 3 parts", "moco-v2, 8 parts")
#: Those whose rows are taken in pieces too, on 1 and 2 ranks, and in how many.
ACCUMULATED = {
    "simclr, 8 parts": (4, 8),
    "byol, 8 parts": (2, 4),
    "simsiam, 8 parts": (2,),
    "moco-v2, 6 parts": (3,),
    "moco-v2, 8 parts": (2, 4),
    "moco-v2, 8 parts, symmetric": (4,),
}
#: Those whose blocks are made again for the gradient, and in how many pieces.
REMADE = {
    "simclr": 1,
    "byol, 3 parts": 1,
    "moco-v2, 8 parts, symmetric": 1,
    "moco-v2, 8 parts": 2,
    "simclr, 8 parts": 2,
}
#: Those that begin on 2 ranks, and go on on 1 and on 4.
RESUMED = ("simclr", "barlow-twins", "byol, lars", "simsiam", "moco-v2, 3 parts", "moco-v2, 8 parts, symmetric")


class Blocks(nn.Module):
    """The same layers as two blocks, which may be made again."""

    def __init__(self):
        super().__init__()
        tiny = Tiny()
        layers = (tiny.conv1, tiny.bn1), (tiny.conv2, tiny.bn2)
        self.blocks = nn.Sequential(*(nn.Sequential(nn.Sequential(*block), nn.SiLU()) for block in layers))

    def forward(self, x):
        return self.blocks(x).mean((2, 3))


class Wide(Tiny):
    """That with more weights, or without its mean over pixels."""

    def __init__(self, is_wide, is_flat):
        super().__init__()
        self.more, self.is_flat = nn.Linear(3, 5 if is_wide else 4), is_flat

    def forward(self, x):
        return super().forward(x) if self.is_flat else self.conv1(x)


def barlow_twins():
    """The example, which registers its method each time."""
    path = Path(__file__).parents[2] / "examples" / "barlow_twins.py"
    spec = util.spec_from_file_location("barlow_twins", path)
    module = sys.modules["barlow_twins"] = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config(name):
    given = {"arch": "resnet18", "optimizer": "sgd", **CASES[name]}
    base = PRESETS[name.split(",")[0]].changed(**{part: given.pop(part) for part in ("arch", "optimizer")})
    own = {"small_stem": True, "input_size": SIDE, "dim": 8, "hidden_dim": 12, "predictor_dim": 6, "queue_size": 192}
    own |= {"weight_decay": 1e-3, "momentum": 0.9, **given}
    return base.changed(**{key: value for key, value in own.items() if key in base.flat()})


def batch(step, rows):
    """This rank's rows of two views, which have something in common."""
    rng = np.random.default_rng(step)
    base = rng.normal(size=(BATCH, SIDE, SIDE, 3))
    return [(base + 0.3 * rng.normal(size=base.shape))[rows].astype(np.float32) for _ in range(2)]


def trained(name, group, start=None, first=0, last=STEPS, **how):
    """What every step told, and the whole state after the last one."""
    engine = Torch(precision="float64", device="cpu", group=group, **how)(config(name), 1)
    if start is not None:
        engine.put(start)
    share = BATCH // engine.ranks.world_size
    rows = slice(engine.ranks.rank * share, (engine.ranks.rank + 1) * share)
    told = []
    for step in range(first, last):
        report = engine.step(*batch(step, rows), Rates(0.05, 0.1, 0.9))
        told.append({"loss": report.loss, **report.watched})
    return told, {key: tensor.clone() for key, tensor in engine.tensors().items()}


def gather_error(group):
    """The gradient of the sum over ranks of |W gather(x)|^2, W being another one on each rank, against one process."""
    world = World(group)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2 * world.size, 3, generator=generator, dtype=torch.float64)
    weights = torch.randn(world.size, 4, len(x), generator=generator, dtype=torch.float64)
    here = slice(2 * world.rank, 2 * world.rank + 2)
    mine, whole = x[here].clone().requires_grad_(), x.clone().requires_grad_()
    ((weights[world.rank] @ world.gather(mine)) ** 2).sum().backward()
    sum(((one @ whole) ** 2).sum() for one in weights).backward()
    return (mine.grad - whole.grad[here]).abs().max().item()


def agreements(group, folder):
    """What ranks tell each other, and errors that reach all of them."""
    # Without a word, the default group is taken.
    given = None if group is dist.group.WORLD else group
    engine = Torch(device="cpu", group=given)(config("moco-v2, 8 parts"), 1)
    ranks = engine.ranks
    assert ranks.world_size == dist.get_world_size(group)
    assert ranks.broadcast(("of", ranks.rank)) == ("of", 0)
    assert [ranks.agree(ranks.rank == one) for one in range(ranks.world_size)] == [True] * ranks.world_size
    assert not ranks.agree(False)
    ranks.fail(None)
    rank, last = ranks.rank, ranks.world_size - 1
    with pytest.raises(OSError, match="no room") as caught:
        ranks.fail(OSError(28, "no room", "here") if ranks.rank == last else None)
    assert caught.value.filename == "here"
    local = type("Local", (Exception,), {})
    with pytest.raises((RuntimeError, local), match="mine"):
        ranks.fail(local("mine") if ranks.rank == last else None)
    with pytest.raises(FileNotFoundError, match="missing"):
        engine.save(folder / "missing" / "a.safetensors", {})
    engine.save(folder / f"{ranks.world_size}.safetensors", {})
    with pytest.raises(
        ValueError,
        match=rf"batch_size must be a multiple of the number of ranks \({ranks.world_size}\), .* 48 or .*, got 49",
    ):
        engine.check_batch(49)
    other = config("simclr").changed(seed=int(ranks.rank == last))
    with pytest.raises(ValueError, match=f"config must be .* as on rank 0, got .* on rank {last}"):
        Torch(device="cpu", group=group)(other, 1)
    # Modules that differ, and one that one rank alone cannot take.
    for wide, flat, told in (
        (rank == last, True, f"arch must be .* values, .* on rank {last}"),
        (False, rank != last, "got a tensor"),
    ):
        module = config("simclr").changed(arch=Wide(wide, flat), features=512)
        with pytest.raises(ValueError, match=told):
            Torch(device="cpu", group=group)(module, 1)
    return {name: tensor.clone() for name, tensor in engine.tensors().items()}


def images():
    rng = np.random.default_rng(0)
    return Arrays(rng.integers(0, 256, (50, 12, 12, 3), np.uint8), [0, 1] * 25)


class Uneven:
    """Batches of others, which tell one size and have another."""

    batch_size = 8

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return 1

    def __iter__(self):
        yield [[np.zeros((self.rows, SIDE, SIDE, 3), np.float32)] * 2]


def fitted(group, folder):
    """A run through loader, loop and folder, that is stopped by a signal to one rank, and goes on; and what it tells."""
    made = []
    rank = 0 if group is None else dist.get_rank(group)

    def model():
        views = {"min_scale": 0.5, "gaussian_blur": 0.0}
        settings = config("moco-v2, 8 parts").changed(views=views, batch_size=16, epochs=2)
        how = Torch(precision="float64", device="cpu", group=group)
        made.append(Pretraining.from_config(settings, engine=how, threads=1))
        return made[-1]

    def stop(_, values):
        if len(model_steps) == 1 and rank == (0 if group is None else dist.get_world_size(group) - 1):
            os.kill(os.getpid(), signal.SIGUSR1)
        model_steps.append(values["loss"])

    model_steps = []
    out = folder / f"run{0 if group is None else dist.get_world_size(group)}"
    with pytest.raises(Requeue, match="interrupted by SIGUSR1"):
        model().fit(images(), out=out, on_step=stop, quiet=True)
    assert len(model_steps) == 2
    last, encoded = model(), []
    encode = last.engine.encode
    last.engine.encode = lambda views: (encoded.append(len(views)), encode(views))[1]
    last.fit(images(), out=out, resume=True, quiet=True, monitor=Monitor(images(), k=5, probe_epochs=0))
    ranks = 1 if group is None else dist.get_world_size(group)
    # Each rank encodes its share of a monitor's images.
    assert sum(encoded) == len(images()) // ranks
    told = [{name: x for name, x in row.items() if name not in TIMES} for row in last.history]
    if group is not None and dist.get_world_size(group) > 1:
        with pytest.raises(FileExistsError, match="has a run"):
            model().fit(images(), out=out, quiet=True)
        batches = [[[np.zeros((8, 8, 8, 3), np.float32)] * 2]] * (2 if rank else 3)
        with pytest.raises(ValueError, match=r"len\(data\) must be 3 as on rank 0, got 2 on rank 1"):
            model().fit(batches, quiet=True)
        with pytest.raises(ValueError, match=r"rows of batch 1 must be 8 as on rank 0, got 6 on rank 1"):
            model().fit(Uneven(8 - 2 * rank), quiet=True)
        other = Arrays(np.full((50, 12, 12, 3), rank, np.uint8), [0, 1] * 25)
        with pytest.raises(ValueError, match=r"data must be .* as on rank 0, got .* on rank 1"):
            model().fit(other, quiet=True)
        with pytest.raises(ValueError, match="data must be a loader of 2 ranks, as the engine has, got 1"):
            model().fit(TwoViewLoader(images(), last.transform, 8, rank=0, world_size=1), quiet=True)
    return told, last.engine.tensors()


def prepared(folder):
    """Images to evaluate on, one of them damaged, and a checkpoint."""
    damaged = coloured(folder / "photos", {"train": 13, "val": 6}) / "val/red/3.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    SimCLR("resnet18", small_stem=True, hidden_dim=16, dim=8, input_size=16, threads=1).save(folder / "a.safetensors")


def leaning(batch):
    """Features that depend on the batch that an image is in."""
    rows = batch.mean((2, 3))
    return rows + rows.mean(0)


def extracted(group, folder):
    """Features without a cache, with an empty one and a full one; and how many images the ranks have seen each time."""
    ranks = ALONE if dist.get_world_size(group) == 1 else Processes(group)
    rule, seen, found = evaluation.Preprocessing(8, normalize=None), [], []

    def model(batch):
        seen.append(len(batch))
        return leaning(batch)

    cache = evaluation.Cache(folder / f"features{ranks.world_size}", "leaning")
    for kept in (None, cache, cache):
        for part in ("train", "val"):
            how = {"batch_size": 3, "on_error": "report", "cache": kept, "ranks": ranks}
            one = evaluation.read(model, ImageFolder(folder / "photos" / part), preprocessing=rule, **how)
            n = sum(ranks.gather(sum(seen)))
            seen.clear()
            assert ranks.rank == 0 or one.features.shape == (len(one.targets), 0)
            found.append((torch.from_numpy(one.features), one.targets.tolist(), dict(one.left_out), n))
    with pytest.raises(ValueError, match=r"red/3\.png") as caught:
        evaluation.extract(model, folder / "photos/val", preprocessing=rule, batch_size=3, ranks=ranks)
    assert sum(ranks.gather(not hasattr(caught.value, "rank"))) == 1
    return found


def augmented(group):
    """What heads find by features of which each rank computes its share; and that all ranks raise what one of them does."""
    ranks, data, seen = ALONE if dist.get_world_size(group) == 1 else Processes(group), images(), []

    def model(batch):
        seen.append(len(batch))
        return batch.mean((1, 2))

    rule = evaluation.Preprocessing(8, normalize=None, channels_last=True)
    how = {"recipe": "moco", "epochs": 3, "batch_size": 12, "lr": [3.0, 30.0], "preprocessing": rule, "ranks": ranks}
    found = evaluation.augmented_probe(model, data, data.take(range(20)), **how)
    # A batch of 20 for the test and one of 5 that choose, each on one rank; the sample; and in each of three epochs 45 images,
    # of which the last batch has 9: a rank of two has 5 of them, or 4 and one that is there already.
    is_last = ranks.rank == ranks.world_size - 1
    assert sum(seen) == (25 if is_last else 0) + 2 + 3 * (45 if ranks.world_size == 1 else 23)

    def broken(batch):
        if ranks.rank == ranks.world_size - 1 and len(batch) > 2:
            raise ValueError("of the last rank alone")
        return batch.mean((1, 2))

    with pytest.raises(ValueError, match="of the last rank alone"):
        evaluation.augmented_probe(broken, data, data, **how)
    return found


def commanded(words, folder, index):
    """A command on all ranks; what each of them says, and its exit code, go to files."""
    with contextlib.ExitStack() as stack:
        out, err = (stack.enter_context(open(folder / f"{name}{index}", "a")) for name in ("out", "err"))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        print(main(words), file=err)


def compiled(name, group, backend, **how):
    """How far a run that is compiled is from the same one that is not."""
    told, state = trained(name, group, last=2)
    # Graphs of other engines count for the limit of theirs.
    torch._dynamo.reset()
    again, other = trained(name, group, last=2, compile=backend, **how)
    losses = [abs(one["loss"] - two["loss"]) for one, two in zip(told, again, strict=True)]
    return max([*losses, *((tensor - other[key]).abs().max().item() for key, tensor in state.items())])


def deserted(group, rank):
    """What a rank ends by where one of the two raises an error of its own, and leaves."""

    def leave(*_):
        if rank == 1:
            raise KeyError("mine")

    engine = Torch(device="cpu", group=group)
    model = Pretraining.from_config(config("simclr").changed(batch_size=16, epochs=1), engine=engine, threads=1)
    try:
        model.fit(images(), on_step=leave, quiet=True)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def work(index, address, folder):
    """A process of the spawn."""
    torch.set_num_threads(1)
    reading.SPAN, progress._FIRST = 6, 3600.0
    warnings.filterwarnings("error", module="sassl")
    backbones.BACKBONES["resnet18"] = lambda _: Blocks()
    Method.first_state = lambda *_: None
    barlow_twins()
    dist.init_process_group("gloo", init_method=address, rank=index, world_size=4)
    alone = [dist.new_group([rank]) for rank in range(4)]
    groups = {2: dist.new_group([0, 1]), 4: dist.group.WORLD, 1: alone[index]}
    half = {}
    if index == 3 and shutil.which("c++"):
        Path(folder, "inductor").write_text(str(compiled("moco-v2, 3 parts", groups[1], "inductor")))
    for ranks, group in groups.items():
        if index >= ranks:
            continue
        found = {name: trained(name, group) for name in CASES}
        if ranks < 4:
            pieces = [(name, one) for name, many in ACCUMULATED.items() for one in many if one * ranks <= 8]
            found |= {(name, one): trained(name, group, accumulate=one) for name, one in pieces}
            remade = {"checkpointing": True}
            found |= {(name, "remade"): trained(name, group, accumulate=one, **remade) for name, one in REMADE.items()}
        found["extracted"] = extracted(group, Path(folder))
        found["gather"] = gather_error(group if ranks > 1 else None)
        if ranks == 2:
            found["compiled"] = {name: compiled(name, group, "aot_eager") for name in COMPILED}
            for how in ({"accumulate": 2}, {"checkpointing": True}):
                named = ("moco-v2, 8 parts", *(["simclr, 8 parts"] if "accumulate" in how else []))
                found["compiled"] |= {(name, *how): compiled(name, group, "aot_eager", **how) for name in named}
            half = {name: trained(name, group, last=2)[1] for name in RESUMED}
        held = [half]
        if ranks == 4:
            dist.broadcast_object_list(held)
        if ranks != 2:
            found |= {f"{name}, resumed": trained(name, group, held[0][name], 2) for name in RESUMED}
        if ranks != 4:
            found["fitted"] = fitted(group, Path(folder))
            found["augmented"] = augmented(group)
        if ranks > 1:
            found["begun"] = agreements(group, Path(folder))
        if index == 0:
            torch.save(found, Path(folder) / f"{ranks}.pt")
    words = ["eval", "knn", f"{folder}/a.safetensors", "--data", f"{folder}/photos", "--cache", f"{folder}/features"]
    commanded([*words, "--on-error", "report"], Path(folder), index)
    commanded(words, Path(folder), index)
    dist.barrier()
    if index < 2:
        Path(folder, f"lost{index}").write_text(deserted(groups[2], index))
    # What gloo's threads wait for is not there any more.
    os._exit(0)
