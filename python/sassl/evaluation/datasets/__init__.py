"""Data sets of transfer: where each lies on disk, how it is split, resized and measured; a row each.

    from sassl.evaluation import datasets

    train, val, test = (datasets.load("dtd", "data", split) for split in ("train", "val", "test"))
    datasets.DATASETS["dtd"].metric  # "top1"

Nothing is downloaded: what is missing is said, with how to get it. `docs/transfer.md` has the layouts. A set of your own is a
row more, `DATASETS["pets"] = Dataset(...)`, whose reader gives a `Listing` for what a `Want` asks.
"""

from .listing import Listing, Want
from .loading import Split, found, load, school_of
from .rows import Dataset, School
from .table import DATASETS

__all__ = ["DATASETS", "Dataset", "Listing", "School", "Split", "Want", "found", "load", "school_of"]
