"""Makes `containers/`: small files of PyTorch, TensorFlow and TensorFlow.js, from which the fuzzing harness starts.

    python tests/golden/make_containers.py

Needs torch and tensorflow. Values are i / 8 for the i-th, so that float16 holds them.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
import torch

OUT = Path(__file__).parent / "containers"


def values(*shape: int) -> np.ndarray:
    """Eighths."""
    return (np.arange(np.prod(shape), dtype=np.float32) / 8).reshape(shape)


def pth() -> None:
    """A state dict in both forms, with a view, a half and an integer."""
    weight = torch.from_numpy(values(2, 3, 1, 1))
    state = {"a.weight": weight, "a.bias": weight.flatten()[:2], "half": weight.half(), "n": torch.tensor(3)}
    torch.save({"state_dict": state}, OUT / "zip.pth")
    torch.save({"state_dict": state}, OUT / "legacy.pth", _use_new_zipfile_serialization=False)


def archive(folder: Path, name: str) -> None:
    """The folder's files as an archive without times."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            info = tarfile.TarInfo(str(path.relative_to(folder)))
            info.size = path.stat().st_size
            tar.addfile(info, io.BytesIO(path.read_bytes()))
    (OUT / name).write_bytes(buffer.getvalue())


def bundles() -> None:
    """A checkpoint with one variable of Magenta's and a foreign one; a SavedModel whose names stand in its object graph."""
    with tempfile.TemporaryDirectory() as name:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            for variable, shape in {"Conv/weights": (1, 1, 3, 2), "Conv/biases": (2,), "vgg_16/fc": (4,)}.items():
                tf.compat.v1.get_variable(variable, initializer=values(*shape))
            session.run(tf.compat.v1.global_variables_initializer())
            tf.compat.v1.train.Saver().save(session, f"{name}/model.ckpt", write_meta_graph=False, write_state=False)
        archive(Path(name), "checkpoint.tar")
    with tempfile.TemporaryDirectory() as name:
        module = tf.Module()
        module.variables_ = [tf.Variable(values(2), name="Conv/biases")]
        tf.saved_model.save(module, name)
        archive(Path(name) / "variables", "saved_model.tar")


def tfjs() -> None:
    """A graph model of two shards."""
    entries = [
        {"name": "Conv/weights", "shape": [1, 1, 3, 2], "dtype": "float32"},
        {"name": "axes", "shape": [2], "dtype": "int32"},
        {"name": "Conv/biases", "shape": [2], "dtype": "float32"},
    ]
    data = values(6).tobytes() + np.int32([1, 2]).tobytes() + values(2).tobytes()
    group = {"paths": ["group1-shard1of2", "group1-shard2of2"], "weights": entries}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.json").write_text(json.dumps({"modelTopology": {}, "weightsManifest": [group]}))
        (folder / "group1-shard1of2").write_bytes(data[:20])
        (folder / "group1-shard2of2").write_bytes(data[20:])
        archive(folder, "tfjs.tar")


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    pth()
    bundles()
    tfjs()
