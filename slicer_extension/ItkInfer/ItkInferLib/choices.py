"""The settings chosen in the panel, and the first of them that is missing or invalid."""

from __future__ import annotations

from typing import Any, Optional

from . import view
from .about import About
from .command import KINDS, InvalidChoice, Model, Options, Run, triplet
from .environment import Program, find_program

NEEDED = {
    "onnx": "An ONNX file holds all that it needs.",
    "mmengine": "An MMEngine config and its checkpoint.",
    "server": "Give the address of a server, such as http://127.0.0.1:8000.",
}


class Choices:
    """Reads the controls; has no state of its own.

    Properties are read with `property`, which works in every Qt binding.

    Args:
        ui: The controls, as attributes.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui

    @property
    def batch(self) -> bool:
        """Whether the tab for folders is selected."""
        return bool(self._ui.whatTabs.property("currentIndex"))

    @property
    def volume(self) -> Any:
        """The volume node, or None."""
        return self._ui.volumeSelector.currentNode()

    @property
    def maps(self) -> str:
        """Which maps to load: nothing, ``entropy``, or ``all``."""
        return ("", "entropy", "all")[self._ui.mapsBox.property("currentIndex")]

    def program(self) -> Program:
        """The environment. Raises `InvalidChoice`."""
        return find_program(self._ui.environmentPath.property("currentPath"))

    def model(self) -> Model:
        """The chosen model, which may be incomplete."""
        ui = self._ui
        return Model(
            kind=KINDS[ui.kindBox.property("currentIndex")],
            onnx=ui.onnxPath.property("currentPath"),
            config=ui.configPath.property("currentPath"),
            checkpoint=ui.checkpointPath.property("currentPath"),
            spec=ui.specPath.property("currentPath"),
            server=ui.serverEdit.property("text").strip(),
            served=ui.servedEdit.property("text").strip(),
            token=ui.tokenPath.property("currentPath"),
        )

    def options(self) -> Options:
        """The settings that replace the model's own. Raises `InvalidChoice`."""
        ui = self._ui
        window = ui.windowCheck.property("checked")
        options = Options(
            level=ui.levelSpin.property("value") if window else None,
            width=ui.widthSpin.property("value") if window else None,
            patch=triplet(ui.patchEdit.property("text"), "Patch size"),
            stride=triplet(ui.strideEdit.property("text"), "Stride"),
            blend=ui.blendBox.property("currentText") if ui.blendBox.property("currentIndex") else "",
            device=ui.deviceBox.property("currentText").strip(),
            half=bool(ui.precisionBox.property("currentIndex")),
        )
        options.check()
        return options

    def folder_run(self) -> Run:
        """The run chosen in the tab for folders. Raises `InvalidChoice`."""
        ui = self._ui
        flags = (getattr(ui, name + "Check").property("checked") for name in ("recursive", "logits", "overwrite"))
        source, output = ui.sourcePath.property("currentPath"), ui.outputPath.property("currentPath")
        run = Run(source, output, self.model(), self.options(), *flags)
        run.check()
        return run

    def lacking(self, about: Optional[About]) -> Optional[view.View]:
        """A view of the first choice that is missing or invalid, or None.

        Args:
            about: The description of the model, if it is known.
        """
        ui = self._ui
        try:
            self.program()
        except InvalidChoice as error:
            return view.wrong(
                str(error), "Open Environment below: name where itk_infer is, or make an environment."
            )
        if not self.batch and self.volume is None:
            return view.needs("Choose a volume.", "Load an image into Slicer, then choose it above.")
        if self.batch and not ui.sourcePath.property("currentPath"):
            return view.needs("Choose a folder of images.", "Every image in it will be segmented.")
        if self.batch and not ui.outputPath.property("currentPath"):
            return view.needs("Choose a folder for the results.", "It may be new.")
        model = self.model()
        if not model.chosen:
            return view.needs("Choose a model.", NEEDED[model.kind])
        try:
            model.check()
            self.options()
            if model.kind == "server" and (self.batch or self.maps):
                what = "single volumes are segmented here" if self.batch else "segments are made, no extra maps"
                raise InvalidChoice("On a server, only %s." % what)
            if self.batch:
                self.folder_run()
            elif about is not None and len(about.channels) > 1:
                names = ", ".join(filter(None, about.channels)) or "%d channels" % len(about.channels)
                raise InvalidChoice(
                    "This model takes several images of one patient (%s); use the tab for folders." % names
                )
            elif self.maps and not self.program().python:
                raise InvalidChoice(
                    "Extra maps need the Python of the environment; choose that under Environment."
                )
        except InvalidChoice as error:
            return view.wrong(str(error), "Change it above, and Run becomes possible.")
        return None
