"""The folder `saliency` beside `results.db`: panels, raw maps, scores, and a manifest of how they were made."""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from itk_infer._version import __version__
from itk_infer.classifier import Classifier
from itk_infer.classify.saliency.explain import Inputs, MethodMap, ModelExplainer
from itk_infer.classify.saliency.names import panel_stem
from itk_infer.classify.saliency.panel import NO_LOCALISER, LabelBar, Panel, draw_panel
from itk_infer.classify.saliency.settings import SaliencySettings
from itk_infer.classify.saliency.targets import select, sequences
from itk_infer.classify.tables.rows import rounded
from itk_infer.classify.tables.source import ImageRow, ResultsSource
from itk_infer.errors import ConfigError, InputError, OutputError
from itk_infer.files.cells import Cell, write_csv
from itk_infer.files.commit import new_file, remove, write_bytes
from itk_infer.files.folders import make_folder
from itk_infer.model.saliency.maps import TITLES
from itk_infer.spec.classify_spec import PictureChannel, PictureInput
from itk_infer.volume.picture_input.opening import open_pictures
from itk_infer.volume.picture_input.picture import NotAPicture, Picture, Pictures

if TYPE_CHECKING:
    from PIL.Image import Image

FOLDER, MANIFEST, SCORES = "saliency", "run_manifest.json", "all_slice_saliency_scores.csv"
BATCH: Final = 8
OPEN_FILES: Final = 4
SAVING: Final = 2  # threads that draw, compress, write and read back while the next pictures are explained
WAITING: Final = 16  # most panels that are drawn later than their pictures are explained
TOLERANCE: Final = 0.02  # of probabilities; reduced precision may cause half of it
SHOWN: Final = PictureInput(values="voi", missing_voi="minmax"), PictureChannel()


@dataclass(slots=True)
class SaliencySummary:
    """The result of `write_saliency`.

    Attributes:
        panels: Paths of the panels, relative to the folder.
        failed: Reason per file of images that could not be explained.
        members: Per network: name, group, digest, how it is explained, and the tensor that is used.
    """

    panels: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    members: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Prepared:
    row: ImageRow
    label: int
    image: NDArray[np.float32]
    inputs: Inputs


def write_saliency(
    classifier: Classifier,
    database: Path,
    root: Path,
    output: Path,
    settings: SaliencySettings,
    *,
    threads: int = 1,
    check: Callable[[], None] = lambda: None,
    on_panel: Callable[[int, int], None] = lambda done, total: None,
) -> SaliencySummary:
    """Explain images of a finished run. Images that fail are recorded, and the others are still explained.

    Args:
        classifier: The model of the results.
        database: Path of `results.db`.
        root: Folder that paths of files are relative to.
        output: Output folder. Panels go to its folder `saliency`; those of the last run that are no longer
            needed are removed.
        settings: Images, methods and layer.
        threads: Threads of the CPU; those that draw and save are among them, if there are more.
        check: Called between batches; raises `InterruptedRunError` to stop.
        on_panel: Called with the number of panels written so far, and the total.

    Raises:
        ConfigError: there are no results of this model.
        ModelError: a method cannot explain a network.
        OutputError: a file cannot be written.
    """
    with closing(ResultsSource(database)) as source, ThreadPoolExecutor(SAVING, "saving") as pool:
        if source.sha256 != classifier.model.digest:
            raise ConfigError(
                f"{database}: its results are of {source.name}, another model; classify with this one"
            )
        # No more than cores: the threads of a network wait busily for one of theirs that another one displaced.
        explaining = max(1, threads - SAVING)
        work = _Writer(classifier, source, root, output / FOLDER, settings, explaining, pool)
        chosen = select(source, settings.wanted, settings.label)
        batch: list[_Prepared] = []
        for prepared in work.prepared(chosen):
            if batch and [part.shape for part in prepared.inputs] != [part.shape for part in batch[0].inputs]:
                work.write(batch)
                batch = []
            batch.append(prepared)
            if len(batch) == BATCH:
                check()
                work.write(batch)
                on_panel(len(work.summary.panels), len(chosen))
                batch = []
        work.write(batch)
        work.finish()
        return work.summary


class _Writer:
    def __init__(
        self,
        classifier: Classifier,
        source: ResultsSource,
        root: Path,
        folder: Path,
        settings: SaliencySettings,
        threads: int,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._pool, self._saving = pool, deque[tuple[str, Future[None]]]()
        self._classifier, self._source, self._root, self._folder = classifier, source, root, folder
        self._settings = settings
        self._explainer = ModelExplainer(classifier, settings.methods, layer=settings.layer, threads=threads)
        self._files: OrderedDict[str, Pictures] = OrderedDict()
        self._rows: list[Sequence[Cell]] = []
        self.summary = SaliencySummary()

    # --- pictures -------------------------------------------------------------------------------------------

    def prepared(self, chosen: dict[int, int]) -> Iterator[_Prepared]:
        """Yield the chosen images with their inputs; those that cannot be read are recorded as failed."""
        reach = self._classifier.reach
        for series in sequences(self._source):
            planes: dict[int, Inputs] = {}
            for at, row in enumerate(series):
                if row.id not in chosen:
                    continue
                first, last = max(0, at - reach), min(len(series), at + reach + 1)
                planes = {place: planes[place] for place in range(first, last) if place in planes}
                try:
                    for place in range(first, last):
                        if place not in planes:
                            planes[place] = self._classifier.planes(self._picture(series[place]))
                    around = [planes[place] for place in range(first, last)]
                    shown = self._picture(row).rows(SHOWN[1], SHOWN[0])[:]
                except (InputError, NotAPicture, OSError) as error:
                    self.summary.failed[row.path] = str(error)
                    continue
                yield _Prepared(row, chosen[row.id], shown, self._classifier.inputs(around, at - first))

    def _picture(self, row: ImageRow) -> Picture:
        if row.path not in self._files:
            pictures = open_pictures(self._root / row.path)
            pictures.check(self._classifier.spec.select)
            self._files[row.path] = pictures
            if len(self._files) > OPEN_FILES:
                self._files.popitem(last=False)
        return self._files[row.path].picture(row.frame)

    # --- files ----------------------------------------------------------------------------------------------

    def write(self, batch: Sequence[_Prepared]) -> None:
        """Explain images with inputs of equal sizes, and write their panels and raw maps."""
        batch = self._as_recorded(batch)
        if not batch:
            return
        self.summary.members = self.summary.members or self._explainer.about(batch[0].inputs)
        shapes = [(item.image.shape[0], item.image.shape[1]) for item in batch]
        found = self._explainer.explain([i.inputs for i in batch], [i.label for i in batch], shapes)
        for item, maps in zip(batch, found, strict=True):
            stem = panel_stem(item.row)
            panel = self._panel(item, maps)
            # Threads do not inherit the caller's context, which holds the lock that is verified.
            self._saving.append((stem, self._pool.submit(copy_context().run, self._save, stem, panel, maps)))
            self._rows.append(self._score_row(item, maps, stem))
        self._saved(WAITING)

    def _saved(self, but: int = 0) -> None:
        """Wait until all panels are saved, but so many of the last ones."""
        while len(self._saving) > but or (self._saving and self._saving[0][1].done()):
            stem, saving = self._saving.popleft()
            saving.result()
            self.summary.panels.append(f"{stem}.png")

    def finish(self) -> None:
        """Write scores and manifest, and remove panels of the last run that are no longer needed."""
        self._saved()
        make_folder(self._folder)
        labels = ("label", "probability", "std")
        header = ["series", "study", "position", "sop", "file", "frame", *labels]
        for method in self._settings.methods:
            names = ("saliency_score", "raw_max", "peak_row", "peak_column", "agreement")
            header += [f"{method} {name}" for name in names]
        rows = sorted(
            self._rows, key=lambda row: [str(row[0]), row[2] is None, row[2] or 0.0, str(row[4]), row[5]]
        )
        write_csv(self._folder / SCORES, [[*header, "panel"], *rows])
        kept = set(self.summary.panels)
        for name in self._last_panels():
            if name not in kept:
                for path in (self._folder / name, (self._folder / name).with_suffix(".npz")):
                    remove(path)
        text = json.dumps(self._manifest(), indent=1, ensure_ascii=False)
        write_bytes(text.encode("utf-8", "backslashreplace"), self._folder / MANIFEST)

    def _as_recorded(self, batch: Sequence[_Prepared]) -> list[_Prepared]:
        """Images for which the model reproduces the recorded probabilities; the files of others have changed."""
        if not batch:
            return []
        answers = self._classifier.scores([item.inputs for item in batch]).probabilities
        same = []
        for item, answer in zip(batch, answers, strict=True):
            if np.abs(answer - np.array(item.row.probabilities)).max() <= TOLERANCE:
                same.append(item)
            else:
                self.summary.failed[item.row.path] = (
                    "the model answers otherwise than the results say; classify it again"
                )
        return same

    def _panel(self, item: _Prepared, maps: dict[str, MethodMap]) -> Panel:
        row, labels, many = item.row, self._source.labels, len(self.summary.members)
        bars = [
            LabelBar(label.name, row.probabilities[i], label.threshold, row.stds[i], i == item.label)
            for i, label in enumerate(labels)
        ]
        place = "" if row.position is None else f", position {row.position:+.2f} mm"
        frame = f", frame {row.frame}" if (row.frames or 1) > 1 else ""
        label = labels[item.label]
        titles = (
            f"{row.path}{frame}{place}",
            f"{label.name}: {row.probabilities[item.label]:.3f}, threshold {label.threshold:.3f}",
        )
        mean = f", mean of {many} networks" if many > 1 else ""
        overlays = [(f"{TITLES[name]} of {label.name}{mean}", found.map) for name, found in maps.items()]
        return Panel(titles, item.image, overlays, bars, self._lines(many))

    def _lines(self, many: int) -> list[str]:
        methods = ", ".join(TITLES[name] for name in self._settings.methods)
        ways: dict[str, list[str]] = {}
        for one in self.summary.members:
            ways.setdefault(", ".join(filter(None, (one["layer"], one["how"]))), []).append(one["name"])
        networks = "; ".join(f"{', '.join(names)} ({way})" for way, names in ways.items())
        scaled = (
            "the mean of the networks' maps, each scaled to its maximum" if many > 1 else "scaled to its maximum"
        )
        source = "results.db, one network"
        if many > 1:
            groups = len({one["group"] for one in self.summary.members})
            in_groups = f" in {groups} groups" if groups > 1 else ""
            source = f"results.db, mean of {many} networks{in_groups}; thin line: standard deviation"
        return [
            f"Maps: {methods} of the logit, {scaled}. {networks}.",
            f"Bars: {source}; upright line: threshold.",
        ]

    def _save(self, stem: str, panel: Panel, maps: dict[str, MethodMap]) -> None:
        make_folder((self._folder / stem).parent)
        self._write_panel(self._folder / f"{stem}.png", draw_panel(panel))
        self._write_maps(self._folder / f"{stem}.npz", maps)

    def _write_panel(self, path: Path, picture: Image) -> None:
        from PIL import Image

        with new_file(path) as partial:
            picture.save(partial, format="PNG", compress_level=1)
            with Image.open(partial) as read:
                if read.size != picture.size or read.tobytes() != picture.tobytes():
                    raise OutputError(f"{path}: does not read back as it was written; is the disk full?")

    def _write_maps(self, path: Path, maps: dict[str, MethodMap]) -> None:
        arrays: dict[str, Any] = {}
        for method, found in maps.items():
            for number, raw in enumerate(found.raw):
                largest = float(raw.max())
                arrays[f"{method}.{number}"] = (raw / largest if largest > 0 else raw).astype(np.float16)
                arrays[f"{method}.{number}.max"] = np.float32(largest)
        with new_file(path) as partial:
            np.savez_compressed(partial, **arrays)

    def _score_row(self, item: _Prepared, maps: dict[str, MethodMap], stem: str) -> Sequence[Cell]:
        row = item.row
        cells: list[Cell] = [row.series, row.study, row.position, row.sop, row.path, row.frame]
        cells += [self._source.labels[item.label].name, rounded(row.probabilities[item.label])]
        cells.append(rounded(row.stds[item.label]))
        for method in self._settings.methods:
            found = maps[method]
            peak = np.unravel_index(int(found.map.argmax()), found.map.shape)
            place = [(at + 0.5) / side for at, side in zip(peak, found.map.shape, strict=True)]
            largest = float(np.mean([raw.max() for raw in found.raw]))
            cells += [rounded(float(found.map.mean())), float(f"{largest:.6g}"), *map(rounded, place)]
            cells.append(rounded(found.agreement))
        return [*cells, f"{stem}.png"]

    # --- manifest -------------------------------------------------------------------------------------------

    def _manifest(self) -> dict[str, Any]:
        settings, source = self._settings, self._source
        return {
            "schema": "itk_infer.saliency/1",
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": __version__,
            "model": {"name": source.name, "sha256": source.sha256},
            "methods": list(settings.methods),
            "explained": f"the logit of {settings.label or 'the most probable positive label that is no parent'}",
            "images": settings.wanted,
            "ensemble": "mean over the networks of their maps, each divided by its maximum",
            "networks": self.summary.members,
            "labels": [{"name": label.name, "threshold": label.threshold} for label in source.labels],
            "caution": NO_LOCALISER,
            "panels": self.summary.panels,
            "failed": self.summary.failed,
        }

    def _last_panels(self) -> list[str]:
        """Panels that the last run wrote to this folder."""
        try:
            panels = json.loads((self._folder / MANIFEST).read_text("utf-8"))["panels"]
            inside = [name for name in panels if isinstance(name, str) and name.endswith(".png")]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        return [name for name in inside if ".." not in name.split("/") and not name.startswith("/")]
