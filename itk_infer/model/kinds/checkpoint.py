"""Read weights from a file without running anything in it."""

from __future__ import annotations

import importlib
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itk_infer.errors import ModelError
from itk_infer.files.zip_archive import ZipArchive
from itk_infer.model.kinds.pickle_length import refuse_long
from itk_infer.model.kinds.torch_pickle import Refused
from itk_infer.model.kinds.torch_zip import TorchZip, is_torch_zip, read_torch_zip

if TYPE_CHECKING:
    from torch import Tensor

# What checkpoints hold besides tensors. MMEngine's Runner: the message hub's history with NumPy numbers, under the
# names of NumPy 1 and 2, and getattr, because HistoryBuffer pickles its own methods. nnU-Net: losses and Dice
# scores as NumPy numbers.
_BESIDES_WEIGHTS = (
    "builtins.getattr",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(f"numpy.dtypes.{name}DType" for name in ("Bool", "Int32", "Int64", "Float16", "Float32", "Float64")),
)


class _Ignored:
    """Replaces every name above, so that unpickling makes an object without effect."""

    def __new__(cls, *_: Any) -> _Ignored:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


# Keys under which training programs save weights, preferred ones first; averaged weights come last.
_KEYS = (
    *("state_dict", "model_state_dict", "model_state", "network_weights", "model", "network", "net", "module"),
    *("weights", "params", "state_dict_ema", "ema_state_dict", "model_ema", "params_ema", "ema"),
)


def load_state_dict(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Read the weights of a ``.pth`` / ``.pt`` or ``.safetensors`` file, onto the CPU.

    The file is a checkpoint of MMEngine's Runner (``state_dict`` beside optimizer, message hub and the like), of
    another training program, or a plain mapping of names to tensors. After training with EMAHook, ``state_dict``
    holds the averaged weights, because the hook swaps them into it when it saves, and the raw ones are under
    ``ema_state_dict``.

    Args:
        path: The file. A pickle with anything but tensors and the records of a training run is
            refused; nothing in it is executed.

    Returns:
        Tensors by the names of parameters and buffers, and notes for the user on where they were found.

    Raises:
        ModelError: the file is missing, damaged, unsafe or not a checkpoint, or this torch is too old to
            read it safely.
    """
    document = read_document(path)
    state, notes = _weights_in(document, path.name)
    if not isinstance(state, Mapping) or not state:
        raise ModelError(f"{path}: holds {describe(document)}, not weights; give the file that training wrote")
    others = [str(key) for key, value in state.items() if not _is_tensor(value)]
    if others:
        raise ModelError(
            f"{path}: is not a mapping of names to tensors ({_some(others)} are something else); "
            "give a checkpoint with a 'state_dict', or a plain state dict"
        )
    return dict(state), notes


def read_document(path: Path) -> Any:
    """Read the whole content of a ``.pth`` / ``.pt`` or ``.safetensors`` file, with its tensors on the CPU.

    Args:
        path: The file. Nothing in it is executed; what is neither a tensor nor a plain value is replaced by an
            object without effect.

    Raises:
        ModelError: the file is missing, damaged or unsafe, or this torch is too old to read it safely.
    """
    _need_file(path)
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)


def read_arrays(path: Path) -> TorchZip:
    """Read the whole content of a ``.pth`` / ``.pt`` file, with NumPy arrays in place of tensors.

    Files of torch 1.6 and later are mapped to memory and read without torch; older ones are read by torch.

    Args:
        path: The file. Nothing in it is executed, see `read_document`.

    Raises:
        ModelError: the file is missing, damaged or unsafe, or torch is needed and not installed.
    """
    _need_file(path)
    if not is_torch_zip(path):
        return TorchZip(_with_arrays(_of_older_torch(path)), lambda: None)
    try:
        _refuse_inflation(path)
        return read_torch_zip(path, lambda name: name in _BESIDES_WEIGHTS)
    except ModelError:
        raise
    except Refused as error:
        raise _refused(path, str(error)) from None
    except Exception as error:  # a damaged or hostile file can raise anything
        raise _unreadable(path, error) from error


def describe(document: Any) -> str:
    """Describe what a file holds, for messages: ``a mapping with the keys ...``, ``a Tensor``."""
    if isinstance(document, Mapping):
        keys = [str(key) for key in document]
        return f"a mapping with the keys {_some(keys)}" if keys else "an empty mapping"
    return "a Tensor" if isinstance(document, np.ndarray) else f"a {type(document).__name__}"


def _weights_in(document: Any, name: str) -> tuple[Any, list[str]]:
    """The weights in a checkpoint, or whatever is found in their place, and notes about that."""
    if not isinstance(document, Mapping):
        return None, []
    if "state_dict" in document:
        return document["state_dict"], []
    sets = [key for key, value in document.items() if _is_state(value)]
    known = [key for key in _KEYS if key in sets] or sets
    if not known or (len(known) > 1 and known is sets):
        return document, []
    others = f"; those under {_some(known[1:])} are not used" if known[1:] else ""
    return document[known[0]], [f"{name}: the weights under {known[0]} were loaded{others}"]


def _is_state(value: Any) -> bool:
    """Whether this is a mapping of names to tensors."""
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(key, str) and _is_tensor(item) for key, item in value.items())


def _read_pickle(path: Path) -> Any:
    import torch

    # Below 2.10 a crafted file can corrupt memory in spite of weights_only (CVE-2026-24747); below 2.6, run code.
    if torch.__version__ < "2.10":  # a TorchVersion: compares as a version, not as text
        raise ModelError(
            f"{path}: reading weights safely needs torch 2.10 or newer, and this is {torch.__version__}; "
            "run: pip install --upgrade torch"
        )
    is_zip = zipfile.is_zipfile(path)
    allowed = [(_Ignored, name) for name in _BESIDES_WEIGHTS]
    try:
        if is_zip:
            _refuse_inflation(path)
        _refuse_long_pickles(path, is_zip)
        with torch.serialization.safe_globals(allowed):  # type: ignore[arg-type]
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except ModelError:
        raise
    except Exception as error:  # a damaged or hostile pickle can raise anything
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if refused:
            raise _refused(path, refused[1]) from None
        raise _unreadable(path, error) from error


def _need_file(path: Path) -> None:
    if not path.is_file():
        raise ModelError(f"{path}: no such checkpoint; give the .pth or .safetensors file of the trained weights")


def _refused(path: Path, name: str) -> ModelError:
    return ModelError(
        f"{path}: refused, because loading it would call {name}, which weights do not need and a "
        "harmful file may; save the weights alone, torch.save(model.state_dict(), ...), and use that file"
    )


def _unreadable(path: Path, error: Exception) -> ModelError:
    line = str(error).strip().split("\n")[0].split(". ")[0] or type(error).__name__
    return ModelError(f"{path}: cannot be read as a checkpoint ({line}); copy or download it again")


def _of_older_torch(path: Path) -> Any:
    """Read a file that is no zip file, by torch."""
    try:
        return _read_pickle(path)
    except ImportError:
        raise ModelError(
            f"{path}: is not a zip file, as torch has saved since version 1.6; only torch reads the older form: "
            "pip install 'itk_infer[torch]'"
        ) from None


def _with_arrays(content: Any) -> Any:
    """The same with arrays in place of the tensors in mappings."""
    if isinstance(content, Mapping):
        return {key: _with_arrays(value) for key, value in content.items()}
    if not _is_tensor(content):
        return content
    values = content.detach()
    return (values if str(values.dtype) != "torch.bfloat16" else values.float()).numpy()


def _refuse_inflation(path: Path) -> None:
    """Refuse compressed archives: torch.save never compresses, and a small file may unpack to a huge one."""
    with ZipArchive(path) as archive:
        entries = archive.infolist()
    inflated = sum(entry.file_size for entry in entries) > path.stat().st_size
    if inflated or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ModelError(f"{path}: is a compressed archive, not a file that torch.save wrote; unpack it first")


def _refuse_long_pickles(path: Path, is_zip: bool) -> None:
    if not is_zip:  # torch before 1.6: a number, the version, the system, the content, names of storages
        with path.open("rb") as file:
            refuse_long(file, 5)
        return
    with ZipArchive(path) as archive:
        for entry in archive.infolist():
            if entry.filename.casefold().endswith(".pkl"):
                with archive.open(entry) as file:
                    refuse_long(file)


def _read_safetensors(path: Path) -> Any:
    try:
        reader = importlib.import_module("safetensors.torch")
    except ImportError:
        raise ModelError(
            f"{path}: the package that reads it is not installed; run: pip install safetensors"
        ) from None
    try:
        return reader.load_file(path)
    except Exception as error:  # safetensors has an error class of its own
        raise ModelError(f"{path}: cannot be read as safetensors ({error}); copy or download it again") from error


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _some(names: list[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
