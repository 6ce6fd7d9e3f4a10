"""
The compiled core of sassl; use it through the package `sassl`.
"""

from _typeshed import SupportsGetItem
import os
import typing

import numpy
import numpy.typing
from typing import Any, SupportsFloat, SupportsIndex, final

__all__ = ["Bank", "Block", "CudaDevice", "CudaPlan", "CudaStylizer", "Draws", "Epoch", "Gaussian", "Loader", "Source", "Step", "StyleParams", "Stylizer", "Trainer", "ViewParams", "Views", "adjust_brightness", "adjust_contrast", "adjust_hue", "adjust_saturation", "backbone_info", "backbone_names", "checkpoint_metadata", "color_profile", "convert", "cosine_momentum", "cosine_rate", "cuda_finish", "cuda_info", "cuda_views", "decode", "describe_state", "gaussian_blur", "grayscale", "hflip", "image_suffixes", "info", "initial_state", "key_order", "knn", "linear_probe", "list_images", "load_checkpoint", "load_styles", "normalize", "operations", "resized_crop", "rotate", "save_checkpoint", "solarize", "version", "vflip", "write_file", "write_tensors"]

@final
class Bank:
    """
    Style vectors of one space, in memory. `sassl.StyleBank` is its face.
    """
    def __getnewargs__(self, /) -> tuple[Any, str, list[str] | None]: ...
    def __len__(self, /) -> int: ...
    def __new__(cls, /, vectors: "numpy.typing.ArrayLike", space: "str", names: "list[str] | None" = None) -> Bank:
        """
        Args:
            vectors: (n, dim) numbers.
            space: the id of the predictor that made them.
            names: one for each vector, or None.
        """
    @staticmethod
    def default() -> Bank:
        """
        The bank inside the package, of the space of `lite`.
        """
    @property
    def dim(self, /) -> int:
        """
        Length of a vector.
        """
    def gaussian(self, /, rank: SupportsIndex = 20) -> Gaussian:
        """
        A Gaussian along the bank's main axes.
        """
    @staticmethod
    def load(path: "str | os.PathLike[str]") -> Bank:
        """
        A bank file, read whole: what becomes of the file later does not matter.
        """
    @property
    def names(self, /) -> list[str] | None:
        """
        What each vector was made from, or None.
        """
    def save(self, /, path: "str | os.PathLike[str]", exact: bool = False) -> "None":
        """
        Writes the bank as a .safetensors file of float16, or of float32 where it is to be `exact`, atomically.
        """
    @property
    def space(self, /) -> str:
        """
        The id of the predictor that made the vectors.
        """
    @property
    def vectors(self, /) -> Any:
        """
        All vectors, (n, dim) float32; a copy.
        """

@final
class Block:
    """
    Algorithm 1 with its settings: what `sassl.transforms.SASSL` wraps.

    Args:
        stylizer: F and T.
        styles: a `Bank`, a `Gaussian`, or None for the other images of the batch.
        p: probability of stylizing an image.
        alpha: range of feature blending.
        beta: range of pixel interpolation.

    Raises:
        ValueError: a number outside [0, 1], a reversed range, styles of another space.
    """
    def __new__(cls, /, stylizer: Stylizer, styles: "Bank | Gaussian | None" = None, p: SupportsFloat | SupportsIndex = ..., alpha: tuple[SupportsFloat | SupportsIndex, SupportsFloat | SupportsIndex] = ..., beta: tuple[SupportsFloat | SupportsIndex, SupportsFloat | SupportsIndex] = ...) -> Block: ...
    def apply(self, /, images: "numpy.typing.NDArray[typing.Any]", params: StyleParams) -> "numpy.typing.NDArray[typing.Any]":
        """
        Algorithm 1, a pure function of images and parameters.

        Args:
            images: (N, H, W, 3) uint8, or float32 in [0, 1]; H and W from 8 up.
            params: one draw for each image.

        Returns:
            Shape and dtype of the images; those with apply = False are returned as they are, and the
            very array if all are.
        """
    def sample(self, /, seed: SupportsIndex, n: SupportsIndex, *, epoch: SupportsIndex = 0, index: SupportsIndex = 0, view: SupportsIndex = 0) -> StyleParams:
        """
        Draws for n images; image i has the random stream (seed, epoch, index + i, view).
        """
    def vectors(self, /, params: StyleParams, z_content: "numpy.typing.ArrayLike | None" = None) -> "numpy.typing.NDArray[numpy.float32]":
        """
        The style vector z_s of each image, (n, dim) float32.

        Args:
            params: what was drawn.
            z_content: (n, dim), F of the batch's images: needed where styles come from the batch.
        """

@final
class CudaDevice:
    """
    A GPU, by its number, with the kernels that were loaded on it.

    Raises:
        RuntimeError: no driver, no such GPU, or one older than compute capability 7.5.
    """
    def __new__(cls, /, ordinal: SupportsIndex) -> CudaDevice: ...

@final
class CudaPlan:
    """
    The launches of a batch.
    """
    def __len__(self, /) -> int: ...
    def compile(self, /, arch: SupportsIndex) -> "dict[str, int]":
        """
        The bytes of each kernel, compiled for an architecture, 90 for compute capability 9.0; needs no GPU.
        """
    def load(self, /, device: CudaDevice) -> str | None:
        """
        Compiles and loads what `run` needs, which then does not have to.

        Returns, raises: as `run`.
        """
    def run(self, /, device: CudaDevice, addresses: tuple[SupportsIndex, SupportsIndex, SupportsIndex, SupportsIndex, SupportsIndex], stream: SupportsIndex) -> str | None:
        """
        Lines the launches up on a stream; it does not wait.

        Args:
            device: where everything lies.
            addresses: of the weights, the workspace, the images, the output and the style vectors.
            stream: a `cudaStream_t`.

        Returns:
            Why compiled kernels could not be kept in files, or None.

        Raises:
            RuntimeError: no NVRTC, or the driver's word.
        """
    @property
    def workspace(self, /) -> int:
        """
        Bytes of memory that it needs while it runs.
        """

@final
class CudaStylizer:
    """
    F and T as kernels for GPUs; `sassl.cuda` launches them.

    Args:
        stylizer: whose model and precision: "fast" is float16 with float32 sums, "exact" float32.
    """
    def __new__(cls, /, stylizer: Stylizer) -> CudaStylizer: ...
    def encode(self, /, images: "tuple[str, int, int, tuple[int, int, int, int]]", count: SupportsIndex) -> CudaPlan:
        """
        F of `count` images into (count, dim) float32.
        """
    def plan(self, /, images: "tuple[str, int, int, tuple[int, int, int, int]]", params: StyleParams, out: "tuple[str, int, int, tuple[int, int, int, int]]", styles: "int | None" = None) -> CudaPlan:
        """
        Algorithm 1.

        Args:
            images, out: dtype, height, width, and the strides of image, row, column and colour in numbers.
            params: one draw for each image.
            styles: vectors of a bank, or None for styles of the batch.

        Raises:
            ValueError: a dtype, a size or a style that cannot be.
        """
    def weights(self, /) -> "numpy.typing.NDArray[numpy.uint8]":
        """
        What the kernels read, as bytes to lie on the device.
        """

@final
class Draws:
    """
    What was drawn for all views of each image of a batch.

    Args:
        params: of each image a list with that of each view.
        regions: of decoded images, where their pixels begin, and the part that these are: top, left, height, width; None of crops.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __getitem__(self, image: SupportsIndex, /) -> list[ViewParams]: ...
    def __getnewargs__(self, /) -> "tuple[typing.Any, ...]": ...
    def __len__(self, /) -> int: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __new__(cls, /, params: SupportsGetItem[int, SupportsGetItem[int, ViewParams]], regions: SupportsGetItem[int, tuple[SupportsIndex, tuple[SupportsIndex, SupportsIndex, SupportsIndex, SupportsIndex]]] | None = None) -> Draws: ...
    @property
    def of_images(self, /) -> bool:
        """
        Whether they are of decoded images, and not of crops.
        """

@final
class Epoch:
    """
    One pass over a loader's batches.
    """
    def close(self, /) -> None:
        """
        Tells its threads to end, each after the image it is at, and does not wait for them.
        """
    def next(self, /) -> "tuple[list[typing.Any], numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.int64], list[str], Draws] | None":
        """
        The next batch: its views, or the bytes that they are still to be made of; int64 indices and targets, names, and what was drawn
        for what is still to be made. None at the end.

        Raises:
            ValueError, OSError: an image cannot be read; the next call gives the batch after it.
        """
    @property
    def taken(self, /) -> int:
        """
        How many batches have been handed out, those that were errors too.
        """

@final
class Gaussian:
    """
    A low-rank Gaussian over a bank: `Bank.gaussian` makes one.
    """
    def __getnewargs__(self, /) -> tuple[Any, Any, str]: ...
    def __new__(cls, /, mean: "numpy.typing.ArrayLike", axes: "numpy.typing.ArrayLike", space: "str") -> Gaussian:
        """
        Args:
            mean: (dim,) numbers.
            axes: (rank, dim), each as long as its standard deviation.
            space: the id of the predictor that made the bank.
        """
    def __repr__(self, /) -> str: ...
    @property
    def axes(self, /) -> Any:
        """
        The axes, (rank, dim) float32, each as long as its standard deviation.
        """
    @property
    def dim(self, /) -> int:
        """
        Length of a vector.
        """
    @property
    def mean(self, /) -> Any:
        """
        The mean style, (dim,) float32.
        """
    @property
    def rank(self, /) -> int:
        """
        How many axes.
        """
    def save(self, /, path: "str | os.PathLike[str]") -> "None":
        """
        Writes it as a .safetensors file of float32: the whole file, or nothing.
        """
    @property
    def space(self, /) -> str:
        """
        The id of the predictor that made the bank.
        """

@final
class Loader:
    """
    A source, an order and views.
    """
    def __len__(self, /) -> int:
        """
        Batches in an epoch.
        """
    def __new__(cls, /, source: Source, views: Views, *, batch_size: SupportsIndex, shuffle: bool, drop_last: bool, seed: SupportsIndex, rank: SupportsIndex, world_size: SupportsIndex, threads: SupportsIndex | None, prefetch: SupportsIndex, on_error: str, on_damage: str, min_decode_size: SupportsIndex | None, makes: str) -> Loader:
        """
        Args:
            source: images.
            views: what becomes of them.
            on_error: "raise" or "report".
            on_damage: "use", "replace" or "raise".
            makes: "views"; "crops", with what was drawn for the second half of the views; or "regions" of decoded images.

        The others are those of `sassl.data.TwoViewLoader`.
        """
    @property
    def report(self, /) -> dict[str, tuple[str, int, bool]]:
        """
        What could not be read, or was damaged: name to (reason, how often, whether it was used all the same).
        """
    def start(self, /, epoch: SupportsIndex, batch: SupportsIndex, pinned: bool) -> Epoch:
        """
        The batches of an epoch, from one of them on, in new arrays; page-locked, if they are to be pinned.
        """

@final
class Source:
    """
    Images by number, each with a class. The classes of `sassl.data` make them.
    """
    def __len__(self, /) -> int: ...
    @property
    def classes(self, /) -> list[str]:
        """
        Names of the classes, where they have names.
        """
    @property
    def damaged(self, /) -> list[tuple[str, str]]:
        """
        Shards of which only a part is here, and why.
        """
    @property
    def exif(self, /) -> bool:
        """
        Whether images that come as files are turned upright.
        """
    @staticmethod
    def files(paths: "list[str | os.PathLike[str]]", targets: "list[int]", exif: bool = True) -> Source:
        """
        Paths, with a class for each.
        """
    @staticmethod
    def folder(root: "str | os.PathLike[str]", exif: bool = True) -> Source:
        """
        `root/<class>/**/image.jpg`.
        """
    def get(self, /, index: SupportsIndex) -> "tuple[numpy.typing.NDArray[numpy.uint8], int]":
        """
        An image, (H, W, 3) uint8, and its class.
        """
    @property
    def has_classes(self, /) -> bool:
        """
        Whether shards hold classes.
        """
    @property
    def hidden(self, /) -> int:
        """
        How many files and folders were left out because they are hidden.
        """
    def identity(self, /) -> tuple[int, tuple[int, int] | None]:
        """
        What tells images from others: FNV-1a over their names, from the folder on that holds all of them; and over their bytes'
        counts, with the sum of these, or None where they are not known.
        """
    def name(self, /, index: SupportsIndex) -> "str":
        """
        What an image is called.
        """
    @property
    def others(self, /) -> int:
        """
        How many files are no images by their name, or in a shard belong to none.
        """
    @staticmethod
    def pickles(layout: str, paths: "list[str | os.PathLike[str]]") -> Source:
        """
        Files of CIFAR's Python version: "cifar10" or "cifar100".
        """
    @staticmethod
    def python(get: "typing.Callable[[int], tuple[typing.Any, int]]", len: SupportsIndex, name: str, exif: bool = True, names: "list[str] | None" = None) -> Source:
        """
        An object of Python: `get(index)` gives (image, class), the image as bytes, a path, or an array (H, W, 3) of uint8. Images
        are called by `names`, or `name[index]` where there are none.
        """
    @staticmethod
    def records(layout: str, paths: "list[str | os.PathLike[str]]", targets: SupportsGetItem[int, SupportsIndex] | None = None) -> Source:
        """
        Files of records: "cifar10", "cifar100" or "stl10"; targets for records that hold none.
        """
    @staticmethod
    def shards(paths: "list[str | os.PathLike[str]]", keep_going: bool = False, exif: bool = True) -> Source:
        """
        WebDataset's tar files; with keep_going, of unreadable ones what stands before the fault.
        """

@final
class Step:
    """
    One operation of a view, under its name.
    """
    @staticmethod
    def crop(name: str, scale: tuple[SupportsFloat | SupportsIndex, SupportsFloat | SupportsIndex], ratio: tuple[SupportsFloat | SupportsIndex, SupportsFloat | SupportsIndex], interpolation: "typing.Any") -> Step:
        """
        A random part of the image, in the size of the view: torchvision's `RandomResizedCrop`.

        Raises:
            ValueError: a reversed range, another interpolation.
        """
    @staticmethod
    def function(name: str, p: "float | list[tuple[float, float]]", function: "typing.Any", seeded: bool) -> Step:
        """
        A function of Python, from (H, W, 3) uint8 to the same, and of a seed if it is `seeded`.

        Raises:
            ValueError: a probability that cannot be.
        """
    @property
    def interpolation(self, /) -> str | None:
        """
        Of a crop: "bilinear" or "bicubic"; None of others.
        """
    @staticmethod
    def operation(kind: str, name: str, p: "float | list[tuple[float, float]]", settings: str) -> Step:
        """
        One of `operations()`.

        Args:
            p: a probability, or pairs (epoch, probability) with rising epochs, between which it is interpolated.
            settings: a JSON object.

        Raises:
            ValueError: there is none of this kind, or its settings cannot be.
        """
    @staticmethod
    def style(name: str, block: Block, p: "float | list[tuple[float, float]]") -> Step:
        """
        Algorithm 1, with a probability in the place of its own.

        Args:
            p: a probability, or pairs (epoch, probability) with rising epochs, between which it is interpolated.

        Raises:
            ValueError: a probability that cannot be.
        """

@final
class StyleParams:
    """
    What was drawn for a batch of n images: a plain value, to look at, keep and replay.

    Args:
        apply: (n,) bool, whether each image is stylized.
        alpha: (n,) float32 in [0, 1], feature blending.
        beta: (n,) float32 in [0, 1], pixel interpolation.
        style: (n,) integers, indices into the bank or the batch; or (n, dim) float32, vectors.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __getnewargs__(self, /) -> "tuple[typing.Any, ...]": ...
    def __len__(self, /) -> int: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __new__(cls, /, apply: "numpy.typing.ArrayLike", alpha: "numpy.typing.ArrayLike", beta: "numpy.typing.ArrayLike", style: "numpy.typing.ArrayLike") -> StyleParams: ...
    def __repr__(self, /) -> str: ...
    @property
    def alpha(self, /) -> Any:
        """
        Feature blending, (n,) float32.
        """
    @property
    def apply(self, /) -> Any:
        """
        Whether each image is stylized, (n,) bool.
        """
    @property
    def beta(self, /) -> Any:
        """
        Pixel interpolation, (n,) float32.
        """
    @property
    def style(self, /) -> Any:
        """
        The styles: (n,) int64 indices into the bank or the batch, or (n, dim) float32 vectors.
        """

@final
class Stylizer:
    """
    A style predictor F and a transformer T that share a style space (Ghiasi et al. 2017, arXiv 1705.06830).

    Args:
        model: "lite", the network inside the package, or the path of a .safetensors file (`sassl convert` makes one).
        threads: how many images are computed at a time; None: the environment variable SASSL_THREADS, else one in a
            DataLoader worker, else all cores. The result does not depend on it.
        precision: "exact": convolutions in float32; "fast": in whole numbers of 8 and 16 bits where the CPU has AVX2 or AVX-512
            VNNI. With alpha = beta = 0.3, views of `lite` on photographs then differ by 61 dB PSNR on average and 52 dB at worst.
            None: "fast", but "exact" where F is InceptionV3 or VGG-19, whose trained weights were not measured.
        space: refuse a model whose style space has another id.

    Raises:
        ValueError: no such model or precision, or a file that is no model.
        OSError: the file cannot be read.

    A stylizer is immutable: it may be shared by threads, survives fork, and pickles as its name or path.
    """
    def __getnewargs_ex__(self, /) -> "tuple[tuple[str], dict[str, typing.Any]]": ...
    def __new__(cls, /, model: "str | os.PathLike[str]" = ..., *, threads: "int | None" = None, precision: "str | None" = None, space: "str | None" = None) -> Stylizer: ...
    def __repr__(self, /) -> str: ...
    @property
    def dim(self, /) -> int:
        """
        Length of a style vector z.
        """
    def encode(self, /, images: "numpy.typing.NDArray[typing.Any]") -> "numpy.typing.NDArray[numpy.float32]":
        """
        F: the style vector of each image.

        Args:
            images: (N, H, W, 3) uint8, or float32 in [0, 1]; H and W from 8 up. They are resized to F's own size.
                Or one image, (H, W, 3).

        Returns:
            (N, dim) float32; (dim,) of one image.
        """
    @property
    def licence(self, /) -> str:
        """
        The licence of the weights.
        """
    @property
    def name(self, /) -> str:
        """
        The model's name.
        """
    @property
    def precision(self, /) -> str:
        """
        As given, or the model's usual one.
        """
    @property
    def provenance(self, /) -> str:
        """
        Where the weights come from.
        """
    @property
    def source(self, /) -> str:
        """
        "lite" or the file's path.
        """
    @property
    def space(self, /) -> str:
        """
        The id of the style space: vectors fit only a model of the same id.
        """
    def stylize(self, /, images: "numpy.typing.NDArray[typing.Any]", z_style: "numpy.typing.ArrayLike", alpha: "numpy.typing.ArrayLike | None" = None, beta: "numpy.typing.ArrayLike | None" = None) -> "numpy.typing.NDArray[typing.Any]":
        """
        Algorithm 1 of the paper: (1 - beta) i_c + beta T(i_c, (1 - alpha) F(i_c) + alpha z_style).

        Args:
            images: the content i_c, (N, H, W, 3) uint8, or float32 in [0, 1]; H and W from 8 up. Or one image, (H, W, 3).
            z_style: (N, dim), or (dim,) for all images alike.
            alpha: feature blending in [0, 1], one number or (N,); None: 0.2, the middle of the paper's range.
            beta: pixel interpolation in [0, 1], one number or (N,); None: 0.2.

        Returns:
            Shape and dtype of the images; uint8 rounds halves up.
        """
    @property
    def threads(self, /) -> int | None:
        """
        As given.
        """
    def transfer(self, /, images: "numpy.typing.NDArray[typing.Any]", z: "numpy.typing.ArrayLike") -> "numpy.typing.NDArray[numpy.float32]":
        """
        T: images in the style z, before any interpolation.

        Args:
            images: (N, H, W, 3) uint8, or float32 in [0, 1]; H and W from 8 up. Or one image, (H, W, 3).
            z: (N, dim), or (dim,) for all images alike.

        Returns:
            Shape of the images; float32 in [0, 1].
        """

@final
class Trainer:
    """
    A method with its networks and optimizers.
    """
    def __new__(cls, /, config: str, *, threads: "int | None" = None, accumulate: SupportsIndex = 1) -> Trainer:
        """
        Args:
            config: JSON of a `sassl.pretraining.Config`; what the loop alone reads may be left out.
            threads: how many; None: the environment variable SASSL_THREADS, else all cores.
            accumulate: pieces of a step's rows that are taken one after another, each of whole parts of the batch for the norms.

        Raises:
            ValueError: a setting that cannot be.
        """
    def backbone(self, /) -> "dict[str, numpy.typing.NDArray[numpy.float32]]":
        """
        The backbone's tensors under torchvision's names and in its order of axes.
        """
    def check_batch(self, /, batch: SupportsIndex) -> None:
        """
        Raises:
            ValueError: steps of so many images cannot be.
        """
    def encode(self, /, images: "numpy.typing.NDArray[numpy.float32]") -> "numpy.typing.NDArray[numpy.float32]":
        """
        Features of images by the backbone, its norms as after training.

        Args:
            images: (N, H, W, 3) or (N, 3, H, W) float32.

        Returns:
            (N, features) float32.
        """
    @property
    def features(self, /) -> int:
        """
        Numbers of a feature.
        """
    def load(self, /, path: "str | os.PathLike[str]") -> dict[str, str]:
        """
        Goes on from such a file; gives its metadata.

        Raises:
            OSError: it cannot be read.
            ValueError: no checkpoint, a damaged one, or one of another run; nothing is changed then.
        """
    def load_backbone(self, /, state: "dict[str, numpy.typing.NDArray[numpy.float32]]") -> "None":
        """
        Takes the backbone's tensors from those of torchvision or timm; `fc.*` are left out.

        Raises:
            ValueError: a tensor that is missing, unknown or of another shape; nothing is changed then.
        """
    def load_state(self, /, state: "dict[str, numpy.typing.NDArray[numpy.float32]]") -> "None":
        """
        Goes on from such a state.

        Raises:
            ValueError: a state of another run; nothing is changed then.
        """
    def save(self, /, path: "str | os.PathLike[str]", metadata: dict[str, str]) -> "None":
        """
        Writes everything into a .safetensors file with a checksum: the whole file, or nothing.

        Raises:
            OSError: the system refuses.
        """
    def state(self, /) -> "dict[str, numpy.typing.NDArray[numpy.float32]]":
        """
        Everything that a continued run needs, by name.
        """
    def step(self, /, left: "numpy.typing.NDArray[numpy.float32]", right: "numpy.typing.NDArray[numpy.float32]", lr: SupportsFloat | SupportsIndex, momentum: SupportsFloat | SupportsIndex, fixed_lr: SupportsFloat | SupportsIndex | None = None) -> "tuple[float, dict[str, float], numpy.typing.NDArray[numpy.float32]]":
        """
        One step on two views of a batch.

        Args:
            left, right: (N, H, W, 3) or (N, 3, H, W) float32, the left ones being the query's or the online network's.
            lr: the learning rate.
            momentum: how far a momentum encoder stays what it is, in [0, 1]; methods that have none do not read it.
            fixed_lr: the rate of networks whose rate does not follow the schedule; None: `lr`.

        Returns:
            The loss before the step, what else is watched, by name, and the left views' features, (N, features) float32.

        Raises:
            ValueError: views that do not fit; a loss that is not finite, and then no weight has changed.
        """
    @property
    def threads(self, /) -> int:
        """
        Threads of a step.
        """

@final
class ViewParams:
    """
    What was drawn for one view: a plain value, to look at and to replay. A mapping from the names of its operations to a dict
    of numbers, to a `StyleParams` of one image, or to None for one that was left out.
    """
    def __contains__(self, name: str, /) -> bool: ...
    def __eq__(self, value: object, /) -> bool: ...
    def __getitem__(self, name: str, /) -> Any: ...
    def __getnewargs__(self, /) -> "tuple[typing.Any, ...]": ...
    def __iter__(self, /) -> Any: ...
    def __len__(self, /) -> int: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __new__(cls, /, drawn: "dict[str, dict[str, float] | StyleParams | None]") -> ViewParams:
        """
        Args:
            drawn: by name, in the order of the operations; what is not there is left out. A crop is
                {"top": ..., "left": ..., "height": ..., "width": ...} in pixels; of a colour jitter the order counts.

        Raises:
            TypeError, ValueError: a value of another type, a style of several images.
        """
    def __repr__(self, /) -> str: ...
    def keys(self, /) -> list[str]:
        """
        The names, in the order of the operations.
        """

@final
class Views:
    """
    The views of an image.

    Args:
        views: of each view its steps, its (height, width), and mean and standard deviation of each colour, in [0, 1], or None: 0 and 1.
        dtype: "uint8", "float16" or "float32".
        channels_last: (H, W, 3) instead of (3, H, W).

    Raises:
        ValueError: a list that cannot be a view; views too small for a step; another name; bytes that are to be normalized.
    """
    def __new__(cls, /, views: "list[tuple[list[Step], tuple[int, int], tuple[tuple[float, float, float], tuple[float, float, float]] | None]]", *, dtype: str, channels_last: bool) -> Views: ...
    def apply(self, /, image: "numpy.typing.NDArray[numpy.uint8]", params: SupportsGetItem[int, ViewParams]) -> "list[numpy.typing.NDArray[typing.Any]]":
        """
        All views, a pure function of image and parameters.

        Args:
            image: (H, W, 3) uint8.
            params: of each view.

        Raises:
            ValueError: parameters of other views; a crop beyond the image; an image too small for style.
        """
    def check_halves(self, /, world_size: SupportsIndex, images: bool) -> None:
        """
        Whether a loader may leave something of them to be made, of batches that so many ranks share; `images`: all but decoding.

        Raises:
            ValueError: a style that cannot be made then.
        """
    def finish(self, /, pixels: "numpy.typing.NDArray[numpy.uint8]", draws: Draws, threads: SupportsIndex | None = None) -> "list[numpy.typing.NDArray[typing.Any]]":
        """
        What a `Loader` of crops or regions has left to be made of all views of a batch: these, with the images as first axis.

        Args:
            pixels: what the loader gave, uint8.
            draws: what it gave with them.
            threads: how many; None: the environment variable SASSL_THREADS, else all cores.

        Raises:
            ValueError: pixels of another number of images, draws of other views.
        """
    @property
    def needs_batch(self, /) -> bool:
        """
        Whether a view's style is another image of its batch.
        """
    def sample(self, /, seed: SupportsIndex, height: SupportsIndex, width: SupportsIndex, *, epoch: SupportsIndex = 0, index: SupportsIndex = 0) -> list[ViewParams]:
        """
        Draws all views of an image: view v from the random streams (seed, epoch, index, v), one for each operation's name.

        Raises:
            ValueError: an image without pixels.
        """
    def sample_batch(self, /, seed: SupportsIndex, n: SupportsIndex, height: SupportsIndex, width: SupportsIndex, *, epoch: SupportsIndex = 0) -> list[list[ViewParams]]:
        """
        Draws all views of each image of a batch: image i as `sample` does with the index i, its style among the batch's.

        Raises:
            ValueError: images without pixels.
        """
    def sample_every(self, /, height: SupportsIndex, width: SupportsIndex) -> list[ViewParams]:
        """
        Draws all views of an image of this size with no operation left out.
        """
    @property
    def shapes(self, /) -> list[tuple[int, int, int]]:
        """
        Of each view: (3, H, W) or (H, W, 3).
        """

def adjust_brightness(image: "numpy.typing.NDArray[numpy.uint8]", factor: "float") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Away from black: 0 gives black, 1 the image itself; Pillow's `ImageEnhance.Brightness` to the bit.
    """

def adjust_contrast(image: "numpy.typing.NDArray[numpy.uint8]", factor: "float") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Away from the mean luma; Pillow's `ImageEnhance.Contrast` to the bit.
    """

def adjust_hue(image: "numpy.typing.NDArray[numpy.uint8]", factor: "float") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Turns the hue by a part of the circle, from -0.5 to 0.5; torchvision's `adjust_hue` on a PIL image to the bit.

    Raises:
        ValueError: beyond half a circle.
    """

def adjust_saturation(image: "numpy.typing.NDArray[numpy.uint8]", factor: "float") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Away from each pixel's luma; Pillow's `ImageEnhance.Color` to the bit.
    """

def backbone_info(json: str) -> str:
    """
    What a backbone is, as JSON: "features", "stem_stride", "least_side", and "settings", all of its own.

    Args:
        json: its name and those of its own settings that differ from torchvision's, `{"name": "resnet18", "small_stem": true}`.

    Raises:
        ValueError: no such backbone, or a setting that it has not or that cannot be.
    """

def backbone_names() -> list[str]:
    """
    Names of the backbones.
    """

def checkpoint_metadata(path: "str | os.PathLike[str]") -> dict[str, str]:
    """
    What a checkpoint tells of its run; its tensors are not looked at.

    Raises:
        OSError: it cannot be read.
        ValueError: no checkpoint, or one whose words are damaged.
    """

def color_profile(file: "bytes") -> "bytes | None":
    """
    The ICC profile in a file's bytes; None if there is none.
    """

def convert(paths: "list[str | os.PathLike[str]]", out: "str | os.PathLike[str]", name: "str", *, as_is: "bool" = False, any_pair: "bool" = False) -> "None":
    """
    Converts a style network of others to one .safetensors file, written atomically.

    Magenta's pairs are read from a TensorFlow checkpoint, a SavedModel, TFLite, ONNX or TensorFlow.js; AdaIN and styleaug from
    PyTorch's .pth files, whose code is not run.

    Args:
        paths: files, folders or archives that hold F and T, together or apart.
        out: the file to write.
        name: the model's name, kept in the file.
        as_is: InceptionV3 sees images in their own size, from 43 pixels on, not with a shorter side of 256.
        any_pair: take F and T of pairs that do not belong together too.

    Raises:
        ValueError: a file that is not such a network, or a part of one alone.
        OSError: a file cannot be read or written.
    """

def cosine_momentum(tau: SupportsFloat | SupportsIndex, total: SupportsIndex, k: SupportsIndex) -> float:
    """
    BYOL's tau at step `k` of `total`: from `tau` to 1 by a cosine.

    Raises:
        ValueError: tau outside [0, 1], no step.
    """

def cosine_rate(lr: SupportsFloat | SupportsIndex, warmup: SupportsIndex, total: SupportsIndex, k: SupportsIndex) -> float:
    """
    The learning rate of step (or epoch) `k` of `total`, from 0: linear warm-up, then cosine to 0 (SimCLR, BYOL; MoCo by epoch).

    Raises:
        ValueError: a rate below 0, a warm-up that leaves nothing.
    """

def cuda_finish(views: Views, draws: Draws, out: "list[tuple[int, tuple[str, int, int, tuple[int, int, int, int]]]]", stylizer: CudaStylizer | None = None, styles: SupportsIndex | None = None, pixels: SupportsIndex | None = None) -> CudaPlan:
    """
    What a `Loader` of crops or regions has left to be made of the views of a batch, of pixels on the device, where crops are changed in
    their place.

    Args:
        views: their recipe.
        draws: what came with the pixels.
        out, stylizer, styles: as of `cuda_views`.
        pixels: how many bytes they are, to be compared with what the draws are of.

    Raises:
        ValueError: draws or pixels that do not fit; an operation without kernels, by its name.
    """

def cuda_info() -> "dict[str, typing.Any]":
    """
    The driver's version, NVRTC's, the GPUs with their compute capabilities, the folder of compiled kernels; in the place of each
    that is not there, why.
    """

def cuda_views(views: Views, images: "tuple[str, int, int, tuple[int, int, int, int]]", params: SupportsGetItem[int, SupportsGetItem[int, ViewParams]], out: "list[tuple[int, tuple[str, int, int, tuple[int, int, int, int]]]]", stylizer: CudaStylizer | None = None, styles: SupportsIndex | None = None) -> CudaPlan:
    """
    The views of a batch of uint8 images.

    Args:
        views: their recipe.
        images: dtype, height, width, and the strides of image, row, column and colour in numbers.
        params: of each image's views.
        out: of each view, in bytes from the first on, where it begins, and its layout as of `images`.
        stylizer: of the recipe's style, if it has one.
        styles: vectors of its bank, or None for styles of the batch.

    Raises:
        ValueError: images or parameters that do not fit.
    """

def decode(file: "str | os.PathLike[str] | bytes", min_size: "int | None" = None, *, exif: "bool" = True) -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Decodes a JPEG, PNG, WebP, BMP, TIFF, PNM or GIF file, whatever its name says: three colours of eight bits each.

    Gray becomes three equal colours, inks become colours as Pillow has it, transparency is dropped, not blended. Gray of sixteen bits
    is rounded to eight, of colours the upper eight stay. Of an animation it is the first frame. An ICC profile changes nothing.

    Args:
        file: a path, or the bytes of a file.
        min_size: None, or a number of pixels: a JPEG is decoded at the smallest of 1/8, 1/4 and 1/2 of its size whose sides are no
            shorter, as PIL's `Image.draft` does it.
        exif: whether the image is turned upright as EXIF or, where that has no orientation, XMP says: in JPEG, PNG (chunks and
            texts, wherever they stand) and WebP (where its header tells of them). This is Pillow's `ImageOps.exif_transpose`, but that
            EXIF which cannot be read turns nothing, where Pillow raises an error. False gives the image as it is stored, as
            torchvision's `ImageFolder` does. TIFF is turned either way, because Pillow turns it while it is read.

    Returns:
        uint8, (H, W, 3).

    Raises:
        ValueError: no such image, or one that cannot be decoded; a side above 65,535 pixels, more than 178,956,970 of them, or more
            than its bytes can hold.
        OSError: the file cannot be read.
    """

def describe_state(config: str) -> dict[str, list[int]]:
    """
    Names and shapes of that state.

    Raises:
        ValueError: a setting that cannot be.
    """

def gaussian_blur(image: "numpy.typing.NDArray[numpy.uint8]", kernel_size: "int | str | None", sigma: "float") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Blurs with a Gaussian.

    Args:
        image: uint8, (H, W, 3).
        kernel_size: its taps, an odd number, edges reflected, as torchvision has it; or "pillow" or None for Pillow's
            `ImageFilter.GaussianBlur(sigma)` to the bit: three boxes in each direction, edges repeated.
        sigma: its standard deviation in pixels, above 0.

    Raises:
        ValueError: an even number of taps, more of them than the reflected image has, a sigma that is not above 0.
    """

def grayscale(image: "numpy.typing.NDArray[numpy.uint8]") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Three equal colours of the luma (ITU-R 601-2).
    """

def hflip(image: "numpy.typing.NDArray[numpy.uint8]") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Left becomes right.
    """

def image_suffixes() -> list[str]:
    """
    The suffixes of what is taken for an image in folders and in shards.
    """

def info() -> "dict[str, typing.Any]":
    """
    The version, the instruction sets of this machine, the one in use and whether it multiplies bytes, the cores, the
    threads of a call here, the embedded models.
    """

def initial_state(config: str) -> "dict[str, numpy.typing.NDArray[numpy.float32]]":
    """
    What a native run of these settings begins with: networks, optimizers' entries (zeros), the method's own.

    Raises:
        ValueError: a setting that cannot be.
    """

def key_order(seed: SupportsIndex, step: SupportsIndex, view: SupportsIndex, n: SupportsIndex) -> "numpy.typing.NDArray[numpy.uint32]":
    """
    In which order MoCo puts the keys of a view (0: left, 1: right) of a step, counted from 0, into the parts of a batch of n.
    """

def knn(bank: "numpy.typing.NDArray[numpy.float32]", targets: "numpy.typing.NDArray[numpy.int64]", queries: "numpy.typing.NDArray[numpy.float32]", *, k: SupportsIndex = 200, temperature: SupportsFloat | SupportsIndex = 0.1, top: SupportsIndex = 1, threads: "int | None" = None) -> "numpy.typing.NDArray[numpy.int64]":
    """
    Classes of `queries` by their nearest neighbours in `bank` (Wu et al. 2018, section 3.4), the likeliest first.

    Args:
        bank: (N, dim) features.
        targets: N classes, any numbers from 0 up.
        queries: (M, dim) features.
        k: neighbours.
        temperature: of their weights, exp(cosine / temperature).
        top: how many classes to give.
        threads: how many; None: the environment variable SASSL_THREADS, else all cores.

    Returns:
        (M, top) int64, fewer where there are fewer classes: those that a neighbour is of, and -1 beyond them.

    Raises:
        ValueError: arrays that do not fit, numbers that are not finite, one class only, more neighbours than the bank has.
    """

def linear_probe(features: "numpy.typing.NDArray[numpy.float32]", targets: "numpy.typing.NDArray[numpy.int64]", queries: "numpy.typing.NDArray[numpy.float32]", *, lr: SupportsFloat | SupportsIndex = 0.1, epochs: SupportsIndex = 90, batch_size: SupportsIndex = 256, momentum: SupportsFloat | SupportsIndex = 0.9, nesterov: bool = True, seed: SupportsIndex = 0, top: SupportsIndex = 1, threads: "int | None" = None) -> "numpy.typing.NDArray[numpy.int64]":
    """
    Classes of `queries` by softmax regression on `features` with SGD, the likeliest first.

    Args:
        features: (N, dim).
        targets: N classes, any numbers from 0 up.
        queries: (M, dim).
        lr: the largest learning rate, for a batch of 256; it falls to 0 by a cosine.
        epochs, batch_size, momentum, nesterov: of SGD.
        seed: of the first weights and the order.
        top: how many classes to give.
        threads: how many; None: the environment variable SASSL_THREADS, else all cores.

    Returns:
        (M, top) int64; fewer where there are fewer classes.

    Raises:
        ValueError: arrays that do not fit, one class only, a setting that cannot be.
    """

def list_images(folder: "str | os.PathLike[str]") -> "tuple[list[str], int, int]":
    """
    The images below a folder, in the order of their names, and how many were left out: hidden files and folders, other files.

    Raises:
        OSError: a folder that cannot be read.
    """

def load_checkpoint(path: "str | os.PathLike[str]") -> "tuple[dict[str, numpy.typing.NDArray[numpy.float32]], dict[str, str]]":
    """
    The state and the metadata of a checkpoint.

    Raises:
        OSError: it cannot be read.
        ValueError: no checkpoint, one of another version, or a damaged one.
    """

def load_styles(path: "str | os.PathLike[str]") -> "Bank | Gaussian":
    """
    A file of styles, that of a bank or of a Gaussian.

    Raises:
        OSError: it cannot be read.
        ValueError: it is neither.
    """

def normalize(image: "numpy.typing.NDArray[numpy.uint8]", mean: "tuple[float, float, float]", std: "tuple[float, float, float]") -> "numpy.typing.NDArray[numpy.float32]":
    """
    `(x / 255 - mean) / std` of each colour.

    Returns:
        float32, (3, H, W): equal to torchvision's `ToTensor` and `Normalize` to the bit.

    Raises:
        ValueError: a deviation that is not above 0.
    """

def operations() -> list[str]:
    """
    The kinds of `Step.operation`.
    """

def resized_crop(image: "numpy.typing.NDArray[numpy.uint8]", top: "int", left: "int", height: "int", width: "int", size: "tuple[int, int]", interpolation: "typing.Any" = ...) -> "numpy.typing.NDArray[numpy.uint8]":
    """
    A part of an image, resized with an antialiasing filter as Pillow resizes.

    Args:
        image: uint8, (H, W, 3).
        top, left, height, width: the part, in pixels.
        size: (height, width) of the result.
        interpolation: "bilinear", which it is where nothing is said, or "bicubic"; or Pillow's or torchvision's constant.

    Raises:
        ValueError: a part that is empty or reaches beyond the image; another interpolation.
    """

def rotate(image: "numpy.typing.NDArray[numpy.uint8]", angle: "float") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Turns counter-clockwise about the middle, nearest pixels, corners black; torchvision's `rotate` of a PIL image to the bit.

    Args:
        image: uint8, (H, W, 3).
        angle: in degrees.

    Raises:
        ValueError: an angle that is no finite number.
    """

def save_checkpoint(path: "str | os.PathLike[str]", state: "dict[str, numpy.typing.NDArray[numpy.float32]]", metadata: dict[str, str]) -> "None":
    """
    Writes a state of any engine into a checkpoint with a checksum: the whole file, or nothing.

    Raises:
        OSError: the system refuses.
    """

def solarize(image: "numpy.typing.NDArray[numpy.uint8]", threshold: "float" = 128.0) -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Inverts bytes from `threshold` on, a number from 0 (all of them) to 256 (none).

    Raises:
        ValueError: another threshold.
    """

def version() -> "str":
    """
    The version of the package.
    """

def vflip(image: "numpy.typing.NDArray[numpy.uint8]") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Top becomes bottom.
    """

def write_file(path: "str | os.PathLike[str]", data: "bytes") -> "None":
    """
    Writes a file: all of it, on the disk, or nothing.

    Args:
        path: where; a link that stands there is replaced, not followed.
        data: all of its bytes.

    Raises:
        OSError: the system refuses, or a folder, a device or a pipe has the name; what stood there is what it was.
    """

def write_tensors(path: "str | os.PathLike[str]", tensors: "dict[str, numpy.typing.NDArray[typing.Any]]", metadata: dict[str, str]) -> "None":
    """
    Writes tensors into a .safetensors file, as float32, or as int64 if they are int64 (exact up to 2**24): the whole file, or nothing.

    Raises:
        OSError: the system refuses.
    """
