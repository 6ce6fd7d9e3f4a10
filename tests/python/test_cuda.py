"""SASSL on the GPU: what can be known without one; and, `pytest -m cuda`, on one: parity with the CPU, manners as a guest."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sassl
from conftest import GOLDEN, need
from sassl import cuda, images
from sassl._sassl import CudaStylizer, cuda_views
from sassl.transforms import BYOLTransform, MoCoV2Transform, SimCLRTransform
from sassl.transforms.plain import SASSL


def layout(dtype="uint8", height=40, width=44):
    return dtype, height, width, (3 * height * width, width, 1, height * width)


def block(p=1.0, **options):
    return SASSL(p=p, threads=1, **options)


def need_nvrtc():
    found = cuda.info()["nvrtc"]
    if found.startswith("CUDA"):
        pytest.skip(f"DID NOT RUN: {found}")


@pytest.mark.parametrize("arch", [75, 80, 86, 89, 90, 100, 120])
def test_every_kernel_compiles(arch):
    need_nvrtc()
    model = "lite" if arch in (75, 90) else str(GOLDEN / "small_dense.safetensors")
    for precision, dtype in (("fast", "bfloat16"), ("exact", "float32")):
        stylizer = sassl.Stylizer(model, precision=precision)
        params = SASSL(styles="batch", model=stylizer).sample(4)
        plan = CudaStylizer(stylizer).plan(layout(), params, layout(dtype))
        sizes = plan.compile(arch)
        assert len(sizes) <= len(plan)
        assert min(sizes.values()) > 1000


@pytest.mark.parametrize("arch", [75, 90, 120])
def test_kernels_of_views_compile(arch):
    need_nvrtc()
    for recipe in (MoCoV2Transform(32, rr_prob=0.5), BYOLTransform(32, cj_form="byol", normalize=None, dtype="uint8")):
        core = recipe.core
        params = core.sample_batch(3, 16, 40, 44)
        assert [core.sample(3, 40, 44, index=i) for i in range(16)] == params
        out = [(0, layout(recipe.dtype, 32, 32)), (1 << 20, layout(recipe.dtype, 32, 32))]
        assert min(cuda_views(core, layout(), params, out).compile(arch).values()) > 1000
    with pytest.raises(ValueError, match=r"crop must be within the image of 30x30, got"):
        cuda_views(core, layout("uint8", 30, 30), params, out)
    with pytest.raises(ValueError, match="dtype must be uint8 for views"):
        cuda_views(core, layout("float32"), params, out)
    styled = MoCoV2Transform(32, style=SASSL(p=1.0, styles="batch"), styled_view="both")
    with pytest.raises(ValueError, match="takes styles of the batch, which only the first style step can on a GPU"):
        cuda_views(
            styled.core, layout(), styled.core.sample_batch(3, 4, 40, 44), out, CudaStylizer(styled.style.stylizer)
        )


def test_a_plan_is_bounded_and_says_what_cannot_be():
    core, transform = CudaStylizer(sassl.Stylizer()), block()
    small = core.plan(layout(), transform.sample(1), layout(), 1200)
    large = core.plan(layout("uint8", 224, 224), transform.sample(2048), layout("uint8", 224, 224), 1200)
    assert len(small) < len(large)
    assert large.workspace < 640 << 20
    for images_, params, bank, message in (
        (layout("int32"), transform.sample(2), 1200, "dtype must be uint8, float16, bfloat16 or float32, got int32"),
        (layout(height=7), transform.sample(2), 1200, "images must be at least 8x8, got 7x44"),
        (layout("uint8", 1 << 16, 1 << 16), transform.sample(1), 1200, "at most 2\\^28 pixels"),
        (
            layout(),
            sassl.StyleParams([True], [0.2], [0.2], [7]),
            3,
            r"style\[0\] must be in \[0, 3\), the range of the styles, got 7",
        ),
        (
            layout(),
            sassl.StyleParams([True], [0.2], [0.2], [1]),
            None,
            r"style\[0\] must be in \[0, 1\), the range of the styles, got 1",
        ),
        (layout(), sassl.StyleParams([True], [0.2], [0.2], [[1.0]]), 3, r"style\[0\] must have length 64, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            core.plan(images_, params, images_, bank)
    nothing = sassl.StyleParams([False], [0.2], [0.2], [1])
    assert len(core.plan(layout(), nothing, layout(), 3)) == 2  # Its number, and its copy.


def test_a_forked_process_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(cuda, "_devices", {0: object()})
    monkeypatch.setattr(cuda, "_process", os.getpid())
    assert cuda._device(0)
    monkeypatch.setattr(cuda, "_process", os.getpid() + 1)
    with pytest.raises(RuntimeError, match="forked from one that uses the GPU"):
        cuda._device(0)


def test_a_machine_says_what_it_lacks():
    found = cuda.info()
    assert set(found) == {"driver", "nvrtc", "devices", "kernels"}
    if isinstance(found["devices"], str):
        assert found["devices"].startswith("CUDA: ")
        with pytest.raises(RuntimeError, match="CUDA: "):
            cuda._device(0)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((3, 9, 10), "uint8"), ((2, 1, 9, 10), "uint8"), ((2, 2, 3, 9, 10), "float64"), ((2, 1, 9, 10), "float16")],
)
def test_tensors_come_back_as_they_were(shape, dtype):
    need("torch")
    import torch

    tensor = (torch.rand(shape) * (255 if dtype == "uint8" else 1)).to(getattr(torch, dtype))
    batch, restore = images.unpack_cuda(tensor)
    assert batch.ndim == 4
    assert batch.shape[1] == 3
    assert batch.dtype in (torch.uint8, torch.float16, torch.float32)
    applied = np.arange(len(batch)) % 2 == 0
    # What comes out where nothing is changed.
    out = restore(batch.clone(), applied)
    assert out.shape == tensor.shape
    assert out.dtype == tensor.dtype
    assert torch.equal(out.reshape(len(batch), -1)[1:2], tensor.reshape(len(batch), -1)[1:2])
    assert torch.allclose(out.double(), tensor.double(), atol=1e-3 if dtype != "uint8" else 0)
    with pytest.raises(ValueError, match="1 or 3 channels"):
        images.unpack_cuda(torch.zeros(2, 4, 9, 9))
    with pytest.raises(ValueError, match="must be uint8, or floats"):
        images.unpack_cuda(torch.zeros(3, 9, 9, dtype=torch.int32))


@pytest.fixture
def no_launches(monkeypatch):
    """Tensors of the CPU go the way to a GPU and back, all but the launches; what was run, and what was loaded."""
    need("torch")
    import torch
    from sassl.transforms import plain, views

    ran, loaded = [], []

    def run(plan, images, out, weights, styles):
        ran.append((len(plan), plan.workspace, None if styles is None else tuple(styles.shape)))
        if out.shape[1:] == images.shape[1:]:
            out.copy_(images)
        else:
            out.zero_()

    for module in (plain, views):
        monkeypatch.setattr(module, "is_cuda", lambda value: isinstance(value, torch.Tensor))
    monkeypatch.setattr(cuda, "_load", lambda plan, device: loaded.append(len(plan)))
    monkeypatch.setattr(cuda, "_run", run)
    return ran, loaded


def test_the_way_to_a_gpu_and_back(no_launches):
    import torch

    ran, loaded = no_launches
    transform = block()
    for shape, dtype in (
        ((4, 3, 20, 24), torch.uint8),
        ((3, 20, 24), torch.float32),
        ((2, 2, 1, 20, 24), torch.float64),
    ):
        x = (torch.rand(shape) * 255).to(dtype) if dtype == torch.uint8 else torch.rand(shape, dtype=dtype)
        out = transform(x)
        assert (out.shape, out.dtype, out.device) == (x.shape, dtype, x.device)
        assert torch.allclose(out.double(), x.double(), atol=1e-6)
        assert len(transform.params) == max(np.prod(shape[:-3], dtype=int), 1)
    last = torch.zeros(2, 3, 20, 24, dtype=torch.float16).contiguous(memory_format=torch.channels_last)
    assert transform(last).is_contiguous(memory_format=torch.channels_last)
    assert {styles for _, _, styles in ran} == {(1200, 64)}
    assert len(transform._kernels) == 1
    count = len(ran)
    assert transform(torch.zeros(0, 3, 20, 24)).shape == (0, 3, 20, 24)
    still = block(0.0)
    assert still(last) is last
    assert len(ran) == count
    with pytest.raises(ValueError, match="params must have length 2, one for each image, got 3"):
        transform.apply_params(last, transform.sample(3))
    assert len(loaded) == 1
    kernels = transform.on("cpu")
    assert kernels is transform.on(last.device)
    with pytest.raises(ValueError, match=r"images must have shape \(N, 3, H, W\) on cpu"):
        kernels.apply(last[:, :1], transform.sample(2))
    assert kernels.encode(last).shape == (2, 64)
    assert kernels.apply(last, transform.sample(2), torch.bfloat16).dtype == torch.bfloat16


@pytest.mark.usefixtures("no_launches")
def test_the_way_of_two_views_to_a_gpu_and_back():
    import torch

    batch = torch.zeros(5, 3, 40, 44, dtype=torch.uint8)
    for recipe, shape, dtype in (
        (MoCoV2Transform(32, style=block(styles="batch")), (3, 32, 32), torch.float32),
        (SimCLRTransform(32, dtype="float16", channels_last=True), (32, 32, 3), torch.float16),
        (BYOLTransform((16, 24), normalize=None, dtype="uint8", style=block()), (3, 16, 24), torch.uint8),
    ):
        left, right = recipe(batch)
        assert left.shape == right.shape == (5, *shape)
        assert left.dtype == right.dtype == dtype
        assert len(recipe.params) == 5
        one = recipe(batch[0, :1])
        assert [view.shape for view in one] == [shape, shape]
        with pytest.raises(ValueError, match="params must have length 5, one list for each image, got 2"):
            recipe.apply_params(batch, recipe.core.sample_batch(0, 2, 40, 44))
        with pytest.raises(ValueError, match=r"must be a uint8 tensor \(N, 3, H, W\)"):
            recipe(batch.float())
        assert [view.shape for view in recipe(batch[:0])] == [(0, *shape)] * 2


def test_what_a_gpu_cannot_do_is_told_by_name(no_launches):
    import torch
    from sassl.transforms import Views
    from sassl.transforms.operations import Erasing, HorizontalFlip, RandomResizedCrop

    batch, crop = torch.zeros(2, 3, 40, 44, dtype=torch.uint8), RandomResizedCrop(32)
    multi = Views([crop, HorizontalFlip()], [RandomResizedCrop((16, 20))], [crop])
    assert [view.shape for view in multi(batch)] == [(2, 3, 32, 32), (2, 3, 16, 20), (2, 3, 32, 32)]
    for view, message in (
        ([crop, Erasing(p=1.0)], 'views: "erasing" changes the finished view'),
        ([crop, lambda image: image], "is a Python function, which has no GPU kernel"),
    ):
        with pytest.raises(ValueError, match=message):
            Views(view)(batch)
    with pytest.raises(ValueError, match="must share one SASSL on a GPU, got 2"):
        Views([crop, block()], [crop, block()])(batch)


def test_compilers_call_it_as_it_is():
    need("torch")
    import torch

    seen = []

    def inside(x):
        seen.append(torch.compiler.is_compiling())
        return x * 2

    compiled = torch.compile(lambda x: images.uncompiled(inside, x + 1) * 3, backend="eager")
    assert torch.equal(compiled(torch.ones(2)), torch.full((2,), 12.0))
    assert seen == [False]


def test_arrays_of_others_go_by_dlpack(monkeypatch):
    need("torch")
    import torch
    import torch.utils.dlpack

    class Array:
        """As CuPy's, on the CPU."""

        def __init__(self, array):
            self.array, self.shape = array, array.shape

        def __dlpack_device__(self):
            return 2, 0

        def __dlpack__(self, **options):
            return self.array.__dlpack__()

    library = types.ModuleType("library")
    library.from_dlpack = lambda tensor: ("given back", np.from_dlpack(tensor))
    monkeypatch.setitem(sys.modules, "library", library)
    Array.__module__ = "library.core"
    array = Array(np.random.default_rng(0).random((4, 9, 10, 3), np.float32))
    assert images.is_cuda(array)
    assert not images.is_cuda(array.array)
    monkeypatch.setattr(torch.utils.dlpack, "from_dlpack", lambda array: torch.from_numpy(array.array))
    batch, restore = images.unpack_cuda(array)
    assert batch.shape == (4, 3, 9, 10)
    told, back = restore(batch.clone(), np.ones(4, bool))
    assert told == "given back"
    assert np.array_equal(back, array.array)


@pytest.fixture
def torch():
    need("torch")
    import torch

    if not torch.cuda.is_available():
        pytest.skip("DID NOT RUN: there is no GPU")
    return torch


def some_images(torch, n, height, width, dtype):
    x = torch.nn.functional.interpolate(torch.rand(n, 3, 5, 5), (height, width), mode="bicubic").clamp(0, 1)
    x = (x + 0.1 * torch.rand(n, 3, height, width)).clamp(0, 1)
    return (x * 255).round().to(torch.uint8) if dtype == torch.uint8 else x.to(dtype)


def apart(torch, one, other):
    scale = 1 if one.dtype == torch.uint8 else 255
    off = (one.cpu().double() - other.double()).abs() * scale
    return off.max().item(), off.mean().item()


@pytest.mark.cuda
@pytest.mark.parametrize("model", ["lite", *(f"small_{kind}" for kind in ("dense", "separable", "shuffle", "skip"))])
@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_pixels_are_the_cpus(torch, model, precision):
    model = model if model == "lite" else str(GOLDEN / f"{model}.safetensors")
    styles = "default" if model == "lite" else "batch"
    ours = block(0.8, styles=styles, model=model, precision=precision)
    reference = block(0.8, styles=styles, model=model, precision="exact")
    torch.manual_seed(0)
    for dtype in (torch.uint8, torch.float16, torch.bfloat16, torch.float32):
        for n, height, width in ((16, 8, 8), (5, 37, 63), (3, 224, 224), (1, 65, 300)):
            x = some_images(torch, n, height, width, dtype)
            params = ours.sample(n)
            for layout in (torch.contiguous_format, torch.channels_last):
                moved = x.cuda().contiguous(memory_format=layout)
                out = ours.apply_params(moved, params)
                assert out.dtype == dtype
                assert out.is_contiguous(memory_format=layout)
                most, mean = apart(torch, out, reference.apply_params(x, params))
                rounding = {torch.bfloat16: 1.0, torch.float16: 0.1}.get(dtype, 0.0)
                assert most <= 1.01 + rounding if precision == "exact" else mean <= 0.5 + rounding


@pytest.mark.cuda
@pytest.mark.parametrize("recipe", [MoCoV2Transform, SimCLRTransform, BYOLTransform])
@pytest.mark.parametrize(
    "options", [{}, {"dtype": "float16", "channels_last": True}, {"normalize": None, "dtype": "uint8"}]
)
def test_views_are_the_cpus(torch, recipe, options):
    x = some_images(torch, 6, 250, 190, torch.uint8)
    transform = recipe(96, rr_prob=0.2, **options)
    views = transform(x.cuda())
    for i, params in enumerate(transform.params):
        for one, other in zip(views, transform.apply_params(x[i], params), strict=True):
            assert torch.equal(one[i].cpu(), other)
    alone = transform.apply_params(x[0].cuda(), transform.params[0])
    assert torch.equal(alone[0], views[0][0])
    styled = recipe(96, style=SASSL(p=0.8, precision="exact"), **options)
    views = styled(x.cuda())
    assert all(view.is_cuda and view.shape[0] == 6 for view in views)


@pytest.mark.cuda
def test_strided_expanded_gray_and_empty_tensors(torch):
    transform = block()
    x = some_images(torch, 4, 40, 44, torch.uint8)
    params = transform.sample(4)
    whole = transform.apply_params(x.cuda(), params)
    padded = torch.zeros(4, 3, 50, 60, dtype=torch.uint8, device="cuda")
    padded[..., 3:43, 5:49] = x.cuda()
    assert torch.equal(transform.apply_params(padded[..., 3:43, 5:49], params), whole)
    one = x[:1].cuda().expand(4, -1, -1, -1)
    assert torch.equal(transform.apply_params(one, params), transform.apply_params(one.contiguous(), params))
    gray = x[:, :1].cuda()
    assert transform.apply_params(gray, params).shape == gray.shape
    assert transform(torch.zeros(0, 3, 40, 44, device="cuda")).shape == (0, 3, 40, 44)
    with pytest.raises(ValueError, match="params must have length 4, one for each image, got 3"):
        transform.apply_params(x.cuda(), transform.sample(3))


@pytest.mark.cuda
def test_a_batch_may_have_more_numbers_than_an_int(torch):
    n = 2**31 // (3 * 224 * 224) + 100
    if torch.cuda.mem_get_info()[0] < 4 * n * 3 * 224 * 224:
        pytest.skip("DID NOT RUN: there is too little memory on the GPU")
    transform = block(0.5)
    some = some_images(torch, 4, 224, 224, torch.uint8).cuda()
    x = torch.zeros(n, 3, 224, 224, dtype=torch.uint8, device="cuda")
    x[-4:] = some
    params = transform.sample(n)
    last = sassl.StyleParams(params.apply[-4:], params.alpha[-4:], params.beta[-4:], params.style[-4:])
    assert torch.equal(transform.apply_params(x, params)[-4:], transform.apply_params(some, last))


@pytest.mark.cuda
def test_runs_repeat_and_streams_are_torchs(torch):
    transform = block(0.8, styles="batch")
    x = some_images(torch, 16, 224, 224, torch.uint8).cuda()
    params = transform.sample(16)
    first = transform.apply_params(x, params)
    for _ in range(5):
        assert torch.equal(transform.apply_params(x, params), first)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        busy = torch.rand(4096, 4096, device="cuda")
        for _ in range(20):
            busy = busy @ busy
        copy = x.clone()
        second = transform.apply_params(copy, params)
    side.synchronize()
    assert torch.equal(second, first)
    graph, out = torch.cuda.CUDAGraph(), None
    still = x.clone()
    with torch.cuda.graph(graph):
        out = transform.apply_params(still, params)
    still.copy_(x.flip(0))
    graph.replay()
    assert torch.equal(out, transform.apply_params(x.flip(0), params))


@pytest.mark.cuda
def test_threads_have_streams_of_their_own(torch):
    transform = block(0.8)
    x = some_images(torch, 16, 96, 96, torch.uint8).cuda()
    params = [transform.sample(16) for _ in range(4)]
    alone = [transform.apply_params(x, one) for one in params]
    torch.cuda.synchronize()

    def work(one):
        with torch.cuda.stream(torch.cuda.Stream()):
            outs = [transform.apply_params(x, one) for _ in range(25)]
            torch.cuda.current_stream().synchronize()
        return outs

    with ThreadPoolExecutor(4) as pool:
        for outs, expected in zip(pool.map(work, params), alone, strict=True):
            assert all(torch.equal(out, expected) for out in outs)


@pytest.mark.cuda
def test_a_fork_is_told_what_to_do(torch):
    transform = block()
    x = some_images(torch, 2, 32, 32, torch.uint8).cuda()
    transform(x)
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            transform(x)
            told = "nothing"
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
        os.write(writes, told.encode())
        os._exit(0)
    os.close(writes)
    os.waitpid(child, 0)
    with os.fdopen(reads) as pipe:
        told = pipe.read()
    assert told.startswith("RuntimeError: CUDA: this process was forked from one that uses the GPU; apply SASSL")
    assert "\n" not in told


@pytest.mark.cuda
@pytest.mark.parametrize("library", ["cupy", "jax"])
def test_arrays_of_others(torch, library, monkeypatch):
    need(library)
    # JAX would take most of the memory.
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    x = some_images(torch, 3, 40, 44, torch.uint8).permute(0, 2, 3, 1).contiguous()
    array = importlib.import_module("cupy" if library == "cupy" else "jax.numpy").asarray(x.numpy())
    transform = block()
    params = transform.sample(3)
    out = transform.apply_params(array, params)
    assert type(out) is type(array)
    assert out.shape == array.shape
    expected = transform.apply_params(x.cuda().permute(0, 3, 1, 2), params).permute(0, 2, 3, 1)
    assert torch.equal(torch.from_dlpack(out).cpu(), expected.cpu())


@pytest.mark.cuda
def test_nothing_leaks_and_memory_may_run_out(torch):
    transform = block()
    x = some_images(torch, 8, 32, 32, torch.uint8).cuda()
    transform(x)
    before = torch.cuda.memory_allocated()
    for _ in range(10_000):
        transform(x)
    assert torch.cuda.memory_allocated() == before
    large = torch.zeros(4096, 3, 224, 224, dtype=torch.uint8, device="cuda")
    free, _ = torch.cuda.mem_get_info()
    held = torch.empty(free - (64 << 20), dtype=torch.uint8, device="cuda")
    with pytest.raises(torch.OutOfMemoryError):
        transform(large)
    del held
    torch.cuda.empty_cache()
    transform(x)


EVERY_KERNEL = """
import sassl, torch
from sassl.transforms.plain import SASSL
x = (torch.rand(3, 3, 45, 67) * 255).byte().cuda()
for precision in ("fast", "exact"):
    for styles in ("default", "batch"):
        transform = SASSL(p=0.8, styles=styles, model=sassl.Stylizer(precision=precision))
        transform(x), transform(x.half() / 255)
for path in {models}:
    SASSL(p=1.0, styles="batch", model=path)(x)
for name in ("MoCoV2", "SimCLR", "BYOL"):
    getattr(sassl.transforms, name + "Transform")(32, rr_prob=0.5, style=SASSL(p=1.0))(x)
torch.cuda.synchronize()
"""


@pytest.mark.cuda
@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_the_sanitizer_finds_nothing(torch, tool):
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        pytest.skip("DID NOT RUN: there is no compute-sanitizer, which comes with CUDA's toolkit")
    text = EVERY_KERNEL.format(models=[str(path) for path in sorted(GOLDEN.glob("*.safetensors"))])
    command = [sanitizer, "--tool", tool, "--error-exitcode", "1", sys.executable, "-c", text]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.cuda
def test_compiled_and_on_other_devices(torch):
    transform, recipe = block(), MoCoV2Transform(32)
    x = some_images(torch, 4, 64, 64, torch.float32).cuda()
    params = transform.sample(4)
    told = torch.compile(lambda x: transform.apply_params(x + 0, params) * 2, backend="eager")(x)
    assert torch.equal(told, transform.apply_params(x, params) * 2)
    told = torch.compile(lambda x: transform(x + 0) * 2, backend="eager")(x)
    assert torch.equal(told, transform.apply_params(x, transform.params) * 2)
    told = torch.compile(lambda x: recipe(x + 0)[1] * 2, backend="eager")((x * 255).byte())
    assert torch.equal(told, recipe.apply_params((x * 255).byte(), recipe.params)[1] * 2)
    for index in range(1, torch.cuda.device_count()):
        other = transform.apply_params(x.to(index), params)
        assert other.device.index == index
        assert torch.equal(other.to(0), transform.apply_params(x, params))
        assert torch.cuda.current_device() == 0
