"""Activation checkpointing: each block stores only its input, and recomputes its activations in the backward pass."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


def blocks(module: nn.Module) -> list[nn.Module]:
    """A network's blocks: elements of `nn.Sequential` or `nn.ModuleList` that have children.

    If blocks are nested, only the innermost blocks are returned.
    """
    found: list[nn.Module] = []
    for child in module.children():
        inner = blocks(child)
        is_block = isinstance(module, (nn.Sequential, nn.ModuleList)) and any(True for _ in child.children())
        found += inner or ([child] if is_block else [])
    return found


def wrap(backbone: nn.Module, name: str) -> None:
    """Enable checkpointing for a backbone's blocks.

    Run the backward pass within `unmoved`, or else the recomputation updates the blocks' running statistics a second time.

    Raises:
        ValueError: the backbone has no blocks.
    """
    found = blocks(backbone)
    if not found:
        raise ValueError(
            f"checkpointing=True requires blocks that can be recomputed, which {name} does not have; leave it out"
        )
    for block in found:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
