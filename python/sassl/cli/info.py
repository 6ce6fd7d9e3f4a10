"""`sassl info`: the version, this machine, and the embedded models."""

from __future__ import annotations

import argparse
from typing import Any

from .. import cuda
from .._sassl import Stylizer, info
from ..bank import StyleBank
from ..terminal import say


def add(sub: argparse.ArgumentParser) -> None:
    """It has no options."""


def run(args: argparse.Namespace) -> int:
    """Runs the command; the exit code."""
    about = info()
    say(f"sassl {about['version']}")
    say(f"instruction set: {about['isa']} (this machine runs {', '.join(about['supported'])})")
    if not about["multiplies_bytes"]:
        say("  precision fast is as exact: this instruction set does not multiply bytes (avx2 and avx512vnni do)")
    if about["isa"] in ("portable", "scalar"):
        say("  without AVX2 or AVX-512 the kernels run several times slower")
    say(f"cores: {about['cores']}, threads: {about['threads']}")
    print_cuda(cuda.info())
    for name in about["models"]:
        model = Stylizer(name)
        say(f"model {name}: z of {model.dim} numbers, space {model.space}, {model.licence}; {model.provenance}")
    default = StyleBank.default()
    say(f"default bank: {len(default)} styles, space {default.space}")
    return 0


def print_cuda(about: dict[str, Any]) -> None:
    """Prints the lines of `sassl info` about GPUs."""
    devices = about["devices"]
    if isinstance(devices, str):
        say(f"GPU: none; {devices}")
        return
    for i, (name, arch) in enumerate(devices):
        say(f"GPU {i}: {name}, compute capability {arch / 10}, driver for CUDA {about['driver']}")
    say(f"  NVRTC: {about['nvrtc']}; compiled kernels: {about['kernels'] or 'not kept'}")
