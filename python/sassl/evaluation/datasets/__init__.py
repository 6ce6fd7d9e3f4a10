"""Data sets for transfer: the folders, splits, resizing and metric of each.

    from sassl.evaluation import datasets

    train, val, test = (datasets.load("dtd", "data", split) for split in ("train", "val", "test"))
    datasets.DATASETS["dtd"].metric  # "top1"

Nothing is downloaded: the error for a missing set describes how to get it. `docs/transfer.md` has the layouts. To add a set of
your own, use `DATASETS["pets"] = Dataset(...)` with a reader that returns the `Listing` of a `Want`.
"""

from .listing import Listing, Want
from .loading import Split, found, load, school_of
from .rows import Dataset, School
from .table import DATASETS

__all__ = ["DATASETS", "Dataset", "Listing", "School", "Split", "Want", "found", "load", "school_of"]
