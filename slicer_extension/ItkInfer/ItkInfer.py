"""The ItkInfer module of 3D Slicer: what Slicer looks for. The work is done in ItkInferLib."""

from __future__ import annotations

import slicer
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

HELP = """Runs a trained segmentation network on a volume, or on a folder of images, and shows what it found as
named, coloured segments. The network runs in a program of its own, itk_infer, so Slicer stays usable, and
nothing is installed into Slicer. Begin with Environment: name where itk_infer is, or let one be made."""
THANKS = """By the itk_infer developers, under the Apache licence 2.0. Not a medical device: results are for
research and must be checked by a person who can judge them."""


class ItkInfer(ScriptedLoadableModule):
    """Name and place of the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "ItkInfer"
        parent.categories = ["Segmentation"]
        parent.dependencies = []
        parent.contributors = ["The itk_infer developers"]
        parent.helpText = HELP
        parent.acknowledgementText = THANKS


class ItkInferWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Loads the panel, and ends it with the module or the scene."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.panel = None

    def setup(self):
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        from ItkInferLib.scene import Scene
        from ItkInferLib.widget import Panel

        tree = slicer.util.loadUI(self.resourcePath("UI/ItkInfer.ui"))
        self.layout.addWidget(tree)
        tree.setMRMLScene(slicer.mrmlScene)
        self.panel = Panel(slicer.util.childWidgetVariables(tree), Scene())
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.on_scene_closes)

    def on_scene_closes(self, _caller, _event):
        """A volume that is at work will be gone."""
        if self.panel is not None:
            self.panel.scene_closes()

    def enter(self):
        """The user comes back: files may have appeared."""
        if self.panel is not None:
            self.panel.refresh()

    def cleanup(self):
        """The module goes: leave no program behind."""
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()
            self.panel = None


class ItkInferLogic(ScriptedLoadableModuleLogic):
    """Slicer expects a logic; ours is ItkInferLib, which needs no module."""


class ItkInferTest(ScriptedLoadableModuleTest):
    """Runs inside Slicer; what needs no Slicer is tested by pytest in the project."""

    def runTest(self):
        """Build the panel in an empty scene: it must say what is missing, and offer no run."""
        slicer.mrmlScene.Clear()
        slicer.util.selectModule("ItkInfer")
        panel = slicer.modules.ItkInferWidget.panel
        panel.refresh()
        self.assertTrue(panel.ui.headlineLabel.property("text"))
        self.assertFalse(panel.ui.runButton.property("enabled"))
        self.delayDisplay("ItkInfer says what is missing.")
