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
            space: id of the style space of the vectors. Each predictor has its own space.
            names: a name for each vector, e.g. of the image it was computed from; or None.
        """
    @staticmethod
    def default() -> Bank:
        """
        Return the bank that ships with the package, in the style space of the model "lite".
        """
    @property
    def dim(self, /) -> int:
        """
        Length of a vector.
        """
    def gaussian(self, /, rank: SupportsIndex = 20) -> Gaussian:
        """
        Fit a Gaussian to the vectors: their mean and their first `rank` principal axes.
        """
    @staticmethod
    def load(path: "str | os.PathLike[str]") -> Bank:
        """
        Read a bank file into memory; later changes to the file have no effect on the bank.
        """
    @property
    def names(self, /) -> list[str] | None:
        """
        A name for each vector, e.g. of the image it was computed from; None if the bank has no names.
        """
    def save(self, /, path: "str | os.PathLike[str]", exact: bool = False) -> "None":
        """
        Write the bank to a .safetensors file, atomically: as float16, or as float32 if `exact`.
        """
    @property
    def space(self, /) -> str:
        """
        Id of the style space of the vectors. Each predictor has its own space.
        """
    @property
    def vectors(self, /) -> Any:
        """
        A copy of all vectors, (n, dim) float32.
        """

@final
class Block:
    """
    Algorithm 1 of the paper with its settings. `sassl.transforms.SASSL` wraps this class.

    Args:
        stylizer: the networks F and T.
        styles: a `Bank`, a `Gaussian`, or None for the other images of the batch.
        p: probability of stylizing an image.
        alpha: range (low, high) from which the weight of feature blending is drawn.
        beta: range (low, high) from which the weight of pixel interpolation is drawn.

    Raises:
        ValueError: a value outside [0, 1], a reversed range, or styles and stylizer of different style spaces.
    """
    def __new__(cls, /, stylizer: Stylizer, styles: "Bank | Gaussian | None" = None, p: SupportsFloat | SupportsIndex = ..., alpha: tuple[SupportsFloat | SupportsIndex, SupportsFloat | SupportsIndex] = ..., beta: tuple[SupportsFloat | SupportsIndex, SupportsFloat | SupportsIndex] = ...) -> Block: ...
    def apply(self, /, images: "numpy.typing.NDArray[typing.Any]", params: StyleParams) -> "numpy.typing.NDArray[typing.Any]":
        """
        Apply Algorithm 1 to a batch. The result is a pure function of the images and the parameters.

        Args:
            images: (N, H, W, 3) uint8, or float32 in [0, 1]; H and W at least 8.
            params: the parameters drawn for these images.

        Returns:
            An array of the shape and dtype of the images. Images with apply = False are unchanged. If no image is to be
            stylized, the input array itself is returned.
        """
    def sample(self, /, seed: SupportsIndex, n: SupportsIndex, *, epoch: SupportsIndex = 0, index: SupportsIndex = 0, view: SupportsIndex = 0) -> StyleParams:
        """
        Draw parameters for n images. Image i uses the random stream with the key (seed, epoch, index + i, view).
        """
    def vectors(self, /, params: StyleParams, z_content: "numpy.typing.ArrayLike | None" = None) -> "numpy.typing.NDArray[numpy.float32]":
        """
        Return the style vector drawn for each image, (n, dim) float32.

        Args:
            params: the drawn parameters.
            z_content: (n, dim) style vectors that F computes from the images of the batch; required only if styles are taken
                from the batch.
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
        Compile the kernels for an architecture, and return the size of each compiled kernel in bytes, by name.

        `arch` is 90 for compute capability 9.0. No GPU is needed.
        """
    def load(self, /, device: CudaDevice) -> str | None:
        """
        Compile and load the kernels in advance, so that `run` does not have to.

        The result and the errors are those of `run`.
        """
    def run(self, /, device: CudaDevice, addresses: tuple[SupportsIndex, SupportsIndex, SupportsIndex, SupportsIndex, SupportsIndex], stream: SupportsIndex) -> str | None:
        """
        Enqueue the kernel launches on a stream, without waiting for them to finish.

        Args:
            device: the device that holds all buffers.
            addresses: the device addresses of the weights, the workspace, the images, the output and the style vectors.
            stream: a `cudaStream_t`, as an integer.

        Returns:
            The reason why compiled kernels could not be cached on disk, or None.

        Raises:
            RuntimeError: NVRTC is missing, or the CUDA driver reports an error.
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
        stylizer: supplies the model and the precision. On a GPU, "exact" is float32, and "fast" is float16 with float32
            accumulation.
    """
    def __new__(cls, /, stylizer: Stylizer) -> CudaStylizer: ...
    def encode(self, /, images: "tuple[str, int, int, tuple[int, int, int, int]]", count: SupportsIndex) -> CudaPlan:
        """
        Plan the kernel launches of F for `count` images. The output is (count, dim) float32.
        """
    def plan(self, /, images: "tuple[str, int, int, tuple[int, int, int, int]]", params: StyleParams, out: "tuple[str, int, int, tuple[int, int, int, int]]", styles: "int | None" = None) -> CudaPlan:
        """
        Plan the kernel launches of Algorithm 1 for a batch.

        Args:
            images, out: layouts of the input and of the output: (dtype, height, width, strides). Strides are in elements, for
                the image, row, column and channel axes.
            params: the parameters drawn for these images.
            styles: number of vectors in the bank, or None for in-batch styles.

        Raises:
            ValueError: an unsupported dtype or image size, or a style index out of range.
        """
    def weights(self, /) -> "numpy.typing.NDArray[numpy.uint8]":
        """
        The weights as bytes, in the kernels' layout, to be copied to the device.
        """

@final
class Draws:
    """
    The parameters drawn for all views of each image of a batch.

    Args:
        params: for each image, the parameters drawn for each view.
        regions: for each image, (byte offset of the region's pixels, (top, left, height, width) of the region). None if the
            loader returns crops.
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
        True if the draws are for regions of decoded images, False if they are for crops.
        """

@final
class Epoch:
    """
    One pass over the batches of a loader.
    """
    def close(self, /) -> None:
        """
        Ask the threads to stop, and return without waiting. Each thread stops after its current image.
        """
    def next(self, /) -> "tuple[list[typing.Any], numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.int64], list[str], Draws] | None":
        """
        Return the next batch, or None at the end of the epoch.

        Returns:
            (views, indices, targets, names, draws). `views` holds an array for each view, or a single uint8 array of crops or
            regions, from which `Views.finish` computes the views. `indices` and `targets` are int64, one item per image, like
            `names`. `draws` is an argument of `Views.finish`.

        Raises:
            ValueError, OSError: an image cannot be read. The next call returns the following batch.
            ValueError: another process started the epoch, or another thread is waiting for its next batch.
        """
    @property
    def taken(self, /) -> int:
        """
        Number of batches taken so far, including those for which `next` raised an error.
        """

@final
class FineTuner:
    """
    A backbone and a linear classifier, trained on labelled images with SGD.
    """
    def __new__(cls, /, backbone: str, classes: SupportsIndex, *, momentum: SupportsFloat | SupportsIndex = 0.9, nesterov: bool = True, weight_decay: SupportsFloat | SupportsIndex = 0.0, norm_momentum: SupportsFloat | SupportsIndex = 0.1, frozen: bool = False, threads: "int | None" = None) -> FineTuner:
        """
        Args:
            backbone: JSON with the backbone's name and settings, as in `backbone_info`.
            classes: number of classes, at least 2.
            momentum, nesterov, weight_decay: settings of SGD; weight decay applies to all parameters.
            norm_momentum: weight of the current batch in the running batch-norm statistics, like `momentum` in torch's
                `BatchNorm2d`.
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
            ValueError: a tensor that is missing, unknown or of another shape. The current state is then left unchanged.
        """
    def scores(self, /, images: "numpy.typing.NDArray[numpy.float32]") -> "numpy.typing.NDArray[numpy.float32]":
        """
        Compute the logits of images in eval mode. Their softmax gives the class probabilities.

        Args:
            images: (N, H, W, 3) or (N, 3, H, W) float32.

        Returns:
            (N, classes) float32.
        """
    def state(self, /) -> "dict[str, numpy.typing.NDArray[numpy.float32]]":
        """
        Return the state as tensors by name.

        The prefixes of the names are `backbone.`, `head.` for the classifier, and `optimizer.` for SGD.
        """
    def step(self, /, images: "numpy.typing.NDArray[numpy.float32]", targets: "numpy.typing.NDArray[numpy.int64]", lr: SupportsFloat | SupportsIndex) -> float:
        """
        Take one training step.

        Args:
            images: (N, H, W, 3) or (N, 3, H, W) float32.
            targets: N class indices in [0, classes).
            lr: the learning rate.

        Returns:
            The loss before the step. If the loss is not finite, the weights are left unchanged.

        Raises:
            ValueError: images of an unsupported shape, or class indices out of range.
        """
    @property
    def threads(self, /) -> int:
        """
        Number of threads.
        """

@final
class Gaussian:
    """
    A low-rank Gaussian fitted to the style vectors of a bank; see `Bank.gaussian`.
    """
    def __getnewargs__(self, /) -> tuple[Any, Any, str]: ...
    def __new__(cls, /, mean: "numpy.typing.ArrayLike", axes: "numpy.typing.ArrayLike", space: "str") -> Gaussian:
        """
        Args:
            mean: (dim,) floats.
            axes: (rank, dim) floats, the principal axes; the length of an axis is the standard deviation along that axis.
            space: id of the style space of the mean and the axes. Each predictor has its own space.
        """
    def __repr__(self, /) -> str: ...
    @property
    def axes(self, /) -> Any:
        """
        The principal axes, (rank, dim) float32; the length of an axis is the standard deviation along that axis.
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
        Number of principal axes.
        """
    def save(self, /, path: "str | os.PathLike[str]") -> "None":
        """
        Write the Gaussian to a .safetensors file of float32, atomically.
        """
    @property
    def space(self, /) -> str:
        """
        Id of the style space of the mean and the axes. Each predictor has its own space.
        """

@final
class Loader:
    """
    A data loader: it reads the images of a source in the order of each epoch, and computes their views.
    """
    def __len__(self, /) -> int:
        """
        Number of batches in an epoch.
        """
    def __new__(cls, /, source: Source, views: Views, *, batch_size: SupportsIndex, shuffle: bool, drop_last: bool, seed: SupportsIndex, rank: SupportsIndex, world_size: SupportsIndex, threads: SupportsIndex | None, prefetch: SupportsIndex, on_error: str, on_damage: str, min_decode_size: SupportsIndex | None, makes: str) -> Loader:
        """
        Args:
            source: the dataset.
            views: the views to compute from each image.
            on_error: "raise" an error for an unreadable image, or "report": list the image in `report`, and replace it with
                another.
            on_damage: for an image that can be only partly decoded: "use" the decoded pixels, "replace" the image, or "raise"
                an error.
            makes: the contents of a batch: "views", "crops" or "regions". `Views.finish` turns crops and regions into views.
                Regions are the parts of the decoded images that the views need.

        The other arguments are those of `sassl.data.TwoViewLoader`.
        """
    @property
    def report(self, /) -> dict[str, tuple[str, int, bool]]:
        """
        Unreadable and damaged images by name: (reason, number of occurrences, True if the image was used despite the damage).
        """
    def start(self, /, epoch: SupportsIndex, batch: SupportsIndex, pinned: bool) -> Epoch:
        """
        Start an epoch at the given batch. The views, crops or regions of each batch are returned in new arrays, which are
        page-locked if `pinned`.
        """

@final
class Source:
    """
    A sequence of images, each with a class index. The dataset classes of `sassl.data` wrap it.
    """
    def __len__(self, /) -> int: ...
    @property
    def classes(self, /) -> list[str]:
        """
        Names of the classes, by class index; empty if the classes have no names.
        """
    @property
    def damaged(self, /) -> list[tuple[str, str]]:
        """
        Paths of shards that are only partly readable, each with the reason.
        """
    @property
    def exif(self, /) -> bool:
        """
        True if images in files are rotated upright according to their EXIF orientation.
        """
    @staticmethod
    def files(paths: "list[str | os.PathLike[str]]", targets: "list[int]", exif: bool = True) -> Source:
        """
        Create a source from image files, with a class index for each.
        """
    @staticmethod
    def folder(root: "str | os.PathLike[str]", exif: bool = True) -> Source:
        """
        Create a source from a folder with one subfolder per class, `root/<class>/**/image.jpg`.
        """
    def get(self, /, index: SupportsIndex) -> "tuple[numpy.typing.NDArray[numpy.uint8], int]":
        """
        Return an image, (H, W, 3) uint8, and its class index.
        """
    @property
    def has_classes(self, /) -> bool:
        """
        True if the samples of the shards have classes. False for sources other than shards.
        """
    @property
    def hidden(self, /) -> int:
        """
        Number of hidden files and folders that were ignored.
        """
    def identity(self, /) -> tuple[int, tuple[int, int] | None]:
        """
        Return a fingerprint of the dataset: (hash of names, (hash of sizes, total size)).

        The hashes are FNV-1a. Names are relative to the common folder of the images, and sizes are in bytes. If the size of any
        image is unknown, the second item is None.
        """
    def name(self, /, index: SupportsIndex) -> "str":
        """
        Return the name of an image.
        """
    @property
    def others(self, /) -> int:
        """
        Number of files ignored because they do not have an image suffix or, in shards, belong to no image.
        """
    @staticmethod
    def pickles(layout: str, paths: "list[str | os.PathLike[str]]") -> Source:
        """
        Create a source from the pickle files of the Python version of "cifar10" or "cifar100".
        """
    @staticmethod
    def python(get: "typing.Callable[[int], tuple[typing.Any, int]]", len: SupportsIndex, name: str, exif: bool = True, names: "list[str] | None" = None) -> Source:
        """
        Create a source from a Python callable: `get(index)` returns (image, class).

        The image is the bytes of a file, a path, or an (H, W, 3) uint8 array. `names` are the names of the images; if None,
        an image is named by `name` and its index, for example "photos[7]".
        """
    @staticmethod
    def records(layout: str, paths: "list[str | os.PathLike[str]]", targets: SupportsGetItem[int, SupportsIndex] | None = None) -> Source:
        """
        Create a source from the binary files of "cifar10", "cifar100" or "stl10".

        `targets` is only for STL-10: the files of its images contain no classes.
        """
    @staticmethod
    def selection(sources: "list[Source]", rows: "list[int]", targets: "list[int]") -> Source:
        """
        Create a source that selects images from the concatenation of several sources.

        `rows` are indices into the concatenation, in the order of the new source; `targets` are the class indices of the
        selected images. If the first source rotates images upright, all images are rotated, otherwise none.
        """
    @staticmethod
    def shards(paths: "list[str | os.PathLike[str]]", keep_going: bool = False, exif: bool = True) -> Source:
        """
        Create a source from WebDataset tar files.

        A shard that is unreadable from some point on is an error; with `keep_going`, its images before that point are used.
        """
    def targets(self, /) -> list[int] | None:
        """
        Return the class index of each image, or None if the classes are only known after the images are read.
        """

@final
class Step:
    """
    A named operation of a view.
    """
    @staticmethod
    def crop(name: str, scale: tuple[SupportsFloat | SupportsIndex, SupportsFloat | SupportsIndex], ratio: tuple[SupportsFloat | SupportsIndex, SupportsFloat | SupportsIndex], interpolation: "typing.Any") -> Step:
        """
        Create a step that crops at random and resizes the crop to the size of the view, as torchvision's `RandomResizedCrop`
        does.

        Raises:
            ValueError: a range (low, high) that is reversed or out of bounds, or an unknown interpolation.
        """
    @staticmethod
    def function(name: str, p: "float | list[tuple[float, float]]", function: "typing.Any", seeded: bool) -> Step:
        """
        Create a step that calls a Python function with an (H, W, 3) uint8 array and, if `seeded`, an integer seed. The function
        returns an array of the same shape and dtype.

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
        Create a step that applies an image operation.

        Args:
            kind: one of `operations()`.
            name: the step's name, unique within the view.
            p: a probability, or pairs (epoch, probability) with increasing epochs. Between pairs, the probability is
                interpolated linearly.
            settings: the operation's settings as a JSON object.

        Raises:
            ValueError: an unknown kind, or invalid settings.
        """
    @staticmethod
    def style(name: str, block: Block, p: "float | list[tuple[float, float]]") -> Step:
        """
        Create a step that applies Algorithm 1 of the SASSL paper with the settings of `block`, but with the probability `p`.

        Args:
            p: a probability, or pairs (epoch, probability) with increasing epochs. Between pairs, the probability is
                interpolated linearly.

        Raises:
            ValueError: an invalid probability.
        """

@final
class StyleParams:
    """
    The style parameters drawn for a batch of n images: a plain value to inspect, store and replay.

    Args:
        apply: (n,) bool, True for images that are to be stylized.
        alpha: (n,) float32 in [0, 1], the weights of feature blending.
        beta: (n,) float32 in [0, 1], the weights of pixel interpolation.
        style: (n,) integers, indices into the bank or the batch; or (n, dim) float32, style vectors.
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
        The weights of feature blending, (n,) float32.
        """
    @property
    def apply(self, /) -> Any:
        """
        True for images that are to be stylized, (n,) bool.
        """
    @property
    def beta(self, /) -> Any:
        """
        The weights of pixel interpolation, (n,) float32.
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
        model: "lite", the network that ships with the package, or the path of a model file (.safetensors), as written by the
            command `sassl convert`.
        threads: number of images computed at a time; None: the environment variable SASSL_THREADS, else one in a DataLoader
            worker, else all cores. The number has no effect on the results.
        precision: "exact" computes convolutions in float32. "fast" computes them in integers of 8 and 16 bits if the CPU has
            AVX2 or AVX-512 VNNI. For photographs stylized by "lite" with alpha = beta = 0.3, the PSNR between the two results
            is 61 dB on average and 52 dB at worst. None: "exact" if F is InceptionV3 or VGG-19, else "fast"; the effect of
            "fast" on InceptionV3 and VGG-19 has not been measured with trained weights.
        space: the id of the style space that the model must have; None accepts any.

    Raises:
        ValueError: an unknown model or precision, a file that is not a model, or a model whose style space is not `space`.
        OSError: the file cannot be read.

    A stylizer is immutable. Threads may share a stylizer, it survives fork, and it is pickled as its name or path.
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
            images: (N, H, W, 3) uint8, or float32 in [0, 1]; H and W at least 8. Or one image (H, W, 3). The images are resized
                to F's input size.

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
        The precision in use, "exact" or "fast".
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
        Id of the style space. The stylizer accepts only style vectors of this space.
        """
    def stylize(self, /, images: "numpy.typing.NDArray[typing.Any]", z_style: "numpy.typing.ArrayLike", alpha: "numpy.typing.ArrayLike | None" = None, beta: "numpy.typing.ArrayLike | None" = None) -> "numpy.typing.NDArray[typing.Any]":
        """
        Apply Algorithm 1 of the paper: (1 - beta) i_c + beta T(i_c, (1 - alpha) F(i_c) + alpha z_style).

        Args:
            images: the content i_c, (N, H, W, 3) uint8, or float32 in [0, 1]; H and W at least 8. Or one image (H, W, 3).
            z_style: (N, dim), or (dim,) for all images.
            alpha: feature blending in [0, 1], a scalar or (N,); None: 0.2, the middle of the paper's range.
            beta: pixel interpolation in [0, 1], a scalar or (N,); None: 0.2, also the middle of the paper's range.

        Returns:
            An array of the shape and dtype of the images; uint8 values are rounded to nearest, halves up.
        """
    @property
    def threads(self, /) -> int | None:
        """
        The argument `threads`: a number, or None.
        """
    def transfer(self, /, images: "numpy.typing.NDArray[typing.Any]", z: "numpy.typing.ArrayLike") -> "numpy.typing.NDArray[numpy.float32]":
        """
        Compute T: the images rendered in the style `z`, without pixel interpolation.

        Args:
            images: (N, H, W, 3) uint8, or float32 in [0, 1]; H and W at least 8. Or one image (H, W, 3).
            z: (N, dim), or (dim,) for all images.

        Returns:
            An array of the shape of the images, float32 in [0, 1].
        """

@final
class Trainer:
    """
    A pretraining method with its networks and optimizers.
    """
    def __new__(cls, /, config: str, *, threads: "int | None" = None, accumulate: SupportsIndex = 1) -> Trainer:
        """
        Args:
            config: JSON of a `sassl.pretraining.Config`; settings that only the training loop reads may be omitted.
            threads: number of threads; None: the environment variable SASSL_THREADS, else all cores.
            accumulate: number of pieces into which a step divides a batch, to process them one after another (gradient
                accumulation). The number must divide the method's setting `splits`, the number of parts of a batch with
                separate batch-norm statistics; these statistics are then the same as without accumulation.

        Raises:
            ValueError: an invalid setting.
        """
    def backbone(self, /) -> "dict[str, numpy.typing.NDArray[numpy.float32]]":
        """
        Return the backbone's tensors, with names and axes as in torchvision.
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
        Load the state from a file written by `save`, and return the file's metadata.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file is not a checkpoint, is damaged, or belongs to a run with other networks or another method. The
                current state is then left unchanged.
        """
    def load_backbone(self, /, state: "dict[str, numpy.typing.NDArray[numpy.float32]]") -> "None":
        """
        Load the backbone from tensors with the names of torchvision or timm. Classifier tensors, `fc.*`, are ignored.

        Raises:
            ValueError: a tensor that is missing, unknown or of another shape. The backbone is then left unchanged.
        """
    def load_state(self, /, state: "dict[str, numpy.typing.NDArray[numpy.float32]]") -> "None":
        """
        Load a state returned by `state`.

        Raises:
            ValueError: the state of a run with other networks or another method. The current state is then left unchanged.
        """
    def save(self, /, path: "str | os.PathLike[str]", metadata: dict[str, str]) -> "None":
        """
        Write the state and metadata to a .safetensors file with a checksum, atomically.

        Raises:
            OSError: the file cannot be written.
        """
    def state(self, /) -> "dict[str, numpy.typing.NDArray[numpy.float32]]":
        """
        Return all tensors that are needed to resume bit-exactly, by name.
        """
    def step(self, /, left: "numpy.typing.NDArray[numpy.float32]", right: "numpy.typing.NDArray[numpy.float32]", lr: SupportsFloat | SupportsIndex, momentum: SupportsFloat | SupportsIndex, fixed_lr: SupportsFloat | SupportsIndex | None = None) -> "tuple[float, dict[str, float], numpy.typing.NDArray[numpy.float32]]":
        """
        Take one step on two views of a batch.

        Args:
            left, right: (N, H, W, 3) or (N, 3, H, W) float32. MoCo's asymmetric loss takes its queries from the left views and
                its keys from the right ones; all other losses are symmetric.
            lr: the learning rate.
            momentum: the EMA coefficient of a momentum encoder, in [0, 1]; ignored by methods without one.
            fixed_lr: the learning rate of networks that do not follow the schedule; None: `lr`.

        Returns:
            The loss before the step, a dict of other metrics, and the features that the backbone computes from the left views,
            (N, features) float32.

        Raises:
            ValueError: views of an unsupported shape, or a loss that is not finite. The trained weights are then left
                unchanged.
        """
    @property
    def threads(self, /) -> int:
        """
        Number of threads.
        """

@final
class ViewParams:
    """
    The parameters drawn for one view: a plain value to inspect and replay.

    A mapping with the names of the view's operations as keys. A value is a dict of drawn values, or a `StyleParams` of one
    image, or None if the operation is not applied.
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
            drawn: values by operation name, in the order of the operations. Operations without an entry are not applied. A crop
                is {"top": ..., "left": ..., "height": ..., "width": ...} in pixels. The order of the items of a colour jitter
                is the order in which its factors are applied.

        Raises:
            TypeError: a value of the wrong type.
            ValueError: a `StyleParams` of several images.
        """
    def __repr__(self, /) -> str: ...
    def keys(self, /) -> list[str]:
        """
        Return the names of the operations, in order.
        """

@final
class Views:
    """
    The views of an image.

    Args:
        views: for each view, its steps, its (height, width), and its normalization. The normalization is (mean, std) of the
            channels for values in [0, 1], or None.
        dtype: "uint8", "float16" or "float32".
        channels_last: True for views of shape (H, W, 3), False for (3, H, W).

    Raises:
        ValueError: an invalid list of steps; a view too small for one of its steps; an unknown dtype; uint8 views with
            normalization.
    """
    def __new__(cls, /, views: "list[tuple[list[Step], tuple[int, int], tuple[tuple[float, float, float], tuple[float, float, float]] | None]]", *, dtype: str, channels_last: bool) -> Views: ...
    def apply(self, /, image: "numpy.typing.NDArray[numpy.uint8]", params: SupportsGetItem[int, ViewParams]) -> "list[numpy.typing.NDArray[typing.Any]]":
        """
        Compute all views of an image. The result is a pure function of the image and the parameters.

        Args:
            image: (H, W, 3) uint8.
            params: the parameters drawn for each view.

        Raises:
            ValueError: parameters that do not match the views' steps; a crop outside the image; an image too small to be
                stylized.
        """
    def check_halves(self, /, world_size: SupportsIndex, images: bool) -> None:
        """
        Check that a loader can return crops and leave all later steps to `finish`, if each batch is divided among
        `world_size` ranks.

        With `images`, check also that the loader can return regions of decoded images.

        Raises:
            ValueError: in-batch styles after a crop, if `world_size` is not 1 or in-batch styles also precede a crop; or, with
                `images`, any style before a crop.
        """
    def finish(self, /, pixels: "numpy.typing.NDArray[numpy.uint8]", draws: Draws, threads: SupportsIndex | None = None) -> "list[numpy.typing.NDArray[typing.Any]]":
        """
        Compute the views of a batch from the crops or regions that a `Loader` returns.

        The result is a list with an array for each view. The first axis of each array indexes the images.

        Args:
            pixels: the loader's crops or regions, as one array of uint8.
            draws: the loader's draws.
            threads: number of threads, 1 to 1024; None: the environment variable SASSL_THREADS, else all cores.

        Raises:
            ValueError: an invalid number of threads, pixels whose size does not match the draws, or draws that do not match the
                views' steps.
        """
    @property
    def needs_batch(self, /) -> bool:
        """
        True if a view takes its style from another image of the batch.
        """
    def sample(self, /, seed: SupportsIndex, height: SupportsIndex, width: SupportsIndex, *, epoch: SupportsIndex = 0, index: SupportsIndex = 0) -> list[ViewParams]:
        """
        Draw the parameters for all views of an image.

        View v uses the random streams with the key (seed, epoch, index, v), one stream per operation name.

        Raises:
            ValueError: a height or width of 0.
        """
    def sample_batch(self, /, seed: SupportsIndex, n: SupportsIndex, height: SupportsIndex, width: SupportsIndex, *, epoch: SupportsIndex = 0) -> list[list[ViewParams]]:
        """
        Draw the parameters for all views of each image of a batch.

        Image i gets the draws of `sample` with index i, except that in-batch styles are drawn from the n images.

        Raises:
            ValueError: a height or width of 0.
        """
    def sample_every(self, /, height: SupportsIndex, width: SupportsIndex) -> list[ViewParams]:
        """
        Draw the parameters for all views of an image of this size, with every operation applied regardless of its probability.
        """
    @property
    def shapes(self, /) -> list[tuple[int, int, int]]:
        """
        The shape of each view: (3, H, W) or (H, W, 3).
        """

def adjust_brightness(image: "numpy.typing.NDArray[numpy.uint8]", factor: "float") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Scale the brightness by `factor`: 0 gives black, 1 the image itself.

    The result is bit-identical to Pillow's `ImageEnhance.Brightness`.

    Raises:
        ValueError: a factor that is negative or not finite.
    """

def adjust_contrast(image: "numpy.typing.NDArray[numpy.uint8]", factor: "float") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Scale the contrast around the mean luma by `factor`: 0 gives a uniform gray, 1 the image itself.

    The result is bit-identical to Pillow's `ImageEnhance.Contrast`.

    Raises:
        ValueError: a factor that is negative or not finite.
    """

def adjust_hue(image: "numpy.typing.NDArray[numpy.uint8]", factor: "float") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Shift the hue by `factor`, a fraction of the hue circle in [-0.5, 0.5].

    The result is bit-identical to torchvision's `adjust_hue` on a PIL image.

    Raises:
        ValueError: a factor outside [-0.5, 0.5].
    """

def adjust_saturation(image: "numpy.typing.NDArray[numpy.uint8]", factor: "float") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Scale the saturation around each pixel's luma by `factor`: 0 gives a grayscale image, 1 the image itself.

    The result is bit-identical to Pillow's `ImageEnhance.Color`.

    Raises:
        ValueError: a factor that is negative or not finite.
    """

def backbone_info(json: str) -> str:
    """
    Describe a backbone as a JSON object:

    - "features": the dimension of the features.
    - "stem_stride": the stride of the stem.
    - "least_side": the minimum side of an image in pixels.
    - "settings": all settings, including defaults.

    Args:
        json: the backbone's name and the settings that differ from torchvision's: `{"name": "resnet18", "small_stem": true}`.

    Raises:
        ValueError: an unknown backbone, or an unknown or invalid setting.
    """

def backbone_names() -> list[str]:
    """
    Return the names of the backbones.
    """

def checkpoint_metadata(path: "str | os.PathLike[str]") -> dict[str, str]:
    """
    Return the metadata of a checkpoint without reading its tensors.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not a checkpoint, or its metadata is damaged.
    """

def color_profile(file: "bytes") -> "bytes | None":
    """
    Return the ICC profile of an image file, given its bytes; None if the file has no profile.
    """

def convert(paths: "list[str | os.PathLike[str]]", out: "str | os.PathLike[str]", name: "str", *, as_is: "bool" = False, any_pair: "bool" = False) -> "None":
    """
    Convert a third-party style network to one .safetensors file, which is written atomically.

    A style network consists of a style predictor F and a transformer T. Magenta's networks are read from a TensorFlow
    checkpoint, a SavedModel, TFLite, ONNX or TensorFlow.js files. AdaIN and styleaug are read from PyTorch's .pth files; code
    in these files is never executed.

    Args:
        paths: files, folders or archives that hold F and T, together or separately.
        out: the file to write.
        name: the model's name, stored in the file.
        as_is: for Magenta's InceptionV3 only. True encodes style images at their original size; their sides must then have at
            least 43 pixels. False resizes them to a shorter side of 256.
        any_pair: True accepts F and T that were not trained together.

    Raises:
        ValueError: a file is not part of such a network, or F or T is missing.
        OSError: a file cannot be read or written.
    """

def cosine_momentum(tau: SupportsFloat | SupportsIndex, total: SupportsIndex, k: SupportsIndex) -> float:
    """
    Return BYOL's EMA coefficient, which increases from `tau` to 1 along a cosine.

    `k` is the step, counted from 0, and `total` the number of steps.

    Raises:
        ValueError: tau outside [0, 1], or no steps.
    """

def cosine_rate(lr: SupportsFloat | SupportsIndex, warmup: SupportsIndex, total: SupportsIndex, k: SupportsIndex) -> float:
    """
    Return the learning rate of a linear warm-up to `lr` over `warmup` steps, followed by cosine decay to 0.

    `k` is the step, counted from 0, and `total` the number of steps. MoCo passes epochs in place of steps.

    Raises:
        ValueError: a negative rate, or a warm-up that is not shorter than the schedule.
    """

def cuda_finish(views: Views, draws: Draws, out: "list[tuple[int, tuple[str, int, int, tuple[int, int, int, int]]]]", stylizer: CudaStylizer | None = None, styles: SupportsIndex | None = None, pixels: SupportsIndex | None = None) -> CudaPlan:
    """
    Plan the kernel launches that compute the views of a batch from the output of a `Loader`.

    The loader returned crops or regions, which the caller copies to the device. The kernels overwrite crops.

    Args:
        views: the views to compute.
        draws: the loader's draws.
        out, stylizer, styles: as in `cuda_views`.
        pixels: size of the crops or regions in bytes, to be checked against the draws; None skips the check.

    Raises:
        ValueError: draws that do not match the views' steps or the size of the pixels, or an operation without a CUDA kernel.
            The error names the operation.
    """

def cuda_info() -> "dict[str, typing.Any]":
    """
    Return a dict that describes CUDA on this machine:

    - "driver" and "nvrtc": the versions of the CUDA driver and of NVRTC.
    - "devices": the GPUs with their compute capabilities.
    - "kernels": the folder in which compiled kernels are cached.

    An item that cannot be determined is replaced with the reason.
    """

def cuda_views(views: Views, images: "tuple[str, int, int, tuple[int, int, int, int]]", params: SupportsGetItem[int, SupportsGetItem[int, ViewParams]], out: "list[tuple[int, tuple[str, int, int, tuple[int, int, int, int]]]]", stylizer: CudaStylizer | None = None, styles: SupportsIndex | None = None) -> CudaPlan:
    """
    Plan the kernel launches that compute the views of a batch of uint8 images.

    Args:
        views: the views to compute.
        images: layout of the images: (dtype, height, width, strides). Strides are in elements, for the image, row, column and
            channel axes.
        params: for each image, the parameters drawn for each view.
        out: for each view, (byte offset from the start of the output, layout); the layout has the form of `images`.
        stylizer: the stylizer of the style steps; None if the views have no style steps.
        styles: number of vectors in the bank of the style steps, or None for in-batch styles.

    Raises:
        ValueError: images that are not uint8, parameters that do not match the views' steps, or an operation without a CUDA
            kernel. The error names the operation.
    """

def decode(file: "str | os.PathLike[str] | bytes", min_size: "int | None" = None, *, exif: "bool" = True) -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Decode an image file to RGB with 8 bits per channel: JPEG, PNG, WebP, BMP, TIFF, PNM or GIF, as detected from the bytes.

    - Gray becomes three equal channels, and CMYK is converted as in Pillow.
    - Transparency is dropped without blending.
    - 16-bit gray is rounded to 8 bits, and so are the 16-bit colours of PNM. Of other 16-bit colours, the upper 8 bits are
      kept.
    - Only the first frame of an animation is decoded.
    - ICC profiles are ignored.

    Args:
        file: the path of a file, or its bytes.
        min_size: the shortest acceptable side of a JPEG in pixels. The image is reduced by 8, 4 or 2: by the largest of these
            factors with `factor * min_size` <= the shorter side, as with PIL's `Image.draft`. If no factor qualifies, or
            min_size is None, the image is decoded at full size.
        exif: True rotates JPEG, PNG and WebP images upright by the orientation in their EXIF metadata, else in their XMP
            metadata. The rules are those of Pillow's `ImageOps.exif_transpose`, except that unreadable EXIF is ignored. In PNG,
            the metadata may be in any chunk or text; in WebP, the metadata is only read if the header announces it. False
            returns the image as stored, as torchvision's `ImageFolder` does. TIFF is always rotated, because Pillow rotates it
            while reading.

    Returns:
        uint8, (H, W, 3).

    Raises:
        ValueError: an unsupported or undecodable image; a side above 65,535 pixels, more than 178,956,970 pixels in total, or
            more pixels than a file of its size can encode.
        OSError: the file cannot be read.
    """

def describe_state(config: str) -> dict[str, list[int]]:
    """
    Return the shapes of the tensors in the initial state, by name.

    Args:
        config: JSON of a `sassl.pretraining.Config`.

    Raises:
        ValueError: an invalid setting.
    """

def gaussian_blur(image: "numpy.typing.NDArray[numpy.uint8]", kernel_size: "int | str | None", sigma: "float") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Blur with a Gaussian.

    Args:
        image: uint8, (H, W, 3).
        kernel_size: the number of taps, odd, for a blur with reflected edges as in torchvision. "pillow" or None: three box
            blurs in each direction with repeated edges, bit-identical to Pillow's `ImageFilter.GaussianBlur(sigma)`.
        sigma: standard deviation in pixels, in (0, 1e4].

    Raises:
        ValueError: an even number of taps, more taps than twice the shorter side of the image, or a sigma outside (0, 1e4].
    """

def grayscale(image: "numpy.typing.NDArray[numpy.uint8]") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Convert to grayscale: all three channels become the luma (ITU-R 601-2).
    """

def hflip(image: "numpy.typing.NDArray[numpy.uint8]") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Flip horizontally.
    """

def image_suffixes() -> list[str]:
    """
    Return the suffixes, without dots, by which image files in folders and shards are recognized.
    """

def info() -> "dict[str, typing.Any]":
    """
    Return information about this installation:

    - "version": the version of the package.
    - "supported": the instruction sets that this machine supports.
    - "isa": the instruction set in use.
    - "multiplies_bytes": True if "isa" has instructions for products of 8-bit integers.
    - "cores": the number of cores.
    - "threads": the default number of threads.
    - "models": the names of the embedded models.
    """

def initial_state(config: str) -> "dict[str, numpy.typing.NDArray[numpy.float32]]":
    """
    Return the initial state of a run of the native engine: networks, optimizer state (zeros), and the method's other tensors.

    Args:
        config: JSON of a `sassl.pretraining.Config`.

    Raises:
        ValueError: an invalid setting.
    """

def key_order(seed: SupportsIndex, step: SupportsIndex, view: SupportsIndex, n: SupportsIndex) -> "numpy.typing.NDArray[numpy.uint32]":
    """
    Return the random permutation that MoCo applies to a batch before it computes the keys (shuffling batch norm).

    Args:
        seed: the seed of the run.
        step: the step, counted from 0.
        view: the view that the keys are computed from: 0 for the left one, 1 for the right one.
        n: number of images in the batch.
    """

def knn(bank: "numpy.typing.NDArray[numpy.float32]", targets: "numpy.typing.NDArray[numpy.int64]", queries: "numpy.typing.NDArray[numpy.float32]", *, k: SupportsIndex = 200, temperature: SupportsFloat | SupportsIndex = 0.1, top: SupportsIndex = 1, threads: "int | None" = None) -> "numpy.typing.NDArray[numpy.int64]":
    """
    Rank the classes for each query, best first, by a vote of its nearest neighbours in `bank` (Wu et al. 2018, section 3.4).

    Args:
        bank: (N, dim) features.
        targets: N labels, integers >= 0.
        queries: (M, dim) features.
        k: number of neighbours.
        temperature: the weight of a neighbour's vote is exp(cosine similarity / temperature).
        top: number of labels to return per query.
        threads: number of threads; None: the environment variable SASSL_THREADS, else all cores.

    Returns:
        Labels, (M, top) int64; fewer columns if there are fewer than `top` classes. If the neighbours of a query belong to
        fewer classes than there are columns, the end of the query's row is filled with -1.

    Raises:
        ValueError: arrays of incompatible shapes, values that are not finite, only one class, a k outside [1, N], or a
            temperature that is not positive.
    """

def linear_probe(features: "numpy.typing.NDArray[numpy.float32]", targets: "numpy.typing.NDArray[numpy.int64]", queries: "numpy.typing.NDArray[numpy.float32]", *, lr: SupportsFloat | SupportsIndex = 0.1, epochs: SupportsIndex = 90, batch_size: SupportsIndex = 256, momentum: SupportsFloat | SupportsIndex = 0.9, nesterov: bool = True, seed: SupportsIndex = 0, top: SupportsIndex = 1, threads: "int | None" = None) -> "numpy.typing.NDArray[numpy.int64]":
    """
    Rank the classes for each query, best first, by softmax regression trained on `features` with SGD.

    Args:
        features: (N, dim) features.
        targets: N labels, integers >= 0.
        queries: (M, dim) features.
        lr: the initial learning rate for a batch size of 256. The rate is scaled linearly to other batch sizes, and decays to 0
            along a cosine.
        epochs, batch_size, momentum, nesterov: settings of SGD.
        seed: seed of the initial weights and of the shuffling in each epoch.
        top: number of labels to return per query.
        threads: number of threads; None: the environment variable SASSL_THREADS, else all cores.

    Returns:
        Labels, (M, top) int64; fewer columns if there are fewer than `top` classes.

    Raises:
        ValueError: arrays of incompatible shapes, values that are not finite, only one class, or an invalid setting.
    """

def list_images(folder: "str | os.PathLike[str]") -> "tuple[list[str], int, int]":
    """
    Return three items: the paths of all images below a folder, the number of hidden entries, and the number of other files.

    Hidden entries and other files are skipped. The images directly in a folder are sorted by name, and precede the images in
    its subfolders.

    Raises:
        OSError: a folder cannot be read.
    """

def load_checkpoint(path: "str | os.PathLike[str]") -> "tuple[dict[str, numpy.typing.NDArray[numpy.float32]], dict[str, str]]":
    """
    Return the state and the metadata of a checkpoint.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not a checkpoint, is damaged, or has an unsupported version.
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
    Normalize an image to `(x / 255 - mean) / std`, with one mean and one standard deviation per channel.

    Returns:
        float32, (3, H, W), bit-identical to torchvision's `ToTensor` and `Normalize`.

    Raises:
        ValueError: a standard deviation that is not positive.
    """

def operations() -> list[str]:
    """
    Return the kinds of operations that `Step.operation` accepts.
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
        ValueError: an empty crop or size, a crop that extends beyond the image, or an unknown interpolation.
    """

def rotate(image: "numpy.typing.NDArray[numpy.uint8]", angle: "float") -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Rotate counter-clockwise about the centre, with nearest-neighbour interpolation; uncovered corners are black.

    The result is bit-identical to torchvision's `rotate` on a PIL image.

    Args:
        image: uint8, (H, W, 3).
        angle: in degrees.

    Raises:
        ValueError: an angle that is not finite.
    """

def save_checkpoint(path: "str | os.PathLike[str]", state: "dict[str, numpy.typing.NDArray[numpy.float32]]", metadata: dict[str, str]) -> "None":
    """
    Write a checkpoint file, atomically and with a checksum: the state and the metadata of a run of any engine.

    Raises:
        OSError: the file cannot be written.
    """

def solarize(image: "numpy.typing.NDArray[numpy.uint8]", threshold: "float" = 128.0) -> "numpy.typing.NDArray[numpy.uint8]":
    """
    Invert all values >= `threshold`: 0 inverts all values, 256 none.

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
        OSError: the write fails, or the path is a folder, a device or a pipe. An existing file is then left unchanged.
    """

def write_tensors(path: "str | os.PathLike[str]", tensors: "dict[str, numpy.typing.NDArray[typing.Any]]", metadata: dict[str, str]) -> "None":
    """
    Write tensors to a .safetensors file, atomically.

    int64 tensors are written as int64; their values are exact up to 2**24. All other tensors are written as float32.

    Raises:
        OSError: the file cannot be written.
    """
