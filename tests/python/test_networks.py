"""What `sassl convert` makes of every container, networks with random weights, against what was computed elsewhere."""

from __future__ import annotations

import gzip
import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
from conftest import shared
from sassl import Stylizer
from sassl._sassl import convert
from sassl.reference import Reference

#: Of the largest value of what is compared.
EXACT, SMALL = 1e-5, 5e-5


def off(ours: np.ndarray, reference: np.ndarray) -> float:
    """The largest difference, of the largest value."""
    return float(abs(ours - reference).max() / abs(reference).max())


def random(name: str) -> Path:
    """A file of the networks with random weights."""
    return shared(f"weights/random/{name}")


def unpacked(name: str, folder: Path) -> Path:
    """A .gz file, unpacked into the folder."""
    path = folder / Path(name).name.removesuffix(".gz")
    path.write_bytes(gzip.decompress(random(name).read_bytes()))
    return path


def converted(out: Path, *paths: Path, **settings: bool) -> Stylizer:
    """The model that these paths hold."""
    convert(list(paths), out, out.stem, **settings)
    return Stylizer(out, precision="exact")


def tensors(path: Path) -> dict[str, np.ndarray]:
    """A model file's."""
    return Reference(path).tensors


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Magenta's full pair from its checkpoint's archive, F seeing images as they are."""
    out = tmp_path_factory.mktemp("full") / "full.safetensors"
    convert([random("magenta_full/checkpoint.tar.gz")], out, "full", as_is=True)
    return out


@pytest.fixture(scope="module")
def magenta() -> dict[str, np.ndarray]:
    """What the full pair computes."""
    with np.load(random("magenta_full/io.npz")) as file:
        return dict(file)


def check_transfer(model: Stylizer, io: dict[str, np.ndarray], kind: str, styles: tuple[str, ...]) -> None:
    """T at every size of the fixture that stylizers take."""
    for style in styles:
        sizes = [name.split("/")[1] for name in io if name.startswith(f"T {kind}{style}/") and name[-2:] != "/5"]
        assert sizes
        for size in sizes:
            image = io[f"image/{size}"]
            reference = io[f"T {kind}{style}/{size}"][: image.shape[0], : image.shape[1]]
            found = off(model.transfer(image[None], io[f"style/{style}"].reshape(1, -1))[0], reference)
            assert found <= (SMALL if size == "8" else EXACT), (kind, style, size, found)


def test_the_full_pair_computes_what_tensorflow_does(full, magenta):
    model = Stylizer(full, precision="exact")
    for size in ("43", "75", "100", "256", "64x96"):
        found = off(model.encode(magenta[f"image/{size}"][None])[0], magenta[f"z/{size}"])
        assert found <= EXACT, (size, found)
    check_transfer(model, magenta, "", ("mixed", "free"))
    with pytest.raises(ValueError, match="images must be at least 43x43, the smallest input of F of full"):
        model.encode(np.zeros((1, 42, 64, 3), np.uint8))


def test_magentas_predictor_sees_a_shorter_side_of_256(full, magenta, tmp_path):
    model = converted(tmp_path / "seen.safetensors", random("magenta_full/checkpoint.tar.gz"))
    assert model.space == Stylizer(full).space
    oracle = Reference(tmp_path / "seen.safetensors")
    image = magenta["image/37x63"]
    assert off(model.encode(image[None])[0], oracle.encode(image / 255)) <= EXACT
    # Small views have a z.
    assert np.isfinite(model.encode(image[None, :8, :8])).all()


@pytest.mark.parametrize("form", ["prefix", "index", "folder", "saved model of TF1", "saved model of TF2"])
def test_one_network_from_any_of_tensorflows_files(form, full, tmp_path):
    if form == "saved model of TF2":
        path = random("magenta_full/savedmodel_hub.tar.gz")
    else:
        with tarfile.open(random("magenta_full/checkpoint.tar.gz")) as archive:
            # Older releases of Python have no filter; the archive is our own.
            archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        folder = tmp_path / "arbitrary_style_transfer"
        path = {"prefix": folder / "model.ckpt", "index": folder / "model.ckpt.index"}.get(form, folder)
        if form == "saved model of TF1":
            (tmp_path / "saved" / "variables").mkdir(parents=True)
            for file in folder.iterdir():
                file.rename(tmp_path / "saved" / "variables" / file.name.replace("model.ckpt", "variables"))
            (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
            path = tmp_path / "saved"
    model = converted(tmp_path / "other.safetensors", path)
    assert model.space == Stylizer(full).space
    ours, reference = tensors(tmp_path / "other.safetensors"), tensors(full)
    assert ours.keys() == reference.keys()
    assert all((ours[name] == reference[name]).all() for name in ours)


def test_tensorflow_js_of_2018_and_of_today(full, magenta, tmp_path):
    parts = [random("magenta_full/tfjs_predict_2018.tar.gz"), random("magenta_full/tfjs_transform.tar.gz")]
    model = converted(tmp_path / "js.safetensors", *parts, as_is=True)
    # Not folded, F is the same to the bit; folded by its converter, T is nearly so.
    assert model.space == Stylizer(full).space
    ours, reference = tensors(tmp_path / "js.safetensors"), tensors(full)
    for name, tensor in reference.items():
        limit = 0 if name.startswith("predictor.") else EXACT
        assert off(ours[name], tensor) <= limit, name
    check_transfer(model, magenta, "", ("mixed", "free"))


def test_tflite_of_today(magenta, tmp_path):
    f = unpacked("magenta_full/predict_dynamic.tflite.gz", tmp_path)
    model = converted(tmp_path / "lite.safetensors", f, random("magenta_full/transfer_dynamic.tflite"), as_is=True)
    for size in (name.removeprefix("z dynamic/") for name in magenta if name.startswith("z dynamic/")):
        found = off(model.encode(magenta[f"image/{size}"][None])[0], magenta[f"z dynamic/{size}"])
        assert found <= EXACT, (size, found)
    check_transfer(model, magenta, "dynamic ", ("mixed",))


def test_the_separable_transformer(magenta, tmp_path):
    out = tmp_path / "separable.safetensors"
    model = converted(out, random("magenta_full/checkpoint_separable.tar.gz"), as_is=True)
    check_transfer(model, magenta, "separable ", ("mixed",))
    real = shared("weights/magenta_separable_transformer_tfjs")
    js = converted(tmp_path / "real.safetensors", random("magenta_full/tfjs_predict_2018.tar.gz"), real, as_is=True)
    image, z = magenta["image/64x96"], magenta["style/mixed"]
    reference = Reference(tmp_path / "real.safetensors").transfer(image / 255, z.ravel())
    assert off(js.transfer(image[None], z.reshape(1, -1))[0], reference) <= EXACT


@pytest.mark.parametrize("legacy", ["", "_legacy"])
@pytest.mark.parametrize("form", ["normalised", "torchvision"])
def test_adain(form, legacy, tmp_path):
    names = ["vgg_normalised", "decoder"] if form == "normalised" else ["model_state"]
    files = [unpacked(f"adain/{name}{legacy}.pth.gz", tmp_path) for name in names]
    model = converted(tmp_path / "adain.safetensors", *files)
    assert model.dim == 1024
    assert Stylizer(tmp_path / "adain.safetensors").precision == "exact"
    assert Stylizer(tmp_path / "adain.safetensors", precision="fast").precision == "fast"
    with np.load(random("adain/io.npz")) as io:
        styles = {name.split("/")[2]: io[name] for name in io if name.startswith(f"{form}/z/")}
        for name, z in styles.items():
            found = off(model.encode(io[f"image/{name}"][None])[0], z)
            assert found <= (SMALL if name == "8" else EXACT), (name, found)
        compared = 0
        for name in io:
            if not name.startswith(f"{form}/") or "alpha" not in name:
                continue
            _, content, style, alpha = name.split("/")
            image = io[f"image/{content}"]
            if min(image.shape[:2]) < 9 or (form == "torchvision" and any(n % 8 for n in image.shape[:2])):
                continue
            share = float(alpha.removeprefix("alpha "))
            out = model.stylize((image / 255).astype(np.float32)[None], styles[style][None], alpha=share, beta=1.0)[0]
            reference = np.clip(io[name], 0, 1)[: image.shape[0], : image.shape[1]]
            assert abs(out - reference).max() <= SMALL, (name, abs(out - reference).max())
            compared += 1
        assert compared > 0


def test_blending_maps_is_blending_z(tmp_path):
    files = [unpacked(f"adain/{name}.pth.gz", tmp_path) for name in ("vgg_normalised", "decoder")]
    model = converted(tmp_path / "adain.safetensors", *files)
    with np.load(random("adain/io.npz")) as io:
        image, style = (io[f"image/{name}"][None] for name in ("64x96", "style 64"))
    z_content, z_style = model.encode(image), model.encode(style)
    blended = model.transfer(image, 0.7 * z_content + 0.3 * z_style)
    assert abs(model.stylize(image / np.float32(255), z_style, alpha=0.3, beta=1.0) - blended).max() < 1e-5


def test_a_deviation_below_0_counts_as_0(tmp_path):
    files = [unpacked(f"adain/{name}.pth.gz", tmp_path) for name in ("vgg_normalised", "decoder")]
    model = converted(tmp_path / "adain.safetensors", *files)
    with np.load(random("adain/io.npz")) as io:
        image = io["image/64x96"][None]
    z = model.encode(image)
    means, deviations = z[:, :512], z[:, 512:] * np.where(np.arange(512) % 3 == 0, -1, 1)
    drawn, nearest = (np.hstack([means, some]) for some in (deviations, np.maximum(deviations, 0)))
    assert np.array_equal(model.transfer(image, drawn), model.transfer(image, nearest))
    assert not np.array_equal(model.transfer(image, drawn), model.transfer(image, z))


def test_styleaug(tmp_path):
    files = [unpacked(path.name and f"styleaug/{path.name}", tmp_path) for path in random("styleaug").glob("*.pth.gz")]
    model = converted(tmp_path / "styleaug.safetensors", *files)
    with np.load(random("styleaug/io.npz")) as io:
        for size in (name.removeprefix("z/") for name in io if name.startswith("z/")):
            found = off(model.encode(io[f"image/{size}"][None])[0], io[f"z/{size}"])
            assert found <= EXACT, (size, found)
        for size in (name.removeprefix("T of z 256/") for name in io if name.startswith("T of")):
            image = io[f"image/{size}"]
            if min(image.shape[:2]) < 8:
                continue
            out = model.transfer(image[None], io["z/256"][None])[0]
            found = off(out, io[f"T of z 256/{size}"][: image.shape[0], : image.shape[1]])
            assert found <= (SMALL if size == "8" else EXACT), (size, found)


def test_onnx(tmp_path):
    files = {path.name: path for path in random("mobile_onnx").glob("*.onnx")}
    real = [shared(f"weights/magenta_mobile_{name}.tflite") for name in ("predictor_int8", "transformer_f16")]
    reference = converted(tmp_path / "reference.safetensors", *real)
    f = next(path for name, path in files.items() if "predict" in name)
    image = np.random.default_rng(3).integers(0, 256, (1, 64, 64, 3), np.uint8)
    z = reference.encode(image)
    for name, path in files.items():
        if path == f:
            continue
        model = converted(tmp_path / f"{path.stem}.safetensors", f, path)
        assert model.space == reference.space
        assert abs(model.transfer(image, z) - reference.transfer(image, z)).max() <= EXACT, name


def test_predictors_and_transformers_of_other_pairs_are_refused(tmp_path):
    mobile = shared("weights/magenta_mobile_predictor_int8.tflite")
    wide = shared("weights/magenta_full_transformer_f16.tflite")
    with pytest.raises(ValueError, match="trained with the style vectors of InceptionV3, not of MobileNetV2"):
        convert([mobile, wide], tmp_path / "m.safetensors", "m")
    assert not (tmp_path / "m.safetensors").exists()
    convert([mobile, wide], tmp_path / "m.safetensors", "m", any_pair=True)


@pytest.mark.parametrize(
    ("folder", "phrase"),
    [
        ("v1", "model.ckpt is an old checkpoint (V1), without model.ckpt.index"),
        ("sliced", 'holds the variable "Conv/weights" in slices'),
        ("snappy", "has blocks compressed by Snappy"),
        ("keras", "variables without Magenta's names"),
        ("shards", "InceptionV3/"),
        ("bfloat16", "InceptionV3/"),
    ],
)
def test_what_cannot_be_read_is_said(folder, phrase, tmp_path):
    with pytest.raises(ValueError, match=re.escape(phrase)) as caught:
        convert([random(f"bad/{folder}")], tmp_path / "m.safetensors", "m")
    assert str(random("bad")) in str(caught.value)


def test_a_part_alone_is_said(tmp_path):
    encoder = unpacked("adain/vgg_normalised.pth.gz", tmp_path)
    for paths, phrase in [
        ([encoder], "give the decoder, decoder.pth, too"),
        ([random("magenta_full/tfjs_transform.tar.gz")], "holds no style predictor F"),
        ([random("magenta_full/tfjs_predict_2018.tar.gz")], "holds no style transformer T"),
        ([encoder, random("magenta_full/transfer_dynamic.tflite")], "beside a .pth file"),
    ]:
        with pytest.raises(ValueError, match=phrase):
            convert(paths, tmp_path / "m.safetensors", "m")


def test_inception_in_plain_numpy(full, magenta):
    oracle = Reference(full)
    assert off(oracle.encode(magenta["image/43"] / 255), magenta["z/43"]) <= EXACT
    assert json.loads(json.dumps(oracle.network))["predictor"]["kind"] == "inception_v3"
