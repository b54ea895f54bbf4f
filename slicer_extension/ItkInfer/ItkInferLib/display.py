"""Shows the state of the panel: texts, colours, and which buttons are enabled."""

from __future__ import annotations

from typing import Any, Optional

from .about import About, about_html
from .view import View


class Display:
    """Sets the controls; has no state of its own.

    Args:
        ui: The controls, as attributes.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui

    def state(self, now: View, startable: bool, free: bool, batch: bool, busy_folder: bool) -> None:
        """Show a state.

        Args:
            now: The state.
            startable: Whether all choices that a run needs are made.
            free: Whether choices may change.
            batch: Whether the tab for folders is selected.
            busy_folder: Whether a folder is being segmented, whose table must stay usable.
        """
        ui = self._ui
        ui.statusFrame.setProperty("styleSheet", now.style)
        ui.headlineLabel.setProperty("text", now.headline)
        ui.adviceLabel.setProperty("text", now.advice)
        ui.adviceLabel.setProperty("visible", bool(now.advice))
        done = -1 if now.progress is None else int(1000 * now.progress)
        ui.progressBar.setProperty("visible", now.busy)
        ui.progressBar.setProperty("maximum", 1000 if done >= 0 else 0)
        ui.progressBar.setProperty("value", max(0, done))
        ui.progressBar.setProperty("format", now.bar_text)
        ui.runButton.setProperty("enabled", now.can_run and startable)
        ui.cancelButton.setProperty("enabled", now.can_cancel)
        for control in (
            ui.casesTable,
            ui.flagsRow,
        ):  # hidden, to add no height to the other tab
            control.setProperty("visible", batch)
        ui.whatTabs.setProperty("enabled", free or busy_folder)
        for control in (ui.modelSection, ui.advancedSection, ui.environmentRow, ui.makeBox):
            control.setProperty("enabled", free)

    def about(self, about: Optional[About]) -> None:
        """Show the description of a model, or hide it if it is None."""
        ui = self._ui
        ui.aboutLabel.setProperty("text", about_html(about) if about else "")
        ui.aboutLabel.setProperty("visible", about is not None)
        ui.patchEdit.setProperty("placeholderText", (about and about.patch) or "the model\u2019s")
        ui.strideEdit.setProperty("placeholderText", (about and about.stride) or "half the patch")
        if about and about.level is not None and not ui.windowCheck.property("checked"):
            ui.levelSpin.setProperty("value", about.level)
            ui.widthSpin.setProperty("value", about.width)

    def verdict(self, good: Optional[bool], text: str) -> None:
        """Show the result of a test of the environment; `good` None: there is none yet."""
        mark = {None: "", True: "\u2713 ", False: "\u2717 "}[good]
        self._ui.verdictLabel.setProperty("text", mark + text)
        self._ui.verdictLabel.setProperty("visible", bool(text))

    def kind(self) -> None:
        """Show the controls that the chosen kind of model needs."""
        ui = self._ui
        for index, controls in enumerate(
            (
                (ui.onnxLabel, ui.onnxPath),
                (ui.configLabel, ui.configPath, ui.checkpointLabel, ui.checkpointPath),
                (ui.serverLabel, ui.serverEdit, ui.servedLabel, ui.servedEdit, ui.tokenLabel, ui.tokenPath),
            )
        ):
            for control in controls:
                control.setProperty("visible", index == ui.kindBox.property("currentIndex"))
