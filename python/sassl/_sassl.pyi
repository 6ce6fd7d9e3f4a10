"""
The compiled core of sassl; use it through the package `sassl`.
"""

from _typeshed import SupportsGetItem
import os
import typing

import numpy
import numpy.typing
from typing import Any, SupportsFloat, SupportsIndex, final

__all__ = ["Bank", "Block", "CudaDevice", "CudaPlan", "CudaStylizer", "Draws", "Epoch", "FineTuner", "Gaussian", "Loader", "Source", "Step", "StyleParams", "Stylizer", "Trainer", "ViewParams", "Views", "adjust_brightness", "adjust_contrast", "adjust_hue", "adjust_saturation", "backbone_info", "backbone_names", "checkpoint_metadata", "color_profile", "convert", "cosine_momentum", "cosine_rate", "cuda_finish", "cuda_info", "cuda_views", "decode", "describe_state", "gaussian_blur", "grayscale", "hflip", "image_suffixes", "info", "initial_state", "key_order", "knn", "linear_probe", "list_images", "load_checkpoint", "load_styles", "normalize", "operations", "resized_crop", "rotate", "save_checkpoint", "solarize", "version", "vflip", "write_file", "write_tensors"]

@final
class Bank:
    """
    Style vectors of one space, in memory. `sassl.StyleBank` is the public class.
    """
    def __getnewargs__(self, /) -> tuple[Any, str, list[str] | None]: ...
    def __len__(self, /) -> int: ...
    def __new__(cls, /, vectors: "numpy.typing.ArrayLike", space: "str", names: "list[str] | None" = None) -> Bank:
        """
        Args:
            vectors: (n, dim) floats.
            space: id of the predictor that computed them.
            names: one for each vector, or None.
        """
    @staticmethod
    def default() -> Bank:
        """
        Return the bank inside the package, in the style space of `lite`.
        """
    @property
    def dim(self, /) -> int:
        """
        Length of a vector.
        """
    def gaussian(self, /, rank: SupportsIndex = 20) -> Gaussian:
        """
        Fit a Gaussian along the bank's principal axes.
        """
    @staticmethod
    def load(path: "str | os.PathLike[str]") -> Bank:
        """
        Read a bank file into memory: later changes to the file have no effect.
        """
    @property
    def names(self, /) -> list[str] | None:
        """
        The image that each vector was computed from, or None.
        """
    def save(self, /, path: "str | os.PathLike[str]", exact: bool = False) -> "None":
        """
        Write the bank atomically as a .safetensors file of float16, or of float32 if `exact`.
        """
    @property
    def space(self, /) -> str:
        """
        The id of the predictor that computed the vectors.
        """
    @property
    def vectors(self, /) -> Any:
        """
        A copy of all vectors, (n, dim) float32.
        """

@final
class Block:
    """
    Algorithm 1 with its settings; `sassl.transforms.SASSL` wraps it.

    Args:
        stylizer: the networks F and T.
        styles: a `Bank`, a `Gaussian`, or None for the other images of the batch.
        p: probability of stylizing an image.
        alpha: range of feature blending.
        beta: range of pixel interpolation.

    Raises:
        ValueError: a value outside [0, 1], a reversed range, styles of another space.
    """
    def __new__(cls, /, stylizer: Stylizer, styles: "Bank | Gaussian | None" = None, p: SupportsFloat | SupportsIndex = ..., alpha: tuple[SupportsFloat | SupportsIndex, SupportsFloat | SupportsIndex] = ..., beta: tuple[SupportsFloat | SupportsIndex, SupportsFloat | SupportsIndex] = ...) -> Block: ...
    def apply(self, /, images: "numpy.typing.NDArray[typing.Any]", params: StyleParams) -> "numpy.typing.NDArray[typing.Any]":
        """
        Apply Algorithm 1, a pure function of images and parameters.

        Args:
            images: (N, H, W, 3) uint8, or float32 in [0, 1]; H and W at least 8.
            params: one draw for each image.

        Returns:
            An array of the shape and dtype of the images; images with apply = False are unchanged, and the
            input array itself is returned if all are.
        """
    def sample(self, /, seed: SupportsIndex, n: SupportsIndex, *, epoch: SupportsIndex = 0, index: SupportsIndex = 0, view: SupportsIndex = 0) -> StyleParams:
        """
        Draw parameters for n images; image i has the random stream (seed, epoch, index + i, view).
        """
    def vectors(self, /, params: StyleParams, z_content: "numpy.typing.ArrayLike | None" = None) -> "numpy.typing.NDArray[numpy.float32]":
        """
        Return the style vector z_s of each image, (n, dim) float32.

        Args:
            params: the draws.
            z_content: (n, dim), F of the batch's images; required if styles are taken from the batch.
        """

@final
class CudaDevice:
    """
    A GPU, by its ordinal, with the kernels loaded on it.

    Raises:
        RuntimeError: no driver, no such GPU, or a compute capability below 7.5.
    """
    def __new__(cls, /, ordinal: SupportsIndex) -> CudaDevice: ...

@final
class CudaPlan:
    """
    The kernel launches of a batch.
    """
    def __len__(self, /) -> int: ...
    def compile(self, /, arch: SupportsIndex) -> "dict[str, int]":
        """
        Compile the kernels for an architecture (90 is compute capability 9.0) and return their sizes in bytes; needs no GPU.
        """
    def load(self, /, device: CudaDevice) -> str | None:
        """
        Compile and load the kernels in advance, so that `run` does not have to.

        Returns and raises as `run`.
        """
    def run(self, /, device: CudaDevice, addresses: tuple[SupportsIndex, SupportsIndex, SupportsIndex, SupportsIndex, SupportsIndex], stream: SupportsIndex) -> str | None:
        """
        Enqueue the launches on a stream, without waiting for them.

        Args:
            device: the device that holds all buffers.
            addresses: of the weights, the workspace, the images, the output and the style vectors.
            stream: a `cudaStream_t`.

        Returns:
            The reason why compiled kernels could not be kept in files, or None.

        Raises:
            RuntimeError: no NVRTC, or the driver's error.
        """
    @property
    def workspace(self, /) -> int:
        """
        Size of the workspace in bytes.
        """

@final
class CudaStylizer:
    """
    The style predictor F and the transformer T as CUDA kernels, which `sassl.cuda` launches.

    Args:
        stylizer: the model and its precision: "fast" is float16 with float32 sums, "exact" is float32.
    """
    def __new__(cls, /, stylizer: Stylizer) -> CudaStylizer: ...
    def encode(self, /, images: "tuple[str, int, int, tuple[int, int, int, int]]", count: SupportsIndex) -> CudaPlan:
        """
        Plan F of `count` images into (count, dim) float32.
        """
    def plan(self, /, images: "tuple[str, int, int, tuple[int, int, int, int]]", params: StyleParams, out: "tuple[str, int, int, tuple[int, int, int, int]]", styles: "int | None" = None) -> CudaPlan:
        """
        Plan Algorithm 1.

        Args:
            images, out: dtype, height, width, and the strides of image, row, column and channel in values.
            params: one draw for each image.
            styles: number of vectors of the bank, or None for in-batch styles.

        Raises:
            ValueError: an unsupported dtype, size or style.
        """
    def weights(self, /) -> "numpy.typing.NDArray[numpy.uint8]":
        """
        The weights as the kernels read them, as bytes to be copied to the device.
        """

@final
class Draws:
    """
    The draws for all views of each image of a batch.

    Args:
        params: for each image, the draws of each view.
        regions: for decoded images, the offset of their pixels and the region they cover: top, left, height, width; None for crops.
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
        True for decoded images, False for crops.
        """

@final
class Epoch:
    """
    One pass over the batches of a loader.
    """
    def close(self, /) -> None:
        """
        Ask the threads to stop, each after its current image, without waiting for them.
        """
    def next(self, /) -> "tuple[list[typing.Any], numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.int64], list[str], Draws] | None":
        """
        Return the next batch: its views, or the bytes from which they are still to be computed; int64 indices and targets;
        names; and the draws of the remaining operations. None at the end.

        Raises:
            ValueError, OSError: an image cannot be read; the next call returns the following batch.
        """
    @property
    def taken(self, /) -> int:
        """
        Number of batches returned so far, including those that raised an error.
        """

@final
class FineTuner:
    """
    A backbone and a linear classifier, trained on labelled images with SGD.
    """
    def __new__(cls, /, backbone: str, classes: SupportsIndex, *, momentum: SupportsFloat | SupportsIndex = 0.9, nesterov: bool = True, weight_decay: SupportsFloat | SupportsIndex = 0.0, norm_momentum: SupportsFloat | SupportsIndex = 0.1, frozen: bool = False, threads: "int | None" = None) -> FineTuner:
        """
        Args:
            backbone: JSON of its name and its settings, as in `backbone_info`.
            classes: number of classes, at least 2.
            momentum, nesterov, weight_decay: settings of SGD; all parameters are decayed.
            norm_momentum: the fraction of their running statistics that norms replace in a step.
            frozen: True trains only the classifier; the backbone is then used in eval mode.
            threads: number of threads; None: the environment variable SASSL_THREADS, else all cores.

        Raises:
            ValueError: an invalid setting.
        """
    @property
    def features(self, /) -> int:
        """
        Dimension of the features.
        """
    def load_state(self, /, state: "dict[str, numpy.typing.NDArray[numpy.float32]]") -> "None":
        """
        Load a state returned by `state`.

        Raises:
            ValueError: a tensor that is missing, unknown or of another shape; nothing has changed in that case.
        """
    def scores(self, /, images: "numpy.typing.NDArray[numpy.float32]") -> "numpy.typing.NDArray[numpy.float32]":
        """
        Compute the logits of images in eval mode; their softmax gives the class probabilities.

        Args:
            images: (N, H, W, 3) or (N, 3, H, W) float32.

        Returns:
            (N, classes) float32.
        """
    def state(self, /) -> "dict[str, numpy.typing.NDArray[numpy.float32]]":
        """
        Return both networks, under `backbone.` and `head.`, and the state of SGD, under `optimizer.`.
        """
    def step(self, /, images: "numpy.typing.NDArray[numpy.float32]", targets: "numpy.typing.NDArray[numpy.int64]", lr: SupportsFloat | SupportsIndex) -> float:
        """
        Take one step.

        Args:
            images: (N, H, W, 3) or (N, 3, H, W) float32.
            targets: N class indices, from 0.
            lr: the learning rate.

        Returns:
            The loss before the step; if it is not finite, no weight has changed.

        Raises:
            ValueError: images or classes that do not match the network.
        """
    @property
    def threads(self, /) -> int:
        """
        Number of threads.
        """

@final
class Gaussian:
    """
    A low-rank Gaussian over the style vectors of a bank; see `Bank.gaussian`.
    """
    def __getnewargs__(self, /) -> tuple[Any, Any, str]: ...
    def __new__(cls, /, mean: "numpy.typing.ArrayLike", axes: "numpy.typing.ArrayLike", space: "str") -> Gaussian:
        """
        Args:
            mean: (dim,) floats.
            axes: (rank, dim), each with its standard deviation as length.
            space: id of the predictor that computed the bank.
        """
    def __repr__(self, /) -> str: ...
    @property
    def axes(self, /) -> Any:
        """
        The principal axes, (rank, dim) float32, each with its standard deviation as length.
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
        Number of axes.
        """
    def save(self, /, path: "str | os.PathLike[str]") -> "None":
        """
        Write the Gaussian atomically as a .safetensors file of float32.
        """
    @property
    def space(self, /) -> str:
        """
        The id of the predictor that computed the bank.
        """

@final
class Loader:
    """
    A source of images, the order of its epochs, and the views of each image.
    """
    def __len__(self, /) -> int:
        """
        Number of batches in an epoch.
        """
    def __new__(cls, /, source: Source, views: Views, *, batch_size: SupportsIndex, shuffle: bool, drop_last: bool, seed: SupportsIndex, rank: SupportsIndex, world_size: SupportsIndex, threads: SupportsIndex | None, prefetch: SupportsIndex, on_error: str, on_damage: str, min_decode_size: SupportsIndex | None, makes: str) -> Loader:
        """
        Args:
            source: the images.
            views: the views of each image.
            on_error: "raise" or "report".
            on_damage: "use", "replace" or "raise".
            makes: "views"; "crops", with the draws for the second half of the views; or "regions" of decoded images.

        The other arguments are those of `sassl.data.TwoViewLoader`.
        """
    @property
    def report(self, /) -> dict[str, tuple[str, int, bool]]:
        """
        Images that could not be read or were damaged: name to (reason, count, True if the image was used nevertheless).
        """
    def start(self, /, epoch: SupportsIndex, batch: SupportsIndex, pinned: bool) -> Epoch:
        """
        Start an epoch at a given batch, with batches in new arrays, page-locked if `pinned`.
        """

@final
class Source:
    """
    Indexed images, each with a class; the classes of `sassl.data` wrap it.
    """
    def __len__(self, /) -> int: ...
    @property
    def classes(self, /) -> list[str]:
        """
        Names of the classes; empty if they have none.
        """
    @property
    def damaged(self, /) -> list[tuple[str, str]]:
        """
        Shards that are only partly readable, with the reason.
        """
    @property
    def exif(self, /) -> bool:
        """
        True if images in files are rotated upright by their EXIF orientation.
        """
    @staticmethod
    def files(paths: "list[str | os.PathLike[str]]", targets: "list[int]", exif: bool = True) -> Source:
        """
        Create a source from paths, with a class for each.
        """
    @staticmethod
    def folder(root: "str | os.PathLike[str]", exif: bool = True) -> Source:
        """
        Create a source from a folder of classes, `root/<class>/**/image.jpg`.
        """
    def get(self, /, index: SupportsIndex) -> "tuple[numpy.typing.NDArray[numpy.uint8], int]":
        """
        Return an image, (H, W, 3) uint8, and its class.
        """
    @property
    def has_classes(self, /) -> bool:
        """
        True if the shards hold classes.
        """
    @property
    def hidden(self, /) -> int:
        """
        Number of hidden files and folders that were ignored.
        """
    def identity(self, /) -> tuple[int, tuple[int, int] | None]:
        """
        Return a fingerprint of the images: FNV-1a of their names relative to their common folder; and FNV-1a of their sizes in
        bytes, with the sum of the sizes, or None if the sizes are unknown.
        """
    def name(self, /, index: SupportsIndex) -> "str":
        """
        Return the name of an image.
        """
    @property
    def others(self, /) -> int:
        """
        Number of files that are not images by their name, or in a shard belong to no image.
        """
    @staticmethod
    def pickles(layout: str, paths: "list[str | os.PathLike[str]]") -> Source:
        """
        Create a source from files of CIFAR's Python version, "cifar10" or "cifar100".
        """
    @staticmethod
    def python(get: "typing.Callable[[int], tuple[typing.Any, int]]", len: SupportsIndex, name: str, exif: bool = True, names: "list[str] | None" = None) -> Source:
        """
        Create a source from a Python callable: `get(index)` returns (image, class), the image as bytes, a path, or an array (H, W, 3) of
        uint8. The images are named by `names`, or `name[index]` without them.
        """
    @staticmethod
    def records(layout: str, paths: "list[str | os.PathLike[str]]", targets: SupportsGetItem[int, SupportsIndex] | None = None) -> Source:
        """
        Create a source from binary records, "cifar10", "cifar100" or "stl10"; `targets` for records without classes.
        """
    @staticmethod
    def selection(sources: "list[Source]", rows: "list[int]", targets: "list[int]") -> Source:
        """
        Create a source from images of several concatenated sources: those at the indices `rows`, in this order and with the
        classes `targets`. They are rotated upright if those of the first source are.
        """
    @staticmethod
    def shards(paths: "list[str | os.PathLike[str]]", keep_going: bool = False, exif: bool = True) -> Source:
        """
        Create a source from WebDataset tar files; with keep_going, unreadable shards contribute the images before the fault.
        """
    def targets(self, /) -> list[int] | None:
        """
        Return the class of each image, or None if the classes are unknown before images are read.
        """

@final
class Step:
    """
    A named operation of a view.
    """
    @staticmethod
    def crop(name: str, scale: tuple[SupportsFloat | SupportsIndex, SupportsFloat | SupportsIndex], ratio: tuple[SupportsFloat | SupportsIndex, SupportsFloat | SupportsIndex], interpolation: "typing.Any") -> Step:
        """
        Create a random crop, resized to the view, as in torchvision's `RandomResizedCrop`.

        Raises:
            ValueError: a reversed range, an unknown interpolation.
        """
    @staticmethod
    def function(name: str, p: "float | list[tuple[float, float]]", function: "typing.Any", seeded: bool) -> Step:
        """
        Create a step from a Python function from (H, W, 3) uint8 to the same, with a seed as second argument if `seeded`.

        Raises:
            ValueError: an invalid probability.
        """
    @property
    def interpolation(self, /) -> str | None:
        """
        The interpolation of a crop, "bilinear" or "bicubic"; None for other operations.
        """
    @staticmethod
    def operation(kind: str, name: str, p: "float | list[tuple[float, float]]", settings: str) -> Step:
        """
        Create a step from one of the kinds in `operations()`.

        Args:
            p: a probability, or pairs (epoch, probability) with increasing epochs, interpolated in between.
            settings: a JSON object.

        Raises:
            ValueError: an unknown kind, or invalid settings.
        """
    @staticmethod
    def style(name: str, block: Block, p: "float | list[tuple[float, float]]") -> Step:
        """
        Create a step of Algorithm 1, with `p` instead of the block's probability.

        Args:
            p: a probability, or pairs (epoch, probability) with increasing epochs, interpolated in between.

        Raises:
            ValueError: an invalid probability.
        """

@final
class StyleParams:
    """
    The draws for a batch of n images: a plain value to inspect, store and replay.

    Args:
        apply: (n,) bool, True for images that are stylized.
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
        True for images that are stylized, (n,) bool.
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
        model: "lite", the network inside the package, or the path of a .safetensors file (`sassl convert` writes one).
        threads: number of images computed at a time; None: the environment variable SASSL_THREADS, else one in a
            DataLoader worker, else all cores. Results do not depend on it.
        precision: "exact": convolutions in float32; "fast": in integers of 8 and 16 bits if the CPU has AVX2 or AVX-512
            VNNI. With alpha = beta = 0.3, views of `lite` on photographs then differ from the exact ones by a PSNR of 61 dB
            on average and 52 dB at worst. None: "fast", but "exact" if F is InceptionV3 or VGG-19, whose trained weights were
            not measured.
        space: required id of the style space.

    Raises:
        ValueError: an unknown model or precision, a file that is not a model, or a model of another style space.
        OSError: the file cannot be read.

    A stylizer is immutable: threads may share it, it survives fork, and it pickles as its name or path.
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
        Compute F: the style vector of each image.

        Args:
            images: (N, H, W, 3) uint8, or float32 in [0, 1]; H and W at least 8. They are resized to F's input size.
                A single image (H, W, 3) is accepted too.

        Returns:
            (N, dim) float32; (dim,) for a single image.
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
        The precision, as given or the model's default.
        """
    @property
    def provenance(self, /) -> str:
        """
        The origin of the weights.
        """
    @property
    def source(self, /) -> str:
        """
        "lite" or the file's path.
        """
    @property
    def space(self, /) -> str:
        """
        The id of the style space: a model accepts only vectors of its own space.
        """
    def stylize(self, /, images: "numpy.typing.NDArray[typing.Any]", z_style: "numpy.typing.ArrayLike", alpha: "numpy.typing.ArrayLike | None" = None, beta: "numpy.typing.ArrayLike | None" = None) -> "numpy.typing.NDArray[typing.Any]":
        """
        Apply Algorithm 1 of the paper: (1 - beta) i_c + beta T(i_c, (1 - alpha) F(i_c) + alpha z_style).

        Args:
            images: the content i_c, (N, H, W, 3) uint8, or float32 in [0, 1]; H and W at least 8. Or one image (H, W, 3).
            z_style: (N, dim), or (dim,) for all images.
            alpha: feature blending in [0, 1], a scalar or (N,); None: 0.2, the middle of the paper's range.
            beta: pixel interpolation in [0, 1], a scalar or (N,); None: 0.2.

        Returns:
            An array of the shape and dtype of the images; uint8 rounds halves up.
        """
    @property
    def threads(self, /) -> int | None:
        """
        The number of threads, as passed by the caller.
        """
    def transfer(self, /, images: "numpy.typing.NDArray[typing.Any]", z: "numpy.typing.ArrayLike") -> "numpy.typing.NDArray[numpy.float32]":
        """
        Compute T: images in the style z, before any interpolation.

        Args:
            images: (N, H, W, 3) uint8, or float32 in [0, 1]; H and W at least 8. Or one image (H, W, 3).
            z: (N, dim), or (dim,) for all images.

        Returns:
            An array of the shape of the images, float32 in [0, 1].
        """

@final
class Trainer:
    """
    A method with its networks and optimizers.
    """
    def __new__(cls, /, config: str, *, threads: "int | None" = None, accumulate: SupportsIndex = 1) -> Trainer:
        """
        Args:
            config: JSON of a `sassl.pretraining.Config`; settings that only the training loop reads may be omitted.
            threads: number of threads; None: the environment variable SASSL_THREADS, else all cores.
            accumulate: number of pieces in which a step processes its rows, one after another; each consists of whole parts of
                the batch for the norms.

        Raises:
            ValueError: an invalid setting.
        """
    def backbone(self, /) -> "dict[str, numpy.typing.NDArray[numpy.float32]]":
        """
        Return the backbone's tensors with torchvision's names and order of axes.
        """
    def check_batch(self, /, batch: SupportsIndex) -> None:
        """
        Check that this batch size is supported.

        Raises:
            ValueError: the batch size is not supported.
        """
    def encode(self, /, images: "numpy.typing.NDArray[numpy.float32]") -> "numpy.typing.NDArray[numpy.float32]":
        """
        Compute features of images with the backbone in eval mode.

        Args:
            images: (N, H, W, 3) or (N, 3, H, W) float32.

        Returns:
            (N, features) float32.
        """
    @property
    def features(self, /) -> int:
        """
        Dimension of the features.
        """
    def load(self, /, path: "str | os.PathLike[str]") -> dict[str, str]:
        """
        Load the state from such a file, and return its metadata.

        Raises:
            OSError: the file cannot be read.
            ValueError: not a checkpoint, a damaged one, or one of another run; nothing has changed in that case.
        """
    def load_backbone(self, /, state: "dict[str, numpy.typing.NDArray[numpy.float32]]") -> "None":
        """
        Load the backbone's tensors from those of torchvision or timm; `fc.*` is ignored.

        Raises:
            ValueError: a tensor that is missing, unknown or of another shape; nothing has changed in that case.
        """
    def load_state(self, /, state: "dict[str, numpy.typing.NDArray[numpy.float32]]") -> "None":
        """
        Load a state returned by `state`.

        Raises:
            ValueError: a state of another run; nothing has changed in that case.
        """
    def save(self, /, path: "str | os.PathLike[str]", metadata: dict[str, str]) -> "None":
        """
        Write the whole state to a .safetensors file with a checksum, atomically.

        Raises:
            OSError: the file cannot be written.
        """
    def state(self, /) -> "dict[str, numpy.typing.NDArray[numpy.float32]]":
        """
        Return the whole state for a bit-exact resume, by name.
        """
    def step(self, /, left: "numpy.typing.NDArray[numpy.float32]", right: "numpy.typing.NDArray[numpy.float32]", lr: SupportsFloat | SupportsIndex, momentum: SupportsFloat | SupportsIndex, fixed_lr: SupportsFloat | SupportsIndex | None = None) -> "tuple[float, dict[str, float], numpy.typing.NDArray[numpy.float32]]":
        """
        Take one step on two views of a batch.

        Args:
            left, right: (N, H, W, 3) or (N, 3, H, W) float32; the left views are those of the query or online network.
            lr: the learning rate.
            momentum: the EMA coefficient of a momentum encoder, in [0, 1]; ignored by methods without one.
            fixed_lr: the learning rate of networks that do not follow the schedule; None: `lr`.

        Returns:
            The loss before the step, other metrics by name, and the left views' features, (N, features) float32.

        Raises:
            ValueError: views of another shape; a loss that is not finite, in which case no weight has changed.
        """
    @property
    def threads(self, /) -> int:
        """
        Number of threads.
        """

@final
class ViewParams:
    """
    The draws for one view: a plain value to inspect and replay. A mapping from the names of its operations to a dict
    of values, to a `StyleParams` of one image, or to None for an operation that was not applied.
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
            drawn: values by operation name, in the order of the operations; missing operations are not applied. A crop is
                {"top": ..., "left": ..., "height": ..., "width": ...} in pixels; for a colour jitter, the order matters.

        Raises:
            TypeError, ValueError: a value of the wrong type, a style of several images.
        """
    def __repr__(self, /) -> str: ...
    def keys(self, /) -> list[str]:
        """
        Return the names in the order of the operations.
        """

@final
class Views:
    """
    The views of an image.

    Args:
        views: for each view its steps, its (height, width), and the mean and standard deviation of each channel in [0, 1], or
            None for 0 and 1.
        dtype: "uint8", "float16" or "float32".
        channels_last: True for (H, W, 3), False for (3, H, W).

    Raises:
        ValueError: an invalid list of steps; views too small for a step; an unknown name; uint8 views with normalization.
    """
    def __new__(cls, /, views: "list[tuple[list[Step], tuple[int, int], tuple[tuple[float, float, float], tuple[float, float, float]] | None]]", *, dtype: str, channels_last: bool) -> Views: ...
    def apply(self, /, image: "numpy.typing.NDArray[numpy.uint8]", params: SupportsGetItem[int, ViewParams]) -> "list[numpy.typing.NDArray[typing.Any]]":
        """
        Compute all views, a pure function of image and parameters.

        Args:
            image: (H, W, 3) uint8.
            params: the draws of each view.

        Raises:
            ValueError: parameters of other views; a crop outside the image; an image too small for style.
        """
    def check_halves(self, /, world_size: SupportsIndex, images: bool) -> None:
        """
        Check that a loader can leave the second half of the work on batches shared by `world_size` ranks, or, with `images`,
        all work except decoding.

        Raises:
            ValueError: a style that does not permit this.
        """
    def finish(self, /, pixels: "numpy.typing.NDArray[numpy.uint8]", draws: Draws, threads: SupportsIndex | None = None) -> "list[numpy.typing.NDArray[typing.Any]]":
        """
        Compute the views of a batch from the crops or regions of a `Loader`, with the images as the first axis.

        Args:
            pixels: the loader's pixels, uint8.
            draws: the loader's draws.
            threads: number of threads; None: the environment variable SASSL_THREADS, else all cores.

        Raises:
            ValueError: pixels of a different number of images, draws of other views.
        """
    @property
    def needs_batch(self, /) -> bool:
        """
        True if the style of a view is another image of the batch.
        """
    def sample(self, /, seed: SupportsIndex, height: SupportsIndex, width: SupportsIndex, *, epoch: SupportsIndex = 0, index: SupportsIndex = 0) -> list[ViewParams]:
        """
        Draw all views of an image: view v from the random streams (seed, epoch, index, v), one stream for each operation name.

        Raises:
            ValueError: an image without pixels.
        """
    def sample_batch(self, /, seed: SupportsIndex, n: SupportsIndex, height: SupportsIndex, width: SupportsIndex, *, epoch: SupportsIndex = 0) -> list[list[ViewParams]]:
        """
        Draw all views of each image of a batch: image i as in `sample` with index i, in-batch styles among the n images.

        Raises:
            ValueError: images without pixels.
        """
    def sample_every(self, /, height: SupportsIndex, width: SupportsIndex) -> list[ViewParams]:
        """
        Draw all views of an image of this size with every operation applied.
        """
    @property
    def shapes(self, /) -> list[tuple[int, int, int]]:
        """
        The shape of each view: (3, H, W) or (H, W, 3).
        """

def adjust_brightness(image: "numpy.typing.NDArray[numpy.uint8]", factor: "float") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Scale brightness: 0 gives black, 1 the image itself; bit-identical to Pillow's `ImageEnhance.Brightness`.
    """

def adjust_contrast(image: "numpy.typing.NDArray[numpy.uint8]", factor: "float") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Scale contrast around the mean luma; bit-identical to Pillow's `ImageEnhance.Contrast`.
    """

def adjust_hue(image: "numpy.typing.NDArray[numpy.uint8]", factor: "float") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Shift the hue by a fraction of the circle in [-0.5, 0.5]; bit-identical to torchvision's `adjust_hue` on a PIL image.

    Raises:
        ValueError: a shift outside [-0.5, 0.5].
    """

def adjust_saturation(image: "numpy.typing.NDArray[numpy.uint8]", factor: "float") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Scale saturation around each pixel's luma; bit-identical to Pillow's `ImageEnhance.Color`.
    """

def backbone_info(json: str) -> str:
    """
    Describe a backbone as JSON: "features", "stem_stride", "least_side", and "settings", all settings that it has.

    Args:
        json: its name and those settings that differ from torchvision's, `{"name": "resnet18", "small_stem": true}`.

    Raises:
        ValueError: an unknown backbone, or an unknown or invalid setting.
    """

def backbone_names() -> list[str]:
    """
    Return the names of the backbones.
    """

def checkpoint_metadata(path: "str | os.PathLike[str]") -> dict[str, str]:
    """
    Return the metadata of a checkpoint; its tensors are not read.

    Raises:
        OSError: the file cannot be read.
        ValueError: not a checkpoint, or one with damaged metadata.
    """

def color_profile(file: "bytes") -> "bytes | None":
    """
    Return the ICC profile in the bytes of a file, or None.
    """

def convert(paths: "list[str | os.PathLike[str]]", out: "str | os.PathLike[str]", name: "str", *, as_is: "bool" = False, any_pair: "bool" = False) -> "None":
    """
    Convert a third-party style network to one .safetensors file, written atomically.

    Magenta's pairs are read from a TensorFlow checkpoint, a SavedModel, TFLite, ONNX or TensorFlow.js files; AdaIN and styleaug from
    PyTorch's .pth files, without executing their code.

    Args:
        paths: files, folders or archives that hold F and T, together or separately.
        out: the file to write.
        name: the model's name, stored in the file.
        as_is: InceptionV3 sees images at their original size, at least 43 pixels, instead of a shorter side of 256.
        any_pair: accept F and T that were not trained together.

    Raises:
        ValueError: a file that is not such a network, or only one part of it.
        OSError: a file cannot be read or written.
    """

def cosine_momentum(tau: SupportsFloat | SupportsIndex, total: SupportsIndex, k: SupportsIndex) -> float:
    """
    Return BYOL's tau at step `k` of `total`, from `tau` to 1 along a cosine.

    Raises:
        ValueError: tau outside [0, 1], or no steps.
    """

def cosine_rate(lr: SupportsFloat | SupportsIndex, warmup: SupportsIndex, total: SupportsIndex, k: SupportsIndex) -> float:
    """
    Return the learning rate of step (or epoch) `k` of `total`, counted from 0: linear warm-up, then cosine decay to 0 (SimCLR,
    BYOL; MoCo by epoch).

    Raises:
        ValueError: a negative rate, or a warm-up as long as the schedule.
    """

def cuda_finish(views: Views, draws: Draws, out: "list[tuple[int, tuple[str, int, int, tuple[int, int, int, int]]]]", stylizer: CudaStylizer | None = None, styles: SupportsIndex | None = None, pixels: SupportsIndex | None = None) -> CudaPlan:
    """
    Plan the remaining operations on the crops or regions of a `Loader`, whose pixels are on the device. Crops are changed in
    place.

    Args:
        views: their recipe.
        draws: the loader's draws.
        out, stylizer, styles: as in `cuda_views`.
        pixels: size of the pixels in bytes, to be checked against the draws; None: not checked.

    Raises:
        ValueError: draws of other views, or pixels of another size; an operation without CUDA kernels, by its name.
    """

def cuda_info() -> "dict[str, typing.Any]":
    """
    Return the versions of the driver and of NVRTC, the GPUs with their compute capabilities, and the folder of compiled
    kernels; for each that is missing, the reason.
    """

def cuda_views(views: Views, images: "tuple[str, int, int, tuple[int, int, int, int]]", params: SupportsGetItem[int, SupportsGetItem[int, ViewParams]], out: "list[tuple[int, tuple[str, int, int, tuple[int, int, int, int]]]]", stylizer: CudaStylizer | None = None, styles: SupportsIndex | None = None) -> CudaPlan:
    """
    Plan the views of a batch of uint8 images.

    Args:
        views: their recipe.
        images: dtype, height, width, and the strides of image, row, column and channel in values.
        params: the draws of each image's views.
        out: for each view, its offset in bytes from the first, and its layout as in `images`.
        stylizer: the stylizer of the recipe's style, if it has one.
        styles: number of vectors of its bank, or None for in-batch styles.

    Raises:
        ValueError: images or parameters of other views.
    """

def decode(file: "str | os.PathLike[str] | bytes", min_size: "int | None" = None, *, exif: "bool" = True) -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Decode a JPEG, PNG, WebP, BMP, TIFF, PNM or GIF file, recognized by its bytes, to RGB with eight bits per channel.

    Gray becomes three equal channels, CMYK is converted as in Pillow, transparency is dropped, not blended. Gray of sixteen
    bits is rounded to eight; of sixteen-bit colours the upper eight are kept. Of an animation, the first frame is decoded. ICC
    profiles are ignored.

    Args:
        file: a path, or the bytes of a file.
        min_size: None, or a side in pixels: a JPEG is decoded at the smallest of 1/8, 1/4 and 1/2 of its size with no side
            shorter than this, as PIL's `Image.draft` does.
        exif: True rotates the image upright by the orientation in EXIF or, without one there, in XMP: in JPEG, PNG (chunks and
            texts, wherever they are) and WebP (if its header announces them). This is Pillow's `ImageOps.exif_transpose`,
            except that unreadable EXIF is ignored, where Pillow raises an error. False returns the image as stored, as
            torchvision's `ImageFolder` does. TIFF is rotated in either case, because Pillow rotates it while reading.

    Returns:
        uint8, (H, W, 3).

    Raises:
        ValueError: an unsupported or undecodable image; a side above 65,535 pixels, more than 178,956,970 pixels, or more
            than its bytes can encode.
        OSError: the file cannot be read.
    """

def describe_state(config: str) -> dict[str, list[int]]:
    """
    Return the names and shapes of the initial state.

    Raises:
        ValueError: an invalid setting.
    """

def gaussian_blur(image: "numpy.typing.NDArray[numpy.uint8]", kernel_size: "int | str | None", sigma: "float") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Blur with a Gaussian.

    Args:
        image: uint8, (H, W, 3).
        kernel_size: number of taps, odd, with reflected edges, as in torchvision; or "pillow" or None for Pillow's
            `ImageFilter.GaussianBlur(sigma)`, bit-identical: three boxes in each direction, edges repeated.
        sigma: standard deviation in pixels, above 0.

    Raises:
        ValueError: an even number of taps, more taps than the reflected image allows, a sigma that is not positive.
    """

def grayscale(image: "numpy.typing.NDArray[numpy.uint8]") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Convert to grayscale: three equal channels of the luma (ITU-R 601-2).
    """

def hflip(image: "numpy.typing.NDArray[numpy.uint8]") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Flip horizontally.
    """

def image_suffixes() -> list[str]:
    """
    Return the suffixes of image files in folders and shards.
    """

def info() -> "dict[str, typing.Any]":
    """
    Return the version, the instruction sets of this machine, the one in use and whether it multiplies bytes, the numbers of
    cores and of default threads, and the embedded models.
    """

def initial_state(config: str) -> "dict[str, numpy.typing.NDArray[numpy.float32]]":
    """
    Return the initial state of a native run: networks, optimizer state (zeros), and the method's own tensors.

    Raises:
        ValueError: an invalid setting.
    """

def key_order(seed: SupportsIndex, step: SupportsIndex, view: SupportsIndex, n: SupportsIndex) -> "numpy.typing.NDArray[numpy.uint32]":
    """
    Return the order in which MoCo distributes the keys of a view (0: left, 1: right) over the parts of a batch of n, at a step
    counted from 0.
    """

def knn(bank: "numpy.typing.NDArray[numpy.float32]", targets: "numpy.typing.NDArray[numpy.int64]", queries: "numpy.typing.NDArray[numpy.float32]", *, k: SupportsIndex = 200, temperature: SupportsFloat | SupportsIndex = 0.1, top: SupportsIndex = 1, threads: "int | None" = None) -> "numpy.typing.NDArray[numpy.int64]":
    """
    Rank the classes of `queries` by their nearest neighbours in `bank` (Wu et al. 2018, section 3.4), best first.

    Args:
        bank: (N, dim) features.
        targets: N labels, any integers of at least 0.
        queries: (M, dim) features.
        k: number of neighbours.
        temperature: temperature of their weights, exp(cosine / temperature).
        top: number of labels to return per query.
        threads: number of threads; None: the environment variable SASSL_THREADS, else all cores.

    Returns:
        Labels, (M, top) int64, fewer columns if there are fewer classes; padded with -1 beyond the classes of the neighbours.

    Raises:
        ValueError: arrays of incompatible shapes, values that are not finite, only one class, or fewer than k features.
    """

def linear_probe(features: "numpy.typing.NDArray[numpy.float32]", targets: "numpy.typing.NDArray[numpy.int64]", queries: "numpy.typing.NDArray[numpy.float32]", *, lr: SupportsFloat | SupportsIndex = 0.1, epochs: SupportsIndex = 90, batch_size: SupportsIndex = 256, momentum: SupportsFloat | SupportsIndex = 0.9, nesterov: bool = True, seed: SupportsIndex = 0, top: SupportsIndex = 1, threads: "int | None" = None) -> "numpy.typing.NDArray[numpy.int64]":
    """
    Rank the classes of `queries` by softmax regression, trained on `features` with SGD, best first.

    Args:
        features: (N, dim).
        targets: N labels, any integers of at least 0.
        queries: (M, dim).
        lr: the initial and largest learning rate, for a batch of 256; it decays to 0 along a cosine.
        epochs, batch_size, momentum, nesterov: settings of SGD.
        seed: seed of the initial weights and the order.
        top: number of labels to return per query.
        threads: number of threads; None: the environment variable SASSL_THREADS, else all cores.

    Returns:
        Labels, (M, top) int64; fewer columns if there are fewer classes.

    Raises:
        ValueError: arrays of incompatible shapes, only one class, or an invalid setting.
    """

def list_images(folder: "str | os.PathLike[str]") -> "tuple[list[str], int, int]":
    """
    Return the images below a folder, sorted by name, and the numbers of hidden files and folders and of other files, which are
    skipped.

    Raises:
        OSError: a folder cannot be read.
    """

def load_checkpoint(path: "str | os.PathLike[str]") -> "tuple[dict[str, numpy.typing.NDArray[numpy.float32]], dict[str, str]]":
    """
    Return the state and the metadata of a checkpoint.

    Raises:
        OSError: the file cannot be read.
        ValueError: not a checkpoint, one of another version, or a damaged one.
    """

def load_styles(path: "str | os.PathLike[str]") -> "Bank | Gaussian":
    """
    Load a bank or a Gaussian from a file.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is neither a bank nor a Gaussian.
    """

def normalize(image: "numpy.typing.NDArray[numpy.uint8]", mean: "tuple[float, float, float]", std: "tuple[float, float, float]") -> "numpy.typing.NDArray[numpy.float32]":
    """
    Compute `(x / 255 - mean) / std` for each channel.

    Returns:
        float32, (3, H, W): bit-identical to torchvision's `ToTensor` and `Normalize`.

    Raises:
        ValueError: a standard deviation that is not positive.
    """

def operations() -> list[str]:
    """
    Return the kinds of `Step.operation`.
    """

def resized_crop(image: "numpy.typing.NDArray[numpy.uint8]", top: "int", left: "int", height: "int", width: "int", size: "tuple[int, int]", interpolation: "typing.Any" = ...) -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Crop an image and resize the crop with an antialiasing filter, like Pillow.

    Args:
        image: uint8, (H, W, 3).
        top, left, height, width: the crop, in pixels.
        size: (height, width) of the result.
        interpolation: "bilinear" (default) or "bicubic"; or Pillow's or torchvision's constant for one of these.

    Raises:
        ValueError: a crop that is empty or reaches beyond the image; another interpolation.
    """

def rotate(image: "numpy.typing.NDArray[numpy.uint8]", angle: "float") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Rotate counter-clockwise about the centre with nearest-neighbour interpolation and black corners; bit-identical to
    torchvision's `rotate` on a PIL image.

    Args:
        image: uint8, (H, W, 3).
        angle: in degrees.

    Raises:
        ValueError: an angle that is not finite.
    """

def save_checkpoint(path: "str | os.PathLike[str]", state: "dict[str, numpy.typing.NDArray[numpy.float32]]", metadata: dict[str, str]) -> "None":
    """
    Write the state of any engine to a checkpoint with a checksum, atomically.

    Raises:
        OSError: the file cannot be written.
    """

def solarize(image: "numpy.typing.NDArray[numpy.uint8]", threshold: "float" = 128.0) -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Invert all values of at least `threshold`, which is between 0 (all values) and 256 (none).

    Raises:
        ValueError: a threshold outside [0, 256].
    """

def version() -> "str":
    """
    Return the version of the package.
    """

def vflip(image: "numpy.typing.NDArray[numpy.uint8]") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Flip vertically.
    """

def write_file(path: "str | os.PathLike[str]", data: "bytes") -> "None":
    """
    Write a file atomically, and sync it to disk.

    Args:
        path: the file to write; an existing link is replaced, not followed.
        data: the contents of the file.

    Raises:
        OSError: the write fails, or the path is a folder, a device or a pipe; an existing file is then unchanged.
    """

def write_tensors(path: "str | os.PathLike[str]", tensors: "dict[str, numpy.typing.NDArray[typing.Any]]", metadata: dict[str, str]) -> "None":
    """
    Write tensors to a .safetensors file, atomically: int64 tensors as int64 (exact up to 2**24), all others as float32.

    Raises:
        OSError: the file cannot be written.
    """
