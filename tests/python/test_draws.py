"""Draws of several processes: ranks with equal seeds differ, workers have their rank's, and children of a pool differ."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import socket
import subprocess
import sys
import warnings

import numpy as np
import pytest
from conftest import need
from sassl.transforms.plain import SASSL, draw_seed

RANK = """
import json, sys, warnings
import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader
from sassl.transforms.plain import SASSL

class Draws:
    def __init__(self, transform):
        self.transform = transform
    def __len__(self):
        return 4
    def __getitem__(self, index):
        return torch.tensor(self.transform.sample(1).alpha)

def drawn(transform, workers, context):
    torch.manual_seed(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loader = DataLoader(Draws(transform), 1, num_workers=workers, multiprocessing_context=context)
        return torch.cat(list(loader)).flatten().tolist()

def main(rank, port, size):
    early = SASSL(generator=np.random.default_rng(0))
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    made = {}
    for name, transform, contexts in (
        ("None", SASSL(), ("fork", "spawn")),
        ("numpy", SASSL(generator=np.random.default_rng(0)), ("fork",)),
        ("torch", SASSL(generator=torch.Generator().manual_seed(0)), ("fork",)),
        ("early", early, ("fork", "spawn")),
    ):
        made[name] = [drawn(transform, 2, context) for context in contexts]
        made[name].append(drawn(transform, 0, None))
    import pickle
    made["pickle"] = pickle.dumps(SASSL()).hex()[:4000]
    print(json.dumps(made))
    dist.destroy_process_group()

if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
"""


def ranks(tmp_path, size):
    """What each rank of a group draws."""
    program = tmp_path / "rank.py"
    program.write_text(RANK)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [[sys.executable, str(program), str(rank), str(port), str(size)] for rank in range(size)]
    running = [subprocess.Popen(one, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for one in arguments]
    told = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0] * size, told
    return [json.loads(out) for out, _ in told]


def test_ranks_with_equal_seeds_differ(tmp_path):
    need("torch")
    first, second = ranks(tmp_path, 2)
    (alone,) = ranks(tmp_path, 1)
    assert first.pop("pickle") == second.pop("pickle") == alone.pop("pickle")
    for name in first:
        for one, other, single in zip(first[name], second[name], alone[name], strict=True):
            assert len({*one, *other, *single}) == 12, name
        # Forked and spawned workers draw alike, whether there was a group when the transform was made or not.
        for made in (first, second, alone) if len(first[name]) == 3 else ():
            assert made[name][0] == made[name][1], name
    # Whenever it was made.
    assert first["early"][0] == first["numpy"][0]


def alphas(transform):
    return transform.sample(2).alpha.tolist()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="DID NOT RUN: no fork here")
@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("generator", [None, np.random.default_rng(0)], ids=["global", "own"])
def test_children_of_a_pool_differ(context, generator):
    transform = SASSL(generator=generator)
    drawn = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            with multiprocessing.get_context(context).Pool(1) as pool:
                drawn += pool.apply(alphas, (transform,))
    assert len(set(drawn)) == 4


def test_shards_of_a_hugging_face_map_differ(photo):
    need("datasets")
    import datasets

    dataset = datasets.Dataset.from_dict({"image": list(range(8))})
    transform = SASSL(generator=np.random.default_rng(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = dataset.map(lambda _: {"alpha": float(transform.sample().alpha[0])}, num_proc=2)
    assert len(set(made["alpha"])) == 8


def test_copies_with_a_generator_repeat_until_each_has_its_own():
    transform = SASSL(generator=np.random.default_rng(0))
    copies = [pickle.loads(pickle.dumps(transform)) for _ in range(2)]
    assert alphas(copies[0]) == alphas(copies[1]) == alphas(transform)
    for i, copy in enumerate(copies):
        copy.generator = np.random.default_rng([0, i])
    assert alphas(copies[0]) != alphas(copies[1])


def test_a_seed_alone_is_the_generators():
    assert draw_seed(np.random.default_rng(7)) == np.random.default_rng(7).integers(2**63 - 1)
