"""The ItkInfer module of 3D Slicer: the classes that Slicer loads. The code is in ItkInferLib."""

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
    """Title, category and help text of the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "ItkInfer"
        parent.categories = ["Segmentation"]
        parent.dependencies = []
        parent.contributors = ["The itk_infer developers"]
        parent.helpText = HELP
        parent.acknowledgementText = THANKS


class ItkInferWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Builds the panel, and closes it with the module or the scene."""

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
        """Stop the run of a volume, which is removed with the scene."""
        if self.panel is not None:
            self.panel.scene_closes()

    def enter(self):
        """Refresh the panel when the user opens the module again: files may have appeared."""
        if self.panel is not None:
            self.panel.refresh()

    def cleanup(self):
        """Stop running programs when the module is unloaded."""
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()
            self.panel = None


class ItkInferLogic(ScriptedLoadableModuleLogic):
    """Required by Slicer; the logic of this module is in ItkInferLib."""


class ItkInferTest(ScriptedLoadableModuleTest):
    """A test that runs inside Slicer; code that does not need Slicer is tested with pytest."""

    def runTest(self):
        """Build the panel in an empty scene: its headline must name what is missing, and Run must be disabled."""
        slicer.mrmlScene.Clear()
        slicer.util.selectModule("ItkInfer")
        panel = slicer.modules.ItkInferWidget.panel
        panel.refresh()
        self.assertTrue(panel.ui.headlineLabel.property("text"))
        self.assertFalse(panel.ui.runButton.property("enabled"))
        self.delayDisplay("ItkInfer says what is missing.")
