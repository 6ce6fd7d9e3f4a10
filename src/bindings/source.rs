//! `Source`: where the loader's images come from, files or objects of Python.
use super::arrays::into_array;
use super::image::picture;
use super::run::run;
use crate::data;
use crate::data::{Files, ImageFolder, Item, Layout, Records, WebDataset};
use crate::error::{Error, Result};
use crate::image::{DecodeOptions, Decoded, Pixels, decode, read};
use numpy::PyArrayDyn;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Images by number, each with a class. The classes of `sassl.data` make them.
#[pyclass(frozen, module = "sassl._sassl")]
pub(super) struct Source {
    pub(super) core: Arc<dyn data::Source>,
    classes: Vec<String>,
    others: usize,
    damaged: Vec<(PathBuf, String)>,
}

#[pymethods]
impl Source {
    /// `root/<class>/**/image.jpg`.
    #[staticmethod]
    #[pyo3(signature = (root: "str | os.PathLike[str]"))]
    fn folder(py: Python<'_>, root: PathBuf) -> PyResult<Self> {
        let folder = run(py, || ImageFolder::new(&root))?;
        let (classes, others) = (folder.classes().to_vec(), folder.others());
        Ok(Self { classes, others, ..Self::of(folder) })
    }

    /// Paths, with a class for each.
    #[staticmethod]
    fn files(paths: Vec<String>, targets: Vec<i64>) -> Result<Self> {
        Ok(Self::of(Files::new(paths, targets)?))
    }

    /// Files of records: "cifar10", "cifar100" or "stl10"; targets for records that hold none.
    #[staticmethod]
    #[pyo3(signature = (layout, paths: "list[str | os.PathLike[str]]", targets = None))]
    fn records(py: Python<'_>, layout: &str, paths: Vec<PathBuf>, targets: Option<Vec<i64>>) -> PyResult<Self> {
        let layout = match layout {
            "cifar10" => Layout::CIFAR10,
            "cifar100" => Layout::CIFAR100,
            "stl10" => Layout::STL10,
            other => {
                let remedy = "there are \"cifar10\", \"cifar100\" and \"stl10\"";
                return Err(Error::value("layout", format!("{other:?}"), remedy).into());
            }
        };
        Ok(Self::of(run(py, || Records::new(layout, paths, targets))?))
    }

    /// WebDataset's tar files; with keep_going, of damaged ones what can be read.
    #[staticmethod]
    #[pyo3(signature = (paths: "list[str | os.PathLike[str]]", keep_going = false))]
    fn shards(py: Python<'_>, paths: Vec<PathBuf>, keep_going: bool) -> PyResult<Self> {
        let set = run(py, || WebDataset::new(paths, keep_going))?;
        let damaged = set.damaged().to_vec();
        Ok(Self { damaged, ..Self::of(set) })
    }

    /// An object of Python: `get(index)` gives (image, class), the image as bytes, a path, or an array (H, W, 3) of uint8.
    #[staticmethod]
    #[pyo3(signature = (get: "typing.Callable[[int], tuple[typing.Any, int]]", len, name))]
    fn python(get: Py<PyAny>, len: usize, name: String) -> Self {
        Self::of(Objects { get, len, name })
    }

    /// Names of the classes, where they have names.
    #[getter]
    fn classes(&self) -> Vec<String> {
        self.classes.clone()
    }

    /// How many files of the folder are no images by their suffix.
    #[getter]
    fn others(&self) -> usize {
        self.others
    }

    /// Shards of which only a part is here, and why.
    #[getter]
    fn damaged(&self) -> Vec<(String, String)> {
        self.damaged.iter().map(|(path, reason)| (path.display().to_string(), reason.clone())).collect()
    }

    /// A number by which sources of other files differ: FNV-1a over the names of all files, without their folders.
    fn fingerprint(&self, py: Python<'_>) -> u64 {
        py.detach(|| {
            let mut hash = 0xCBF2_9CE4_8422_2325_u64;
            for index in 0..self.core.len() {
                let name = self.core.name(index);
                let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
                for byte in last.bytes().chain([0]) {
                    hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
                }
            }
            hash
        })
    }

    /// What an image is called.
    fn name(&self, index: i64) -> Result<String> {
        let index = self.check(index)?;
        Ok(self.core.name(index))
    }

    /// An image, (H, W, 3) uint8, and its class.
    #[pyo3(signature = (index) -> "tuple[numpy.typing.NDArray[numpy.uint8], int]")]
    fn get<'py>(&self, py: Python<'py>, index: i64) -> PyResult<(Bound<'py, PyAny>, i64)> {
        let index = self.check(index)?;
        let Item { image, target } = run(py, || self.core.get(index, &DecodeOptions::default()))?;
        let pixels = image.pixels;
        Ok((into_array(py, pixels.bytes, &[pixels.height, pixels.width, 3])?, target))
    }

    fn __len__(&self) -> usize {
        self.core.len()
    }
}

impl Source {
    fn of(source: impl data::Source + 'static) -> Self {
        Self { core: Arc::new(source), classes: vec![], others: 0, damaged: vec![] }
    }

    fn check(&self, index: i64) -> Result<usize> {
        let found = usize::try_from(index).ok().filter(|&index| index < self.core.len());
        found.ok_or_else(|| Error::value("index", index, format!("there are {} images, from 0", self.core.len())))
    }
}

/// What Python gives, read under the GIL; decoding is done without.
struct Objects {
    get: Py<PyAny>,
    len: usize,
    name: String,
}

/// An image before it is decoded.
enum Raw {
    Bytes(Vec<u8>),
    Path(PathBuf),
    Pixels(Pixels),
}

impl data::Source for Objects {
    fn len(&self) -> usize {
        self.len
    }

    fn name(&self, index: usize) -> String {
        format!("{}[{index}]", self.name)
    }

    fn get(&self, index: usize, options: &DecodeOptions<'_>) -> Result<Item> {
        let got = Python::attach(|py| -> PyResult<(Raw, i64)> {
            let (image, target): (Bound<'_, PyAny>, i64) = self.get.bind(py).call1((index,))?.extract()?;
            if let Ok(bytes) = image.cast::<PyBytes>() {
                return Ok((Raw::Bytes(bytes.as_bytes().to_vec()), target));
            }
            if image.cast::<PyArrayDyn<u8>>().is_ok() {
                let (held, [height, width]) = picture(&image)?;
                return Ok((Raw::Pixels(Pixels { height, width, bytes: held.slice()?.to_vec() }), target));
            }
            Ok((Raw::Path(image.extract()?), target))
        });
        let name = self.name(index);
        let (raw, target) = got.map_err(|error| {
            // It may name the image itself.
            let said = Python::attach(|py| error.value(py).to_string());
            let reason = said.strip_prefix(&name).and_then(|rest| rest.strip_prefix(": "));
            Error::image(&name, reason.map_or_else(|| error.to_string(), str::to_owned))
        })?;
        let image = match raw {
            Raw::Pixels(pixels) => Decoded { pixels, damage: None },
            Raw::Bytes(bytes) => decode(&bytes, Path::new(&name), options)?,
            Raw::Path(path) => read(&path, options)?,
        };
        Ok(Item { image, target })
    }
}
