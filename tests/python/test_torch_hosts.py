"""Two machines, as far as one can be two: processes in network namespaces of their own, started as srun starts them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import need
from PIL import Image
from sassl._sassl import load_checkpoint

need("torch")

#: What each machine calls its end of the cable.
CABLE = "sassl0"


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts():
    """Names of two namespaces with a cable between them, 10.77.0.1 and 10.77.0.2."""
    names = [f"sassl-{os.getpid()}-{n}" for n in range(2)]
    made = []
    try:
        if shutil.which("ip") is None:
            pytest.skip("DID NOT RUN: there is no `ip`, by which network namespaces are made")
        try:
            for name in names:
                ip("netns", "add", name)
                made.append(name)
            ip("link", "add", CABLE, "netns", names[0], "type", "veth", "peer", "name", CABLE, "netns", names[1])
            for n, name in enumerate(names):
                ip("-n", name, "addr", "add", f"10.77.0.{n + 1}/24", "dev", CABLE)
                for device in ("lo", CABLE):
                    ip("-n", name, "link", "set", device, "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"DID NOT RUN: network namespaces cannot be made here: {error.stderr.strip()}")
        yield names
    finally:
        for name in made:
            ip("netns", "del", name)


def begin(words, rank, before=(), **environ):
    """A process of a step of srun, one of two on as many machines."""
    of_step = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": str(rank)}
    of_step |= {"SLURM_LOCALID": "0", "SLURM_STEP_TASKS_PER_NODE": "1(x2)", "MASTER_PORT": "29477"}
    kept = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return subprocess.Popen(
        [*before, sys.executable, "-m", "sassl", *words],
        env={**kept, "SASSL_THREADS": "1", **of_step, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_run_on_two_machines_is_that_on_one(hosts, tmp_path):
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(16):
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(tmp_path / "photos" / f"{i}.png")
    settings = "--arch resnet18 --batch-size 8 --input-size 16 --style off --engine torch --epochs 2".split()  # noqa: SIM905

    def words(out):
        return ["pretrain", "moco-v2", "--data", str(tmp_path / "photos"), "--out", str(tmp_path / out), *settings]

    def ended(processes):
        for process in processes:
            _, told = process.communicate(timeout=300)
            assert process.returncode == 0, told

    # The queue and the parts for norms of so small a batch.
    settings += ["--set", "queue_size=16", "--set", "splits=2"]
    apart = {"MASTER_ADDR": "10.77.0.1", "GLOO_SOCKET_IFNAME": CABLE}
    ended([begin(words("two"), n, ("ip", "netns", "exec", name), **apart) for n, name in enumerate(hosts)])
    ended([begin(words("one"), n, MASTER_ADDR="127.0.0.1", GLOO_SOCKET_IFNAME="lo") for n in range(2)])
    one, two = (load_checkpoint(sorted((tmp_path / out).glob("checkpoint*"))[-1]) for out in ("one", "two"))
    assert two[1]["world_size"] == "2"
    assert one[0].keys() == two[0].keys()
    assert all(np.array_equal(one[0][name], two[0][name]) for name in one[0])
