"""Settings of a node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from itk_infer.errors import ConfigError
from itk_infer.executors.executor import Executor
from itk_infer.run.settings import RunSettings
from itk_infer.service.pacs.access import Access, DicomAddress
from itk_infer.service.pacs.outbox import PATIENCE_S
from itk_infer.spec.series_rule import SeriesRule

GIB = 1 << 30
DAY_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """Settings of a `Node`.

    Attributes:
        home: Folder of the node's databases and files.
        executors: Functions that make the executors; each executor computes one study at a time.
        orthanc: URL of the Orthanc server that provides the studies; None: `listen` is given.
        listen: Own title and address for receiving studies; None: `orthanc` is given.
        allowed: Application entity titles that may send studies; empty: all.
        send: Destinations of results, as in `DESTINATIONS`.
        access: Accounts and certificates.
        save: Names of outputs to write, see `itk_infer.outputs.registry`.
        series: Rules that choose the series of a study.
        format: File format of label maps, one of `LABEL_FORMATS`.
        quiet: Seconds without a new image after which a study is complete.
        poll: Seconds between two checks for new studies.
        only_new: Whether to skip, at the first start, studies that Orthanc has already.
        retry_failed: Whether to compute studies again that failed before.
        min_free: Bytes of the disk that must stay free.
        keep_s: Seconds for which finished studies are kept.
        patience: Seconds after which a result that cannot be sent is given up.

    Raises:
        ConfigError: there is not exactly one source, or an output cannot be written.
    """

    home: Path
    executors: tuple[Callable[[], Executor], ...]
    orthanc: str | None = None
    listen: DicomAddress | None = None
    allowed: tuple[str, ...] = ()
    send: tuple[str, ...] = ()
    access: Access = field(default_factory=Access)
    save: tuple[str, ...] = ()
    series: tuple[SeriesRule, ...] = ()
    format: str = "same"
    quiet: float = 30.0
    poll: float = 2.0
    only_new: bool = False
    retry_failed: bool = False
    min_free: int = GIB
    keep_s: float = 7 * DAY_S
    patience: float = PATIENCE_S

    def __post_init__(self) -> None:
        RunSettings(self.home, self.home, format=self.format, save=self.save)  # which checks the settings
        if (self.orthanc is None) == (self.listen is None):
            raise ConfigError("give one source of studies: `orthanc` or `listen`")
        if self.allowed and self.listen is None:
            raise ConfigError("`allow`: only those who send to `listen` have a title")
