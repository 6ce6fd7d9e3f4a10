"""Lightning's Trainer with our data module: epochs differ, and every kind of checkpoint goes on to the bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections import defaultdict

import numpy as np
import pytest
from conftest import need

need("pytorch_lightning")
import pytorch_lightning as lightning  # noqa: E402
import torch  # noqa: E402
from pytorch_lightning.callbacks import ModelCheckpoint  # noqa: E402
from sassl.data import TwoViewDataModule  # noqa: E402
from sassl.transforms import SimCLRTransform  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


class Model(lightning.LightningModule):
    """Learns nothing; keeps what it sees: epoch and step to the views' checksums."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen = {}

    def training_step(self, batch, index):
        (left, right), _, names = batch
        key = (self.current_epoch, self.global_step)
        self.seen[key] = (index, names, left.sum(dtype=torch.float64).item(), right.sum(dtype=torch.float64).item())
        return self.layer(torch.ones(1, 1)).sum()

    def validation_step(self, batch, index):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)


class Validated(TwoViewDataModule):
    """The views, and something to validate on after each epoch."""

    def val_dataloader(self):
        return torch.utils.data.DataLoader([torch.zeros(1)] * 2)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (22, 20, 20, 3), np.uint8)


def data(images, batch_size=4, kind=TwoViewDataModule, **options):
    return kind(images, SimCLRTransform(16), batch_size, seed=2, threads=1, **options)


def trained(model, module, root, epochs=3, path=None, callbacks=(), **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    quiet |= {"devices": 1, "default_root_dir": root, "num_sanity_val_steps": 0}
    if not callbacks:
        quiet["enable_checkpointing"] = False
    trainer = lightning.Trainer(max_epochs=epochs, callbacks=list(callbacks), **{**quiet, **options})
    trainer.fit(model, module, ckpt_path=path, weights_only=False)
    return trainer


#: When a checkpoint is saved: in an epoch, after its last batch, and at its end in the ways there are.
SAVED = {
    "in an epoch": {"every_n_train_steps": 3},
    "after the last batch": {"every_n_train_steps": 5},
    "at an epoch's end": {"every_n_epochs": 1, "save_on_train_epoch_end": True},
    "after validation": {"every_n_epochs": 1, "save_on_train_epoch_end": False},
}


@pytest.mark.parametrize("reload", [0, 1])
@pytest.mark.parametrize("saved", SAVED)
def test_every_checkpoint_goes_on_to_the_bit(images, tmp_path, saved, reload):
    make = lambda: data(images, kind=Validated if saved == "after validation" else TwoViewDataModule)  # noqa: E731
    options = {"reload_dataloaders_every_n_epochs": reload}
    keep = ModelCheckpoint(tmp_path, "{epoch}-{step}", save_top_k=-1, **SAVED[saved])
    whole = Model()
    trained(whole, make(), tmp_path, callbacks=[keep], **options)
    assert len(whole.seen) == 15
    epochs = defaultdict(list)
    for (epoch, _), (_, names, *sums) in whole.seen.items():
        epochs[epoch].append((names, *sums))
    for epoch, batches in epochs.items():
        assert len({name for names, *_ in batches for name in names}) == 20, epoch
        assert all(batches != other for later, other in epochs.items() if later != epoch)
    paths = sorted(tmp_path.glob("*.ckpt"))
    assert len(paths) >= 3
    for path in paths:
        step = torch.load(path, weights_only=False)["global_step"]
        resumed = Model()
        trained(resumed, make(), tmp_path, path=path, **options)
        expected = {key: value for key, value in whole.seen.items() if key[1] >= step}
        assert resumed.seen == expected, path.name


def test_a_part_of_each_epoch(images, tmp_path):
    keep = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=2)
    whole, resumed = Model(), Model()
    trained(whole, data(images), tmp_path, callbacks=[keep], limit_train_batches=3)
    trained(resumed, data(images), tmp_path, path=tmp_path / "step=4.ckpt", limit_train_batches=3)
    assert resumed.seen == {key: value for key, value in whole.seen.items() if key[1] >= 4}


def test_other_data_is_refused(images, tmp_path):
    keep = ModelCheckpoint(tmp_path, "last", every_n_train_steps=3)
    trained(Model(), data(images), tmp_path, epochs=1, callbacks=[keep])
    path = tmp_path / "last.ckpt"
    with pytest.raises(ValueError, match="state is of other data: the pixels differ"):
        trained(Model(), data(255 - images), tmp_path, path=path)
    with pytest.raises(ValueError, match=r"state\['batch_size'\], of all ranks together, must be .*, got 4"):
        trained(Model(), data(images, 2), tmp_path, path=path)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        trained(Model(), data(255 - images, strict=False), tmp_path, path=path)
    assert any("the loader continues with the current ones" in str(one.message) for one in told)


RANK = """
import json, os, sys
import numpy as np
sys.path.insert(0, os.environ["TESTS"])
import torch
from test_lightning import Model, ModelCheckpoint, data, trained

def main(root, path, epochs):
    images = np.random.default_rng(0).integers(0, 256, (22, 20, 20, 3), np.uint8)
    keep = [] if path else [ModelCheckpoint(root, "{step}", save_top_k=-1, every_n_train_steps=3)]
    model, module = Model(), data(images, 2)
    trained(model, module, root, epochs, path or None, keep, strategy="ddp", devices=2)
    loader = module.loader
    seen = [[*key, *value] for key, value in model.seen.items()]
    with open(os.path.join(root, f"seen-{loader.rank}-{bool(path)}.json"), "w") as file:
        json.dump([seen, loader.world_size], file)

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
"""


def test_two_ranks_share_each_batch_and_go_on(images, tmp_path):
    program = tmp_path / "rank.py"
    program.write_text(RANK)
    whole = Model()
    trained(whole, data(images), tmp_path)
    environment = {**os.environ, "TESTS": os.path.dirname(__file__), "PYTHONWARNINGS": "ignore"}
    for path, first in (("", 0), (str(tmp_path / "step=6.ckpt"), 6)):
        arguments = [sys.executable, str(program), str(tmp_path), path, "3"]
        done = subprocess.run(arguments, env=environment, timeout=300, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        seen = []
        for rank in range(2):
            rows, size = json.loads((tmp_path / f"seen-{rank}-{bool(path)}.json").read_text())
            assert size == 2
            seen.append({(epoch, step): (index, names) for epoch, step, index, names, *_ in rows})
        together = {key: (index, names + seen[1][key][1]) for key, (index, names) in seen[0].items()}
        assert together == {key: value[:2] for key, value in whole.seen.items() if key[1] >= first}
    # One process goes on where two were.
    resumed = Model()
    trained(resumed, data(images), tmp_path, path=tmp_path / "step=6.ckpt")
    assert resumed.seen == {key: value for key, value in whole.seen.items() if key[1] >= 6}
