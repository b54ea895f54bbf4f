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
        home: Folder of the queue and of the jobs' files.
        models: How to load each model, by the name that clients use.
        placements: One per slot, that is, per job that can run at the same time.
        max_loaded: Number of loaded models per slot; beyond it, the least recently used one is unloaded.
        max_waiting: Largest number of waiting jobs.
        max_upload: Largest size of an upload.
        max_image: Largest size of an image's decoded voxels.
        max_uploads: Largest number of simultaneous uploads.
        min_free: Space that must stay free on the disk of `home`.
        keep_s: Seconds for which ended jobs and their files are kept.
        keep_bytes: Largest total size of the files of ended jobs; beyond it, the oldest are deleted.
        case_timeout: Time limit per job in seconds; None: no limit.
        allow_folder: Folder whose images may be named instead of uploaded; None: none.

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
