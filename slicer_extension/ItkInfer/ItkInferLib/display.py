"""What the user sees of a state: texts, colours, what may be pressed."""

from __future__ import annotations

from typing import Any, Optional

from .about import About, about_html
from .view import View


class Display:
    """Writes to the controls; keeps nothing.

    Args:
        ui: The controls, as attributes.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui

    def state(self, now: View, startable: bool, free: bool, batch: bool, busy_folder: bool) -> None:
        """Show a state.

        Args:
            now: It.
            startable: Whether all that a run needs is there.
            free: Whether choices may change.
            batch: Whether the tab for folders is in front.
            busy_folder: Whether a folder is at work, whose table must stay usable.
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
        for control in (ui.casesTable, ui.flagsRow):  # hidden, they lend the other tab no height
            control.setProperty("visible", batch)
        ui.whatTabs.setProperty("enabled", free or busy_folder)
        for control in (ui.modelSection, ui.advancedSection, ui.environmentRow, ui.makeBox):
            control.setProperty("enabled", free)

    def about(self, about: Optional[About]) -> None:
        """Show what a model says, or that none is known."""
        ui = self._ui
        ui.aboutLabel.setProperty("text", about_html(about) if about else "")
        ui.aboutLabel.setProperty("visible", about is not None)
        ui.patchEdit.setProperty("placeholderText", (about and about.patch) or "the model\u2019s")
        ui.strideEdit.setProperty("placeholderText", (about and about.stride) or "half the patch")
        if about and about.level is not None and not ui.windowCheck.property("checked"):
            ui.levelSpin.setProperty("value", about.level)
            ui.widthSpin.setProperty("value", about.width)

    def verdict(self, good: Optional[bool], words: str) -> None:
        """Show what a test of the environment found; None: nothing yet."""
        mark = {None: "", True: "\u2713 ", False: "\u2717 "}[good]
        self._ui.verdictLabel.setProperty("text", mark + words)
        self._ui.verdictLabel.setProperty("visible", bool(words))

    def kind(self) -> None:
        """Show the paths that the chosen kind of model needs."""
        onnx = not self._ui.kindBox.property("currentIndex")
        for name in ("config", "checkpoint", "onnx"):
            for part in ("Label", "Path"):
                getattr(self._ui, name + part).setProperty("visible", onnx == (name == "onnx"))
