"""`sassl info`: the version, this machine, and the embedded models."""

from __future__ import annotations

import argparse
from typing import Any

from .. import cuda
from .._sassl import Stylizer, info
from ..bank import StyleBank
from ..terminal import say


def add(sub: argparse.ArgumentParser) -> None:
    """Add nothing; the command has no options."""


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    about = info()
    say(f"sassl {about['version']}")
    say(f"instruction set: {about['isa']} (this machine runs {', '.join(about['supported'])})")
    if not about["multiplies_bytes"]:
        say("  precision fast equals exact: this instruction set has no byte multiplication (avx2 and avx512vnni have)")
    if about["isa"] in ("portable", "scalar"):
        say("  without AVX2 or AVX-512, the kernels are several times slower")
    say(f"cores: {about['cores']}, threads: {about['threads']}")
    print_cuda(cuda.info())
    for name in about["models"]:
        model = Stylizer(name)
        say(f"model {name}: z of {model.dim} values, space {model.space}, {model.licence}; {model.provenance}")
    default = StyleBank.default()
    say(f"default bank: {len(default)} styles, space {default.space}")
    return 0


def print_cuda(about: dict[str, Any]) -> None:
    """Print the lines of `sassl info` about GPUs."""
    devices = about["devices"]
    if isinstance(devices, str):
        say(f"GPU: none; {devices}")
        return
    for i, (name, arch) in enumerate(devices):
        say(f"GPU {i}: {name}, compute capability {arch / 10}, driver for CUDA {about['driver']}")
    say(f"  NVRTC: {about['nvrtc']}; compiled kernels: {about['kernels'] or 'not cached'}")
