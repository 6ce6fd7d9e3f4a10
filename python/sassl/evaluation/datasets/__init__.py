"""Data sets of transfer: where each lies on disk, how it is split, resized and measured; a row each.

    from sassl.evaluation import datasets

    train, val, test = (datasets.load("dtd", "data", split) for split in ("train", "val", "test"))
    datasets.DATASETS["dtd"].metric  # "top1"

Nothing is downloaded: what is missing is said, with how to get it. `docs/transfer.md` has the layouts.
"""

from .loading import Split, found, load, school_of
from .rows import Dataset, School
from .table import DATASETS

__all__ = ["DATASETS", "Dataset", "School", "Split", "found", "load", "school_of"]
