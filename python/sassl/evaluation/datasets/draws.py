"""Random draws for splits without a published list, by SHA-256 of the seed and each image's name.

Draws are the same on every machine. They do not depend on the order of a folder's files, or on numpy's version.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from hashlib import sha256

from .listing import Listing


def shuffled(names: Iterable[str], seed: int) -> list[str]:
    """Return the names in a pseudorandom order, which is a function of the seed and the names."""
    return sorted(names, key=lambda name: sha256(f"{seed}/{name}".encode(errors="surrogateescape")).digest())


def by_class(listing: Listing, seed: int) -> dict[int, list[int]]:
    """Return the indices of the images of each class, in a random order within each class."""
    rows = {name: row for row, name in enumerate(listing.names)}
    found: dict[int, list[int]] = defaultdict(list)
    for name in shuffled(listing.names, seed):
        found[listing.targets[rows[name]]].append(rows[name])
    return dict(sorted(found.items()))


def held_out(listing: Listing, split: str, share: Fraction, seed: int) -> Listing:
    """Split the images of each class at random; return the held-out images for "val", or the remaining images for "train".

    No class is held out entirely. The counts of held-out images per class are rounded by the largest remainder method, so that
    they add up to the share of all images.
    """
    rows = by_class(listing, seed)
    exact = {label: len(own) * share for label, own in rows.items()}
    counts = {label: int(n) for label, n in exact.items()}
    more = round(len(listing.names) * share) - sum(counts.values())
    for label in sorted(exact, key=lambda label: (counts[label] - exact[label], label))[:more]:
        counts[label] = min(counts[label] + 1, len(rows[label]) - 1)
    parts = (own[: counts[label]] if split == "val" else own[counts[label] :] for label, own in rows.items())
    return listing.take(sorted(row for part in parts for row in part))


def shots(listing: Listing, count: int, seed: int, skip: int = 0) -> Listing:
    """Draw `count` images of each class, after skipping the first `skip` images in the random order of the class.

    Raises:
        ValueError: a class has fewer than `skip + count` images.
    """
    rows = by_class(listing, seed)
    for label in range(len(listing.classes)):
        there = len(rows.get(label, ()))
        if there < skip + count:
            raise ValueError(
                f"{listing.folder}: class {listing.classes[label]} has {there} images, fewer than the {skip + count} that "
                "are drawn of each class"
            )
    return listing.take(sorted(row for own in rows.values() for row in own[skip : skip + count]))


def beyond(listing: Listing, count: int, seed: int) -> Listing:
    """Return all images except the first `count` in the random order of each class.

    Raises:
        ValueError: a class has no more than `count` images.
    """
    shots(listing, count + 1, seed)
    return listing.take(sorted(row for own in by_class(listing, seed).values() for row in own[count:]))
