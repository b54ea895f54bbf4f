"""Build a network from an MMEngine config."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itk_infer.errors import ModelError
from itk_infer.files.temporary import MISSING
from itk_infer.model.kinds.mmcv_stub import import_mmcv_ops
from itk_infer.model.kinds.project_code import check_imports
from itk_infer.model.runtimes.torch import first_line

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Silence deprecation warnings about code of MMEngine, MMSegmentation and MONAI, which users cannot change."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning, ImportWarning, SyntaxWarning):
            warnings.simplefilter("ignore", category)
        warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"(mmengine|mmcv|mmseg|monai)\b")
        yield


def read_config(path: Path) -> Any:
    """Run a config (it is Python) and return MMEngine's ``Config``.

    Raises:
        ModelError: a package is missing, the config fails, or does not describe a model.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such config; give the .py file that the network was trained with")
    try:
        tempfile.gettempdir()
    except OSError:
        raise ModelError(f"{path}: MMEngine reads a copy of each config, and {MISSING}") from None
    with _blamed_on(path):
        from mmengine.config import Config

        # Both register classes that a config may name, so they are imported before its custom_imports.
        import_mmcv_ops()
        import itk_infer.networks  # noqa: F401

        settings = Config.fromfile(path)
        check_imports(_custom_imports(settings), path.parent)
    if not isinstance(settings.get("model"), Mapping):
        raise ModelError(f"{path}: has no model = dict(...); give a config that describes a network")
    return settings


def build_network(settings: Any, path: Path) -> nn.Module:
    """Build the ``model`` of a config in its default scope. Nothing is downloaded.

    Raises:
        ModelError: a package or the name of a network is missing, or the network's own code fails.
    """
    from mmengine.registry import MODELS, DefaultScope
    from torch import nn

    scope = settings.get("default_scope") or "mmengine"
    with _blamed_on(path), DefaultScope.overwrite_default_scope(scope):
        network = MODELS.build(_without_pretraining(settings.model))
    if not isinstance(network, nn.Module):
        raise ModelError(f"{path}: model builds a {type(network).__name__}, not a network (torch.nn.Module)")
    return network


def own_modules(settings: Any, network: nn.Module) -> set[str]:
    """Names of the modules that a config imports, and of those that define the network's classes."""
    return {*_custom_imports(settings), *(type(module).__module__ for module in network.modules())}


def _custom_imports(settings: Any) -> list[str]:
    names = (settings.get("custom_imports") or {}).get("imports") or []
    return [names] if isinstance(names, str) else list(names)


def _without_pretraining(node: Any) -> Any:
    """The config without pretrained weights: those of the checkpoint are used, and nothing is downloaded."""
    if isinstance(node, Mapping):
        pairs = (
            (k, None if k in ("init_cfg", "pretrained") else _without_pretraining(v)) for k, v in node.items()
        )
        return type(node)(dict(pairs))  # type: ignore[call-arg]
    if isinstance(node, list | tuple):
        return type(node)(_without_pretraining(item) for item in node)
    return node


@contextmanager
def _blamed_on(path: Path) -> Iterator[None]:
    """Turn any exception of the config's code or the network's constructor into a `ModelError` about `path`."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except Exception as error:
        cause = _import_cause(error)
        if isinstance(cause, ModuleNotFoundError):
            package = (cause.name or "").split(".")[0]
            ours = {"mmengine", "mmseg", "mmcv", "ftfy", "regex", "pkg_resources", "torch"}
            remedy = "run: pip install 'itk_infer[mmengine]'"
            if package not in ours:
                remedy = "install it, put it beside the config, or put its folder on PYTHONPATH"
            sentence = f"needs the Python package {package}, which is not installed; {remedy}"
        else:
            sentence = f"the network cannot be built: {first_line(cause)}; {_remedy(cause)}"
        raise ModelError(f"{path}: {sentence}") from error


def _import_cause(error: BaseException) -> BaseException:
    """The import error that caused MMEngine's own error."""
    while isinstance(error, ImportError) and isinstance(
        inner := error.__cause__ or error.__context__, ImportError
    ):
        error = inner
    return error


def _remedy(error: BaseException) -> str:
    text = str(error)
    if (isinstance(error, KeyError) and "registry" in text) or text.startswith("Failed to get "):
        return "name the module that registers it in custom_imports"
    if isinstance(error, FileNotFoundError):
        return "copy that file (such as a _base_) along with the config"
    if "LazyAttr" in text or "LazyObject" in text:
        return "MMEngine does not run what a config imports: write the value itself, or '{{$VARIABLE:default}}'"
    if isinstance(error, SyntaxError):
        return "correct the config"
    return "try this config with MMEngine alone: Config.fromfile, then MODELS.build"
