"""CIFAR-10 and CIFAR-100, in the binary or the Python version; pickled code is not executed.

A school is one of the ways to split a set.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from ...data import CIFAR
from .draws import held_out
from .listing import Listing, Reader, Want

_TEN = "airplane automobile bird cat deer dog frog horse ship truck"
_HUNDRED = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
    flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
    motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
    poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
    wardrobe whale willow_tree wolf woman worm
"""
#: Names of the (fine) classes, by the number of classes.
CLASSES = {10: _TEN.split(), 100: _HUNDRED.split()}


def cifar(count: int) -> Reader:
    """Return a reader of CIFAR with 10 or 100 (fine) classes.

    Val is a tenth of train, or a fifth in the school "ssl-transfer".
    """

    def read(folder: Path, want: Want) -> Listing:
        is_test = want.split == "test"
        images = CIFAR(folder, train=not is_test)
        part = "test" if is_test else "train"
        names = [f"{part}#{i}" for i in range(len(images))]
        targets = [images[i][1] for i in range(len(images))]

        def image(name: str) -> object:
            return images[int(name.partition("#")[2])][0]

        listing = Listing(folder, names, targets, CLASSES[count], image)
        if is_test:
            return listing
        share = Fraction(1, 5) if want.school == "ssl-transfer" else Fraction(1, 10)
        return held_out(listing, want.split, share, want.seed)

    return read
