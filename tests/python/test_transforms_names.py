"""No name of ours shadows one of the framework's class that we derive from, but where that class asks for it."""

from __future__ import annotations

import os
import warnings
from importlib import import_module

import pytest
from conftest import need

need("torchvision")

# It crashes if it is imported after TensorFlow.
import torchvision  # noqa: E402, F401

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

#: What is defined anew on purpose: the names that each framework's own subclasses define.
OVERRIDES = {
    "torchvision": {
        "SASSL": "forward check_inputs make_params transform extra_repr __call__ _transformed_types "
        "_check_inputs _get_params _transform"
    },
    "albumentations": {
        "SASSL": "apply apply_to_images get_params_dependent_on_data get_transform_init_args_names should_apply"
    },
    # kornia itself writes a forward into each subclass.
    "kornia": {"RandomSASSL": "generate_parameters apply_transform forward"},
    "tf": {"RandomSASSL": "call compute_output_shape get_config"},
}
#: What every class has.
OBJECT = {"__init__", "__repr__", "__doc__", "__module__", "__getstate__", "__setstate__", "__qualname__"}
#: What Python and the frameworks' metaclasses write into a class.
WRITTEN = {
    "__annotations__",
    "__dict__",
    "__weakref__",
    "__firstlineno__",
    "__static_attributes__",
    "__abstractmethods__",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("framework", sorted(OVERRIDES))
def test_no_name_shadows_the_hosts(framework):
    need({"tf": "tensorflow"}.get(framework, framework))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = import_module(f"sassl.transforms.{framework}")
    for name, overrides in OVERRIDES[framework].items():
        ours = getattr(module, name)
        host = next(one for one in ours.__mro__ if not one.__module__.startswith("sassl.") and one is not object)
        theirs = set(dir(host)) | set(vars(host()))
        classes = [one for one in ours.__mro__ if one.__module__.startswith("sassl.")]
        assert classes
        defined = {one for kind in classes for one in vars(kind)} | (set(vars(ours())) - set(vars(host())))
        shadowed = defined & theirs - set(overrides.split()) - OBJECT - WRITTEN
        shadowed = {one for one in shadowed if not one.startswith("_abc_")}
        assert not shadowed, f"{ours.__module__}.{name} shadows {sorted(shadowed)} of {host.__name__}"


def test_a_name_that_shadows_is_found():
    import torch
    from sassl.transforms.torchvision import SASSL

    for module in (SASSL(), torch.nn.Sequential(SASSL())):
        assert type(module)._apply is torch.nn.Module._apply
