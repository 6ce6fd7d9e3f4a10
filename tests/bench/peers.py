"""Other engines on the same weights: LiteRT on Magenta's files; PyTorch, ONNX Runtime and OpenVINO on a model file's
networks. Each is a callable on fixed shapes, ready to be timed.

The networks are those of `examples/distill/networks.py`. Instance norm is the engine's operator; F's resize is written as two
matrix products, which every engine supports.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "distill"))
import networks

Call = Callable[[], object]
ENGINES = ("PyTorch", "ONNX Runtime", "OpenVINO", "OpenVINO bf16")


def _norm(site: networks.Site, x: Tensor, z: Tensor) -> Tensor:
    x = nn.functional.instance_norm(x, eps=1e-5)
    return x * site.gamma(z)[..., None, None] + site.beta(z)[..., None, None]


def _resize(images: Tensor, height: int, width: int) -> Tensor:
    def matrix(n: int, size: int) -> Tensor:
        unit = torch.eye(n, device=images.device)[None, None]
        return nn.functional.interpolate(unit, size=(size, n), mode="bilinear", antialias=True)[0, 0].to(images.dtype)

    rows, columns = images.shape[-2:]
    if (rows, columns) == (height, width):
        return images
    return matrix(rows, height) @ images @ matrix(columns, width).T


networks.Site.norm = _norm
networks.resize = _resize


class Block(nn.Module):
    """Algorithm 1, (N, H, W, 3) uint8 in and out; z_style (N, dim); alpha and beta (N, 1)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.f, self.t = model.predictor, model.transformer

    def forward(self, images: Tensor, z_style: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        x = images.permute(0, 3, 1, 2).float() * (1 / 255)
        z = self.f(x)
        z = z + alpha * (z_style - z)
        beta = beta[..., None, None]
        view = x + beta * (self.t(x, z) - x)
        return (view * 255 + 0.5).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def pytorch(module: nn.Module, inputs: list[np.ndarray], threads: int) -> Call:
    module = module.eval().to(memory_format=torch.channels_last)
    tensors = [torch.from_numpy(array) for array in inputs]
    tensors = [
        x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 and x.shape[1] == 3 else x for x in tensors
    ]

    def call() -> object:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            return module(*tensors)

    return call


def onnx(module: nn.Module, inputs: list[np.ndarray], path: Path) -> Path:
    """Export the module to an ONNX file with these fixed shapes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = [f"input{i}" for i in range(len(inputs))]
        tensors = tuple(torch.from_numpy(array) for array in inputs)
        torch.onnx.export(module.eval(), tensors, path, input_names=names, dynamo=True, verbose=False)
    return path


def onnx_runtime(path: Path, inputs: list[np.ndarray], threads: int) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {item.name: array for item, array in zip(session.get_inputs(), inputs, strict=True)}
    return lambda: session.run(None, feed)


def openvino(path: Path, inputs: list[np.ndarray], threads: int, precision: str) -> Call:
    import openvino

    hints = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(str(path), "CPU", hints).create_infer_request()
    return lambda: request.infer(inputs, share_inputs=True, share_outputs=True)


def engines(module: nn.Module, inputs: list[np.ndarray], threads: int, folder: Path) -> dict[str, Call]:
    """Return a callable for each of `ENGINES`."""
    path = onnx(module, inputs, folder / f"{len(os.listdir(folder))}.onnx")
    return {
        "PyTorch": pytorch(module, inputs, threads),
        "ONNX Runtime": onnx_runtime(path, inputs, threads),
        "OpenVINO": openvino(path, inputs, threads, "f32"),
        "OpenVINO bf16": openvino(path, inputs, threads, "bf16"),
    }


def litert(path: Path, inputs: list[np.ndarray], threads: int) -> Call:
    """Return a callable of LiteRT with XNNPACK on a TFLite file, with its graph resized to the image if necessary."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path), num_threads=threads)
    by_rank = {array.ndim if array.ndim == 4 and array.shape[1] > 1 else 0: array for array in inputs}

    def array(detail: dict) -> np.ndarray:
        return by_rank[4] if detail["shape"][1] > 1 else by_rank[0].reshape(detail["shape"])

    for detail in runner.get_input_details():
        if tuple(detail["shape"]) != array(detail).shape:
            runner.resize_tensor_input(detail["index"], array(detail).shape)
    runner.allocate_tensors()
    details, output = runner.get_input_details(), runner.get_output_details()[0]["index"]

    def call() -> object:
        for detail in details:
            runner.set_tensor(detail["index"], array(detail))
        runner.invoke()
        return runner.get_tensor(output)

    return call
