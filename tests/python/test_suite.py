"""The whole evaluation on small folders in the published layouts: every set of transfer, few shots, every robustness set."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sassl
import transfer_layouts as layouts
from conftest import need
from sassl.cli import main
from sassl.evaluation import Features, datasets, extract, few_shot
from sassl.evaluation.robustness import CORRUPTIONS, Probe, table
from test_corruptions import arrays
from test_robustness import RULE, features
from test_robustness_sets import TRAINED, all_sets, classes

need("scipy")


@pytest.mark.filterwarnings("ignore")
def test_all_sets_few_shots_and_robustness(tmp_path, capsys):
    model = sassl.SimCLR("resnet18", small_stem=True, hidden_dim=16, dim=8, input_size=16, threads=2)
    checkpoint = tmp_path / "model.safetensors"
    model.save(checkpoint)
    (tmp_path / "transfer").mkdir()
    root, out = layouts.everything(tmp_path / "transfer"), tmp_path / "results.jsonl"
    call = ["eval", "transfer", str(checkpoint), "--data", str(root), "--out", str(out), "--counts", "any"]
    # ImageNet's 36 images are too few to hold some out.
    assert main([*call, "--protocol", "knn"]) == 1
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["set"] for line in lines] == [name for name in datasets.DATASETS if name != "imagenet"]
    for line in lines:
        assert line.keys() >= {"n", "classes", "school", "k", "interval", "metric", "value", "top1"}
        assert line["metric"] == datasets.DATASETS[line["set"]].metric

    train, test = (extract(model, datasets.load("dtd", root, split, counts="any")) for split in ("train", "test"))
    for found in few_shot(train, test, shots=(1, 2), draws=3):
        assert len(found["values"]) == 3

    data = all_sets(tmp_path / "sets")
    for name in ("ImageNet-C", "Tiny-ImageNet-C"):
        for corruption in CORRUPTIONS:
            for severity in "12345":
                classes(data / name / corruption / severity, {TRAINED[0]: [0]})
    arrays(data / "CIFAR-10-C")
    # A network that reads an image's class off its pixels, so that hundreds of folders of one image cost little.
    rows = [0, 1, 2, 3] * 4
    named = Features(np.eye(64, dtype=np.float32)[rows], rows, TRAINED)
    ten = [0, 1, 2, 3, 4] * 4
    numbered = Features(np.eye(64, dtype=np.float32)[ten], ten)
    results = {
        name: table.SETS[name].measure(
            Probe(features, numbered if name == "cifar-c" else named, preprocessing=RULE), folder
        )
        for name, folder in table.find(data)
    }
    assert set(results) == set(table.SETS)
    assert all(result["n"] > 0 and result["interval"] is not None for result in results.values())
