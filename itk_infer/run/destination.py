"""Where results are written: the output folder, or for one image a single file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from itk_infer.errors import ConfigError
from itk_infer.outputs.output_kind import ONE_FILE
from itk_infer.outputs.registry import run_outputs
from itk_infer.run.settings import FORMATS, RunSettings
from itk_infer.volume.names import SUFFIXES, is_picture
from itk_infer.volume.other_formats import format_of_name, is_sidecar

WRITTEN = tuple(sorted((f".{name}" for name in FORMATS if name != "same"), key=len, reverse=True))
CHOICES = ", ".join(f".{name}" for name in FORMATS if name != "same")


def with_destination(settings: RunSettings) -> RunSettings:
    """Split `output` into folder and file name, if it is the name of a file.

    This is checked before anything is computed.

    Raises:
        ConfigError: `output` can be neither a folder nor a file of results.
    """
    path = settings.output
    suffix = next((ending for ending in WRITTEN if path.name.lower().endswith(ending)), "")
    if not suffix or path.name.lower() == suffix:
        _check_folder(path)
        return settings
    format_ = suffix[1:]
    one = f"`output={path}` names one file"
    if settings.input.is_dir():
        raise ConfigError(
            f"{one}, and `input={settings.input}` is a folder; give `output` a folder, or `input` one image"
        )
    if path.is_dir():
        raise ConfigError(f"{one}, and there is a folder of that name; give another name, or remove the folder")
    if not path.name.endswith(suffix):
        raise ConfigError(f"{one}; write its ending in lower case: {suffix}")
    if settings.format not in ("same", format_):
        raise ConfigError(
            f"{one} in the format {format_}, and `format={settings.format}` is another one; leave one of them out"
        )
    if path.exists() and path.samefile(settings.input):
        raise ConfigError(f"{one}, which is the input; give another name")
    if is_picture(path.name) and not is_picture(settings.input.name):
        raise ConfigError(
            f"{one} without patient coordinates, but `input={settings.input}` is not a picture; end it in .nii.gz"
        )
    needing = [
        (f"`{kind.keyword}`", f"the {kind.title} is about a folder")
        for kind in run_outputs()
        if kind.flags and kind.name in settings.outputs
    ]
    if settings.shard is not None:
        needing.append(("`shard`", "it divides a folder"))
    for option, why in needing:
        raise ConfigError(
            f"{one}, and {option} needs a folder ({why}); give `output` a folder, or leave {option} out"
        )
    _check_folder(path.parent)
    return replace(settings, output=path.parent, file_name=path.name, format=format_)


def _check_folder(path: Path) -> None:
    """Refuse an output folder that is a file, is in a file, or has the name of a file that cannot be written."""
    if path.is_dir():
        return
    blocked = next((place for place in (path, *path.parents) if os.path.lexists(place)), path)
    if os.path.lexists(blocked) and not blocked.is_dir():
        kind = "a link that leads nowhere" if blocked.is_symlink() and not blocked.exists() else "a file"
        raise ConfigError(
            f"`output={path}`: {blocked} is {kind}; give a folder or, for one image, a name that ends in {CHOICES}"
        )
    name = path.name.lower()
    detached = next((ending for ending in ONE_FILE if name.endswith(ending)), None)
    if detached:
        raise ConfigError(
            f"`output={path}`: {detached} is a header with separate voxels, which is not written; end it in "
            f"{ONE_FILE[detached]}"
        )
    if format_of_name(name) or is_picture(name) or is_sidecar(name) or name in (*SUFFIXES, *WRITTEN):
        raise ConfigError(
            f"`output={path}`: label maps are not written as {path.suffix or name}; give a folder or, for one "
            f"image, a name that ends in {CHOICES}"
        )
