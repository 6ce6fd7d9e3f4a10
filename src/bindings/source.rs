//! `Source`: the images of a loader, from files or from Python objects.
use super::arrays::into_array;
use super::foreign;
use super::image::held_image;
use super::run::{run, run_on};
use crate::data;
use crate::data::{Cifar, Files, ImageFolder, Item, Layout, Listing, Records, Selection, WebDataset};
use crate::error::{Error, Result, is_exhausted};
use crate::image::{DecodeOptions, Decoded, RgbImage, decode, read};
use crate::interrupt::poll;
use numpy::PyArrayDyn;
use pyo3::exceptions::{PyException, PyMemoryError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A sequence of images, each with a class index. The dataset classes of `sassl.data` wrap it.
#[pyclass(frozen, module = "sassl._sassl")]
pub(super) struct Source {
    pub(super) core: Arc<dyn data::Source>,
    /// True if images are rotated upright according to their EXIF orientation.
    pub(super) exif: bool,
    classes: Vec<OsString>,
    has_classes: bool,
    hidden: usize,
    others: usize,
    damaged: Vec<(PathBuf, String)>,
}

/// Return three items: the paths of all images below a folder, the number of hidden entries, and the number of other files.
///
/// Hidden entries and other files are skipped. The images directly in a folder are sorted by name, and precede the images in
/// its subfolders.
///
/// Raises:
///     OSError: a folder cannot be read.
#[pyfunction]
#[pyo3(signature = (folder: "str | os.PathLike[str]") -> "tuple[list[str], int, int]")]
pub(super) fn list_images(py: Python<'_>, folder: PathBuf) -> PyResult<(Vec<OsString>, usize, usize)> {
    let Listing { images, hidden, others } = run_on(py, folder.display(), || Listing::below(&folder))?;
    Ok((images.into_iter().map(|(path, _)| path.into_os_string()).collect(), hidden, others))
}

#[pymethods]
impl Source {
    /// Create a source from a folder with one subfolder per class, `root/<class>/**/image.jpg`.
    #[staticmethod]
    #[pyo3(signature = (root: "str | os.PathLike[str]", exif = true))]
    fn folder(py: Python<'_>, root: PathBuf, exif: bool) -> PyResult<Self> {
        let folder = run_on(py, root.display(), || ImageFolder::new(&root))?;
        let (classes, hidden, others) = (folder.classes().to_vec(), folder.hidden(), folder.others());
        Ok(Self { exif, classes, hidden, others, ..Self::of(folder) })
    }

    /// Create a source from image files, with a class index for each.
    #[staticmethod]
    #[pyo3(signature = (paths: "list[str | os.PathLike[str]]", targets: "list[int]", exif = true))]
    fn files(py: Python<'_>, paths: Vec<PathBuf>, targets: Vec<i64>, exif: bool) -> PyResult<Self> {
        Ok(Self { exif, ..Self::of(run_on(py, "paths", || Files::new(paths, targets))?) })
    }

    /// Create a source from the binary files of "cifar10", "cifar100" or "stl10".
    ///
    /// `targets` is only for STL-10: the files of its images contain no classes.
    #[staticmethod]
    #[pyo3(signature = (layout, paths: "list[str | os.PathLike[str]]", targets = None))]
    fn records(py: Python<'_>, layout: &str, paths: Vec<PathBuf>, targets: Option<Vec<i64>>) -> PyResult<Self> {
        let layout = layout_named(layout)?;
        Ok(Self::of(run_on(py, "paths", || Records::new(layout, paths, targets))?))
    }

    /// Create a source from the pickle files of the Python version of "cifar10" or "cifar100".
    #[staticmethod]
    #[pyo3(signature = (layout, paths: "list[str | os.PathLike[str]]"))]
    fn pickles(py: Python<'_>, layout: &str, paths: Vec<PathBuf>) -> PyResult<Self> {
        let layout = layout_named(layout)?;
        Ok(Self::of(run_on(py, "paths", || Cifar::new(layout, paths))?))
    }

    /// Create a source from WebDataset tar files.
    ///
    /// A shard that is unreadable from some point on is an error; with `keep_going`, its images before that point are used.
    #[staticmethod]
    #[pyo3(signature = (paths: "list[str | os.PathLike[str]]", keep_going = false, exif = true))]
    fn shards(py: Python<'_>, paths: Vec<PathBuf>, keep_going: bool, exif: bool) -> PyResult<Self> {
        let set = run_on(py, "paths", || WebDataset::new(paths, keep_going))?;
        let (damaged, has_classes) = (set.damaged().to_vec(), set.has_classes());
        Ok(Self { exif, damaged, has_classes, hidden: set.hidden(), others: set.others(), ..Self::of(set) })
    }

    /// Create a source from a Python callable: `get(index)` returns (image, class).
    ///
    /// The image is the bytes of a file, a path, or an (H, W, 3) uint8 array. `names` are the names of the images; if None,
    /// an image is named by `name` and its index, for example "photos[7]".
    #[staticmethod]
    #[pyo3(signature = (get: "typing.Callable[[int], tuple[typing.Any, int]]", len, name, exif = true, names: "list[str] | None" = None))]
    fn python(get: Py<PyAny>, len: usize, name: String, exif: bool, names: Option<Vec<OsString>>) -> Result<Self> {
        if let Some(names) = names.as_ref().filter(|names| names.len() != len) {
            return Err(Error::shape("names", format!("must have length {len}, one for each image"), names.len()));
        }
        Ok(Self { exif, ..Self::of(Objects { get, len, name, names }) })
    }

    /// Create a source that selects images from the concatenation of several sources.
    ///
    /// `rows` are indices into the concatenation, in the order of the new source; `targets` are the class indices of the
    /// selected images. If the first source rotates images upright, all images are rotated, otherwise none.
    #[staticmethod]
    #[pyo3(signature = (sources: "list[Source]", rows: "list[int]", targets: "list[int]"))]
    fn selection(sources: Vec<PyRef<'_, Self>>, rows: Vec<usize>, targets: Vec<i64>) -> Result<Self> {
        let exif = sources.first().is_none_or(|source| source.exif);
        let cores = sources.iter().map(|source| source.core.clone()).collect();
        Ok(Self { exif, ..Self::of(Selection::new(cores, rows, targets)?) })
    }

    /// Return the class index of each image, or None if the classes are only known after the images are read.
    fn targets(&self) -> Option<Vec<i64>> {
        (0..self.core.len()).map(|index| self.core.target(index)).collect()
    }

    /// Names of the classes, by class index; empty if the classes have no names.
    #[getter]
    fn classes(&self) -> Vec<OsString> {
        self.classes.clone()
    }

    /// True if the samples of the shards have classes. False for sources other than shards.
    #[getter]
    fn has_classes(&self) -> bool {
        self.has_classes
    }

    /// True if images in files are rotated upright according to their EXIF orientation.
    #[getter]
    fn exif(&self) -> bool {
        self.exif
    }

    /// Number of hidden files and folders that were ignored.
    #[getter]
    fn hidden(&self) -> usize {
        self.hidden
    }

    /// Number of files ignored because they do not have an image suffix or, in shards, belong to no image.
    #[getter]
    fn others(&self) -> usize {
        self.others
    }

    /// Paths of shards that are only partly readable, each with the reason.
    #[getter]
    fn damaged(&self) -> Vec<(OsString, String)> {
        self.damaged.iter().map(|(path, reason)| (path.as_os_str().to_owned(), reason.clone())).collect()
    }

    /// Return a fingerprint of the dataset: (hash of names, (hash of sizes, total size)).
    ///
    /// The hashes are FNV-1a. Names are relative to the common folder of the images, and sizes are in bytes. If the size of any
    /// image is unknown, the second item is None.
    fn identity(&self, py: Python<'_>) -> PyResult<(u64, Option<(u64, u64)>)> {
        run_on(py, "source", || Ok(identity(self.core.as_ref())))
    }

    /// Return the name of an image.
    #[pyo3(signature = (index) -> "str")]
    fn name(&self, index: i64) -> Result<OsString> {
        let index = self.check(index)?;
        Ok(self.core.name(index))
    }

    /// Return an image, (H, W, 3) uint8, and its class index.
    #[pyo3(signature = (index) -> "tuple[numpy.typing.NDArray[numpy.uint8], int]")]
    fn get<'py>(&self, py: Python<'py>, index: i64) -> PyResult<(Bound<'py, PyAny>, i64)> {
        let index = self.check(index)?;
        let Item { image, target } = run(py, || {
            let options = DecodeOptions { exif: self.exif, ..DecodeOptions::default() };
            self.core.get(index, &options)
        })?;
        let pixels = image.pixels;
        Ok((into_array(py, pixels.bytes, &[pixels.height, pixels.width, 3])?, target))
    }

    fn __len__(&self) -> usize {
        self.core.len()
    }
}

impl Source {
    fn of(source: impl data::Source + 'static) -> Self {
        Self {
            core: Arc::new(source),
            exif: true,
            classes: vec![],
            has_classes: false,
            hidden: 0,
            others: 0,
            damaged: vec![],
        }
    }

    fn check(&self, index: i64) -> Result<usize> {
        let found = usize::try_from(index).ok().filter(|&index| index < self.core.len());
        found.ok_or_else(|| {
            Error::value(
                "index",
                index,
                format!("must be an integer in [0, {}), the range of the images", self.core.len()),
            )
        })
    }
}

/// See [`Source::identity`].
fn identity(source: &dyn data::Source) -> (u64, Option<(u64, u64)>) {
    let folder = |name: &[u8]| name.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
    let name = |index| source.name(index).into_encoded_bytes();
    let first = if source.is_empty() { vec![] } else { name(0) };
    let mut common = folder(&first);
    for index in 1..source.len() {
        let same = name(index).iter().zip(&first[..common]).take_while(|(a, b)| a == b).count();
        common = folder(&first[..same]);
    }
    let (mut names, mut sizes, mut sum) = (Fnv::default(), Some(Fnv::default()), 0_u64);
    for index in 0..source.len() {
        poll();
        names.add(&name(index)[common..]);
        names.add(&[0]);
        sizes = sizes.zip(source.bytes(index)).map(|(mut sizes, bytes)| {
            sizes.add(&bytes.to_le_bytes());
            sum = sum.wrapping_add(bytes);
            sizes
        });
    }
    (names.0, sizes.map(|sizes| (sizes.0, sum)))
}

/// A 64-bit FNV-1a hash.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
}

fn layout_named(name: &str) -> Result<Layout> {
    match name {
        "cifar10" => Ok(Layout::CIFAR10),
        "cifar100" => Ok(Layout::CIFAR100),
        "stl10" => Ok(Layout::STL10),
        _ => Err(Error::value("layout", format!("{name:?}"), "must be \"cifar10\", \"cifar100\" or \"stl10\"")),
    }
}

/// Images from a Python callable. The callable runs with the GIL; decoding runs without it.
struct Objects {
    get: Py<PyAny>,
    len: usize,
    name: String,
    names: Option<Vec<OsString>>,
}

/// An image before it is decoded.
enum Raw {
    Bytes(Vec<u8>),
    Path(PathBuf),
    Pixels(RgbImage),
}

impl data::Source for Objects {
    fn len(&self) -> usize {
        self.len
    }

    fn name(&self, index: usize) -> OsString {
        match &self.names {
            Some(names) => names[index].clone(),
            None => format!("{}[{index}]", self.name).into(),
        }
    }

    fn get(&self, index: usize, options: &DecodeOptions<'_>) -> Result<Item> {
        let name = self.name(index);
        // Once the interpreter has ended, nobody waits for the image.
        let got = Python::try_attach(|py| self.raw(py, index).map_err(|error| raised(py, &name, error)));
        let (raw, target) = got.unwrap_or_else(|| Err(Error::image(&name, "the interpreter has ended")))?;
        let image = match raw {
            Raw::Pixels(pixels) => Decoded { pixels, damage: None },
            Raw::Bytes(bytes) => decode(&bytes, Path::new(&name), options)?,
            Raw::Path(path) => read(&path, options)?,
        };
        Ok(Item { image, target })
    }
}

impl Objects {
    fn raw(&self, py: Python<'_>, index: usize) -> PyResult<(Raw, i64)> {
        let got = foreign::call(self.get.bind(py), &PyTuple::new(py, [index])?)?;
        let (image, target): (Bound<'_, PyAny>, i64) = got.extract()?;
        if let Ok(bytes) = image.cast::<PyBytes>() {
            return Ok((Raw::Bytes(bytes.as_bytes().to_vec()), target));
        }
        if image.cast::<PyArrayDyn<u8>>().is_ok() {
            let (held, [height, width]) = held_image(&image)?;
            return Ok((Raw::Pixels(RgbImage { height, width, bytes: held.slice()?.to_vec() }), target));
        }
        Ok((Raw::Path(image.extract()?), target))
    }
}

/// Converts an exception raised by the user's dataset to an error that names the image. The name is not repeated if the
/// exception's message already starts with it.
fn raised(py: Python<'_>, name: &OsString, error: PyErr) -> Error {
    let name = Path::new(name);
    let said = error.value(py).to_string();
    let own = said.strip_prefix(&*name.to_string_lossy()).and_then(|rest| rest.strip_prefix(": "));
    let reason = own.map_or_else(|| error.to_string(), str::to_owned);
    let number = error.value(py).getattr("errno").and_then(|number| number.extract());
    let exhausted = number.is_ok_and(|number| is_exhausted(&std::io::Error::from_raw_os_error(number)));
    let fatal = exhausted || error.is_instance_of::<PyMemoryError>(py) || !error.is_instance_of::<PyException>(py);
    Error::Foreign { name: name.to_owned(), reason, fatal, source: Box::new(error) }
}
