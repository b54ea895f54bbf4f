"""A loaded model, its options, and what was found out about it while cases ran."""

from __future__ import annotations

import copy
from functools import cached_property
from pathlib import Path
from typing import Any

from itk_infer._version import __version__
from itk_infer.case.identity import model_identity
from itk_infer.case.plan import CasePlan, plan_case
from itk_infer.case.workspaces import Workspaces
from itk_infer.engine.decision import Decision
from itk_infer.errors import ConfigError
from itk_infer.machine import usable_cores
from itk_infer.model.backend import Backend
from itk_infer.model.batch_size.auto import AutoBatch
from itk_infer.model.batch_size.cache import open_cache
from itk_infer.model.inferer.mirror import Mirrored
from itk_infer.model.members import Member, members_of
from itk_infer.model.runtimes.onnxruntime_gpu import PROVIDERS
from itk_infer.model.window import fit_window
from itk_infer.options import Options
from itk_infer.outputs.sink import OutputHeader
from itk_infer.spec import ModelSpec
from itk_infer.spec.postprocessing import check_labels
from itk_infer.volume.grid import Grid

ONE_MEMBER: dict[str, Any] = {"agreement": False, "stability": 0, "mc_dropout": 0, "dropout_seed": 0}  # options


class LoadedModel:
    """A backend with the options that its cases are run with. Arguments and errors are those of `Predictor`.

    Attributes:
        options: How it is run.
        backend: Runs the network; replaced by one in fp32 if a reduced precision was found to differ too much.
        window: Patch and stride, fitted to the network.
        workspaces: Host memory, and the device if there is one.
        mirror_axes: Axes along which windows are mirrored; None: windows are not mirrored.
        mirrored_copies: Network inputs per window: 1, or the number of mirrored copies.
        batch: Windows per call.
        auto_batch: Searches for `batch` on the first case; None: no search is needed.
        max_batch: Network inputs per call that fit in memory; None as long as memory never ran out.
        precision_checked: Whether the precision was compared with fp32, or is fp32.
        answers_known: Whether it was checked that the outputs are logits or probabilities, as the spec says.
        previous: First stage of a cascade, whose label map the network takes; None: no cascade, or `given_masks`.
        given_masks: Folder of such label maps, if they exist already.
    """

    def __init__(self, backend: Backend, options: Options) -> None:
        self.backend = backend
        self.options = options
        self.window = fit_window(backend.spec, backend.shape)
        output, channels = backend.spec.output, backend.shape.channels_out
        if channels:
            output.threshold_by_channel(channels)  # raises where a label has a threshold and is none
        if output.postprocessing and channels:
            check_labels(output.postprocessing, output.label_table(channels))
        rule = backend.spec.input.crop
        if rule is not None and rule.after != "loading" and options.crop_foreground is not None:
            raise ConfigError(
                "`crop_foreground`: this model's spec crops images itself (input.crop); leave it out"
            )
        threads, max_vram = options.threads or usable_cores(), options.max_vram
        if max_vram is not None and backend.provider in PROVIDERS:
            max_vram //= 2  # onnxruntime is given the other half
        self.workspaces = Workspaces(backend.tensor_device, threads, options.max_ram, max_vram)
        windows = backend.spec.window
        mirror = windows.mirror if options.tta is None else options.tta
        self.mirror_axes = windows.mirror_axes if mirror else None
        # Raises for models that do not allow mirroring.
        flips = () if self.mirror_axes is None else Mirrored(backend.forward, self.mirror_axes).flips
        self.mirrored_copies = len(flips) or 1
        self.auto_batch: AutoBatch | None = None
        batch = options.batch
        if batch == "auto":
            batch = backend.shape.batch or 1  # until the search; networks of a fixed batch size have no other
            if backend.shape.batch is None and any(self.window.patch):
                self.auto_batch = AutoBatch(threads, self.mirrored_copies, open_cache(options.batch_cache))
                batch = self.auto_batch.known(backend, self.window.patch) or 1
        self.batch: int = batch or backend.shape.batch or backend.shape.batch_hint or 1
        self.max_batch: int | None = None
        self.precision_checked = backend.precision == "fp32"
        self.answers_known = False
        self._precision = backend.precision  # before the check, on whose result the identity must not depend
        stage: Backend | None = getattr(backend, "previous", None)  # few kinds of models have one
        self.previous = None if stage is None else LoadedModel(stage, options.changed(**ONE_MEMBER))
        _ = self.blended_apart  # raises if options ask for members that the model does not have
        self.given_masks: Path | None = getattr(backend, "given_masks", None)

    def in_safe_mode(self) -> LoadedModel:
        """The same model in fp32, one window per call, sums in host memory."""
        twin = copy.copy(self)
        twin.batch, twin.backend, twin.auto_batch = 1, self.backend.in_full_precision(), None
        twin.workspaces = self.workspaces.on_host()
        twin.previous = None if self.previous is None else self.previous.in_safe_mode()
        return twin

    @property
    def spec(self) -> ModelSpec:
        """The model spec, complete."""
        return self.backend.spec

    @property
    def blended_apart(self) -> tuple[Member, ...]:
        """The members that run on every window and are blended separately, see `members_of`."""
        return members_of(self.backend, self.options, self.mirror_axes)

    @property
    def notes(self) -> tuple[str, ...]:
        """A note on the cost of mirroring, if the model mirrors by default; and notes of the previous stage."""
        earlier = () if self.previous is None else self.previous.notes
        if self.options.tta is not None or not self.mirror_axes:
            return earlier
        axes = f"{len(self.mirror_axes)} axes" if len(self.mirror_axes) > 1 else "1 axis"
        copies = self.mirrored_copies
        note = f"mirroring along {axes} runs each window {copies} times; `tta=False` turns it off"
        return tuple(dict.fromkeys((*earlier, note)))

    @property
    def batch_size(self) -> int | None:
        """Windows per call; None before the search."""
        auto = self.auto_batch
        return self.batch if auto is None else auto.known(self.backend, self.window.patch)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """See `model_identity`."""
        options = self.options.changed(tta=self.mirror_axes is not None)
        return model_identity(self.backend.digest, self.spec, self.window, options, self._precision)

    def plan(
        self,
        grid: Grid,
        itemsize: int,
        *,
        want_logits: bool = False,
        batch: int | None = None,
        want_uncertainty: bool = False,
    ) -> CasePlan:
        """Plan a case: sizes, windows, memory.

        Args:
            grid: The case's grid as stored.
            itemsize: Bytes of a stored voxel.
            want_logits: Whether logits will be written.
            batch: Windows per call; None: those of the model.
            want_uncertainty: Whether a map of uncertainty is drawn or written.
        """
        return plan_case(
            grid,
            itemsize,
            self.spec,
            self.window,
            channels_out=self.backend.shape.channels_out,
            batch=(batch or self.batch) * self.mirrored_copies,
            want_logits=want_logits,
            want_uncertainty=want_uncertainty,
            members=len(self.blended_apart),
        )

    def header(self, stored: Grid, plan: CasePlan, decision: Decision) -> OutputHeader:
        """Return grid and labels of a case's outputs, and which model made them.

        Args:
            stored: The case's grid as stored.
            plan: The case's plan.
            decision: How labels follow from the output channels.
        """
        if self.options.orientation == "input":
            grid, reorientation = stored, plan.reorientation.inverse  # exactly the numbers of the input's header
        else:
            grid, reorientation = plan.native.reoriented(self.options.orientation)
        about = {
            "model": self.spec.name,
            "model_version": self.spec.version,
            "model_sha256": self.backend.digest,
            "itk_infer": __version__,
            "values": decision.output.values,
        }
        return OutputHeader(
            grid,
            reorientation,
            plan.native.size,
            decision.table,
            decision.channels,
            about,
            overlaps=self.spec.output.decision == "threshold",
            picture_style=self.options.picture_style,
            seg_type=self.options.seg_type,
            series_number=self.options.series_number,
            values=decision.output.values,
            picture_dpi=self.options.picture_dpi,
        )

    def note_max_batch(self, max_batch: int) -> None:
        """Store how many network inputs per call fit, after memory ran out; cancel a search for the batch size."""
        self.max_batch, self.auto_batch = max_batch, None
        self.batch = min(self.batch, max(1, max_batch // self.mirrored_copies))
