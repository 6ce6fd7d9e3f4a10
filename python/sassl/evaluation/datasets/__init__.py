"""Data sets for transfer evaluation, each with its folders, splits, resizing and metric.

    from sassl.evaluation import datasets

    train, val, test = (datasets.load("dtd", "data", split) for split in ("train", "val", "test"))
    datasets.DATASETS["dtd"].metric  # "top1"

Nothing is downloaded: the error for a missing set describes how to get it. `docs/transfer.md` shows the folder layouts. A
school is one of the ways to split a set.

To add a set of your own, use `DATASETS["pets"] = Dataset(...)` with a reader. A reader is a function that returns a `Listing`,
given the set's folder and a `Want`, the requested split.
"""

from .listing import Listing, Want
from .loading import Split, found, load, school_of
from .rows import Dataset, School
from .table import DATASETS

__all__ = ["DATASETS", "Dataset", "Listing", "School", "Split", "Want", "found", "load", "school_of"]
