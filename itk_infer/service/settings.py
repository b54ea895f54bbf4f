"""Settings and limits of a service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from itk_infer.errors import ConfigError
from itk_infer.executors.gpus import Placement
from itk_infer.executors.loader import ModelLoader

GIB = 1 << 30
DAY_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Settings of a `Service`; sizes are in bytes.

    Attributes:
        home: Folder of the queue and of all files of jobs.
        models: How to load each model, by the name that clients use.
        placements: One per job that can run at the same time.
        max_loaded: Models that are loaded at the same time in each place; the least recently used one is unloaded.
        max_waiting: Jobs that may wait.
        max_upload: Bytes of an upload.
        max_image: Bytes of an image's voxels, decoded.
        max_uploads: Uploads at the same time.
        min_free: Bytes that must stay free on the disk of `home`.
        keep_s: Seconds for which an ended job and its files are kept.
        keep_bytes: Bytes of the files of ended jobs; the oldest ones are deleted beyond it.
        case_timeout: Seconds that a job may take; None: no limit.
        allow_folder: Images in this folder may be named instead of uploaded; None: none may.

    Raises:
        ConfigError: there is no model, or a limit is not positive.
    """

    home: Path
    models: Mapping[str, ModelLoader]
    placements: tuple[Placement, ...] = (Placement(),)
    max_loaded: int = 2
    max_waiting: int = 1000
    max_upload: int = 2 * GIB
    max_image: int = 8 * GIB
    max_uploads: int = 8
    min_free: int = GIB
    keep_s: float = 7 * DAY_S
    keep_bytes: int = 50 * GIB
    case_timeout: float | None = None
    allow_folder: Path | None = None
    _positive: tuple[str, ...] = field(
        default=("max_loaded", "max_waiting", "max_upload", "max_image", "max_uploads"), init=False, repr=False
    )

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigError("no model: name at least one")
        for name in self._positive:
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}={getattr(self, name)}`: give a number above 0")
        if self.allow_folder is not None and not self.allow_folder.is_dir():
            raise ConfigError(f"{self.allow_folder}: no such folder; `allow_folder` names one that is there")
