"""One model's network on one case: prepares the image, runs the windows, collects warnings."""

from __future__ import annotations

from collections.abc import Callable

from itk_infer.arrays import Array, namespace
from itk_infer.case.clock import Clock
from itk_infer.case.loaded_model import LoadedModel
from itk_infer.case.plan import CasePlan
from itk_infer.case.prepare import prepare
from itk_infer.case.warmup import settle_batch, settle_precision
from itk_infer.engine.slabs import Forward
from itk_infer.engine.workspace import Workspace
from itk_infer.model.inferer.answer_check import AnswerCheck
from itk_infer.model.inferer.inferer import WindowInferer
from itk_infer.model.members import Member
from itk_infer.volume.slab import LabelArray
from itk_infer.volume.volume import Volume


class MemberNetwork:
    """One member's network on one case.

    Args:
        member: The member.
        inferer: Runs it.
        watched: Calls a network with windows, times it and checks its outputs.
        keep: Whether outputs must stay valid while other members run.

    Attributes:
        member: The member.
        inferer: Runs the member.
    """

    def __init__(
        self, member: Member, inferer: WindowInferer, watched: Callable[[Forward, Array], Array], *, keep: bool
    ) -> None:
        self.member, self.inferer = member, inferer
        self._watched, self._keep = watched, keep

    def forward(self, windows: Array) -> Array:
        """Run the network on windows, see `Backend.forward`."""
        answers = self._watched(self.inferer, windows)
        return namespace(answers).asarray(answers, copy=True) if self._keep else answers

    @property
    def repair(self) -> Forward | None:
        """Runs windows again whose output overflowed; None for a network in fp32."""
        return None if self.member.backend.precision == "fp32" else self.inferer.repair


class NetworkRun:
    """Prepares the image; the network runs when `forward` is called.

    Args:
        model: The model; what is found out about it is stored in it.
        workspace: Where the case is computed.
        volume: The case's image.
        previous: Label map of a previous stage, for a model that takes one.
        plan: The case's plan.
        clock: Times the stages.

    Attributes:
        model: The model.
        prepared: The image as the network sees it.
        plan: The plan of what is left after cropping.
        notes: Notes that stay true if the case is restarted.
        networks: The members of the model, usually one.
    """

    def __init__(
        self,
        model: LoadedModel,
        workspace: Workspace,
        volume: Volume,
        previous: LabelArray | None,
        plan: CasePlan,
        clock: Clock,
    ) -> None:
        self.model = model
        self._every = len(plan.windows)
        stored, options = workspace.put(volume.array), model.options
        self.prepared = prepare(stored, plan, model.spec, model.window, options.crop_foreground, previous)
        self.plan = self.prepared.plan
        self.notes: list[str] = []
        clock.lap("prepare")
        if not model.precision_checked:
            self.notes += settle_precision(model, self.prepared)
            clock.lap("self-check")
        if model.auto_batch is not None and len(self.plan.windows) > 1:
            self.notes += settle_batch(model, self.prepared, workspace)
            clock.lap("batch")
        below = None if isinstance(options.skip_empty, bool) else options.skip_empty
        lowest = self.prepared.volume.min() if below is not None else 0.0  # reads the whole volume
        skip = None if options.skip_empty is False else lowest
        self._check = check = None if model.answers_known else AnswerCheck(model.spec.output)
        members = model.blended_apart

        # Not a method: networks that refer to this object would keep its image until garbage is collected.
        def watched(network: Forward, windows: Array) -> Array:
            with clock.inside("network"):
                answers = network(windows)
            if check is not None:
                check.look(answers)
            return answers

        # Members may share a network, which may use the memory of an output again.
        self.networks = [
            MemberNetwork(
                member,
                WindowInferer(member.backend, member.mirror_axes, skip, below, model.max_batch, member.view),
                watched,
                keep=len(members) > 1,
            )
            for member in members
        ]

    def forward(self, windows: Array) -> Array:
        """Run the first or only member on windows, see `Backend.forward`."""
        return self.networks[0].forward(windows)

    @property
    def repair(self) -> Forward | None:
        """See `MemberNetwork.repair`; of the first or only member."""
        return self.networks[0].repair

    def finish(self) -> list[str]:
        """Store what was found out about the model, once all windows have run; returns warnings."""
        warnings: list[str] = []
        crop, model = self.prepared.crop, self.model
        if crop is not None and model.options.crop_foreground is not None:
            saved = f"{self._every - len(self.plan.windows)} of {self._every} windows saved"
            warnings.append(f"cropped to {crop.share:.0%} of its voxels: {saved}, background outside")
        for network in self.networks:
            found = network.inferer.warnings(len(self.plan.windows))
            warnings += [text for text in found if text not in warnings]
        if self._check is not None:
            doubts = self._check.warnings()
            warnings += doubts
            model.answers_known = self._check.done or bool(doubts)
        most = [network.inferer.max_batch for network in self.networks if network.inferer.max_batch is not None]
        if most:
            model.note_max_batch(min(most))
        return warnings
