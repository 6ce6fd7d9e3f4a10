"""Distributed training with torch: the rank of each process, collectives, and batch norm over the global batch."""
