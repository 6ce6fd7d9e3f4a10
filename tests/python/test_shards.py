"""Bulk work on many machines: shards of images, views that do not depend on them, banks that are merged."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sassl import StyleBank, Stylizer
from sassl.cli import main
from sassl.cli.options import part_of


@pytest.fixture
def folder(tmp_path):
    """Seven images in two folders."""
    rng = np.random.default_rng(5)
    for i in range(7):
        path = tmp_path / "photos" / f"{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20 + i, 24, 3), dtype=np.uint8)).save(path)
    return tmp_path / "photos"


def views(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.png")}


def test_parts_are_all_items_in_their_order():
    for n, parts in ((0, 3), (2, 5), (7, 3), (100, 7)):
        items = list(range(n))
        taken = [part_of(items, (which, parts)) for which in range(parts)]
        assert [item for part in taken for item in part] == items
        assert max(map(len, taken)) - min(map(len, taken)) <= 1


def test_shards_write_the_views_of_the_whole_and_go_on(folder, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    call = ["stylize", str(folder), "--seed", "3", "--p", "0.7", "--out"]
    assert main([*call, str(whole)]) == 0
    for which in (2, 0, 1):
        assert main([*call, str(out), "--shard", f"{which}/3"]) == 0
    assert views(out) == views(whole)
    assert len(views(out)) == 7
    # A view that is there stays as it is, and one that is missing is made again as it was.
    kept, lost = out / "0" / "0.png", out / "1" / "3.png"
    kept.write_bytes(b"mine")
    lost.unlink()
    assert main([*call, str(out), "--skip-existing"]) == 0
    assert kept.read_bytes() == b"mine"
    assert lost.read_bytes() == views(whole)["1/3.png"]
    # Nor does it matter what else is there.
    (folder / "0" / "0.png").unlink()
    assert main([*call, str(tmp_path / "fewer")]) == 0
    assert views(tmp_path / "fewer").items() < views(whole).items()
    assert main([*call[:2], "--seed", "4", "--out", str(tmp_path / "other")]) == 0
    assert views(tmp_path / "other")["1/3.png"] != views(whole)["1/3.png"]


def test_banks_of_shards_are_merged(folder, tmp_path, capsys):
    whole, merged = tmp_path / "whole.safetensors", tmp_path / "merged.safetensors"
    assert main(["bank", str(folder), "--out", str(whole)]) == 0
    parts = [tmp_path / f"part-{which}.safetensors" for which in range(3)]
    for which, part in enumerate(parts):
        assert main(["bank", str(folder), "--out", str(part), "--shard", f"{which}/3"]) == 0
    assert main(["bank", *map(str, parts), "--out", str(merged)]) == 0
    assert merged.read_bytes() == whole.read_bytes()
    assert main(["bank", str(parts[0]), str(folder), "--out", str(merged)]) == 1
    assert f"bank files are merged only with each other, got {folder}" in capsys.readouterr().err
    other = StyleBank(np.zeros((2, 64)), "0123")
    with pytest.raises(ValueError, match="of another style space than"):
        StyleBank.concatenate([StyleBank.load(whole), other])
    with pytest.raises(ValueError, match=r"banks must contain at least one bank, got \[\]"):
        StyleBank.concatenate([])
    unnamed = StyleBank.from_vectors(np.zeros((2, 64)), Stylizer())
    assert StyleBank.concatenate([StyleBank.load(whole), unnamed]).names is None


@pytest.mark.parametrize("shard", ["3/3", "-1/3", "1", "1/0", "a/b"])
def test_shards_that_cannot_be(folder, tmp_path, capsys, shard):
    with pytest.raises(SystemExit):
        main(["stylize", str(folder), "--out", str(tmp_path / "out"), f"--shard={shard}"])
    assert "is no part I/N, with I from 0 to N - 1" in capsys.readouterr().err
