"""Stand-ins for Slicer's Qt, made with PySide6: enough to load the panel, press its buttons and draw it.

The stand-ins have those properties and signals of Slicer's widgets that the panel uses.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Qt, Signal, Slot
from PySide6.QtUiTools import QUiLoader

EXTENSION = Path(__file__).resolve().parent.parent
UI = EXTENSION / "ItkInfer" / "Resources" / "UI" / "ItkInfer.ui"


class qMRMLWidget(QtWidgets.QWidget):
    """The top of a panel."""

    mrmlSceneChanged = Signal("vtkMRMLScene*")


class qMRMLNodeComboBox(QtWidgets.QComboBox):
    """Chooses a node of the scene."""

    currentNodeChanged = Signal(object)

    @Slot("vtkMRMLScene*")
    def setMRMLScene(self, scene):
        """The connection of the .ui file ends here."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._nodes = [None]
        self.addItem("Choose a volume")
        self.currentIndexChanged.connect(lambda _: self.currentNodeChanged.emit(self.currentNode()))

    def currentNode(self):
        return self._nodes[self.currentIndex()]

    def setCurrentNode(self, node):
        if node not in self._nodes:
            self._nodes.append(node)
            self.addItem(node.GetName())
        self.setCurrentIndex(self._nodes.index(node))


class ctkPathLineEdit(QtWidgets.QWidget):
    """A path, and a button to look for one."""

    currentPathChanged = Signal(str)

    def __init__(self, parent=None):
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        self._edit = QtWidgets.QLineEdit()
        browse = QtWidgets.QToolButton(text="\u2026")
        row.addWidget(self._edit)
        row.addWidget(browse)
        self._edit.textChanged.connect(self.currentPathChanged)
        self.setFocusPolicy(Qt.StrongFocus)
        self.setFocusProxy(self._edit)

    def _path(self):
        return self._edit.text()

    def _set_path(self, path):
        self._edit.setText(path)

    currentPath = Property(str, _path, _set_path)


class ctkCollapsibleButton(QtWidgets.QWidget):
    """A headline that shows and hides the widgets below it."""

    contentsCollapsedChanged = Signal(bool)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._text, self._collapsed = "", False
        self.setFocusPolicy(Qt.StrongFocus)
        self.setContentsMargins(4, 28, 4, 4)

    def _get_text(self):
        return self._text

    def _set_text(self, text):
        self._text = text
        self.update()

    def _get_collapsed(self):
        return self._collapsed

    def _set_collapsed(self, collapsed):
        self._collapsed = collapsed
        self.fold()

    text = Property(str, _get_text, _set_text)
    collapsed = Property(bool, _get_collapsed, _set_collapsed)

    def fold(self):
        self.setMaximumHeight(24 if self._collapsed else 16777215)
        self.setMinimumHeight(24 if self._collapsed else 0)
        for child in self.findChildren(QtWidgets.QWidget, options=Qt.FindDirectChildrenOnly):
            if self._collapsed:
                child.setProperty("folded", True)
                child.setVisible(False)
            elif child.property("folded"):
                child.setProperty("folded", False)
                child.setVisible(True)

    def paintEvent(self, _event):
        painter = QtGui.QPainter(self)
        painter.setPen(self.palette().color(QtGui.QPalette.Mid))
        painter.setBrush(self.palette().color(QtGui.QPalette.Button))
        painter.drawRoundedRect(QtCore.QRect(1, 1, self.width() - 3, 21), 3, 3)
        painter.setPen(self.palette().color(QtGui.QPalette.ButtonText))
        arrow = "\u25b8" if self._collapsed else "\u25be"
        painter.drawText(QtCore.QRect(8, 0, self.width() - 16, 23), Qt.AlignVCenter, f"{arrow}  {self._text}")


STAND_INS = {
    each.__name__: each for each in (qMRMLWidget, qMRMLNodeComboBox, ctkPathLineEdit, ctkCollapsibleButton)
}


class Loader(QUiLoader):
    """Loads a .ui file with the stand-ins, in place of Slicer's widgets."""

    def createWidget(self, name, parent=None, object_name=""):
        if name not in STAND_INS:
            return super().createWidget(name, parent, object_name)
        widget = STAND_INS[name](parent)
        widget.setObjectName(object_name)
        return widget


class Settings(QtCore.QObject):
    """QSettings that are not stored."""

    kept: dict = {}

    def value(self, name):
        return self.kept.get(name)

    def setValue(self, name, value):
        self.kept[name] = value


def load_ui():
    """Load the widget tree.

    Returns:
        The top widget, and its controls as attributes, as from `slicer.util.childWidgetVariables`.
    """
    tree = Loader().load(str(UI))
    children = {child.objectName(): child for child in tree.findChildren(QtWidgets.QWidget) if child.objectName()}
    for section in tree.findChildren(ctkCollapsibleButton):
        section.fold()
    return tree, types.SimpleNamespace(**children)


def stand_in_qt():
    """Install a module `qt`, and return the module of the panel."""
    qt = types.ModuleType("qt")
    for source in (QtCore, QtGui, QtWidgets):
        qt.__dict__.update({name: getattr(source, name) for name in dir(source) if name.startswith("Q")})
    qt.QSettings = Settings
    sys.modules["qt"] = qt
    sys.path.insert(0, str(EXTENSION / "ItkInfer"))
    from ItkInferLib import widget, wiring

    wiring.connect = lambda sender, signal, slot: getattr(sender, signal.split("(")[0]).connect(slot)
    return widget
