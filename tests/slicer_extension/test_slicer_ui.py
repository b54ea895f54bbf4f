from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

CONTROLS = {
    "QPushButton", "QComboBox", "QCheckBox", "QDoubleSpinBox", "QLineEdit", "QTableWidget", "QTabWidget",
    "QPlainTextEdit", "ctkPathLineEdit", "ctkCollapsibleButton", "qMRMLNodeComboBox",
}  # fmt: skip


@pytest.fixture(scope="module")
def tree(extension):
    return ElementTree.parse(extension / "ItkInfer" / "Resources" / "UI" / "ItkInfer.ui").getroot()


@pytest.fixture(scope="module")
def widgets(tree):
    return {widget.get("name"): widget for widget in tree.iter("widget")}


def text_of(widget, name):
    return next((p.findtext("string") for p in widget.findall("property") if p.get("name") == name), None)


def test_every_name_that_the_code_uses_is_there(extension, widgets):
    used = {name + "Check" for name in ("recursive", "logits", "overwrite")}
    for file in ("widget.py", "choices.py", "display.py", "wiring.py"):
        source = (extension / "ItkInfer" / "ItkInferLib" / file).read_text()
        used |= set(re.findall(r"\b_?ui\.(\w+)", source))
        used |= set(re.findall(r'"(\w+Path)"', source)) - {"currentPath"}
    assert len(used) > 35
    assert used - set(widgets) == set()


def test_every_control_has_a_tooltip_that_says_something(widgets):
    bare = [name for name, widget in widgets.items() if widget.get("class") in CONTROLS
            and len(text_of(widget, "toolTip") or "") < 15]  # fmt: skip
    assert bare == []


def test_the_tab_order_is_the_order_on_the_screen(tree, widgets):
    stops = [stop.text for stop in tree.find("tabstops")]
    on_screen = [name for name, widget in widgets.items() if widget.get("class") in CONTROLS]
    assert stops == on_screen


def test_labels_lead_to_their_controls(tree, widgets):
    buddies = [p.findtext("cstring") for p in tree.iter("property") if p.get("name") == "buddy"]
    assert len(buddies) > 12
    assert [name for name in buddies if widgets[name].get("class") not in CONTROLS] == []


def test_the_scene_reaches_the_selector(tree, widgets):
    found = {
        tuple(each.findtext(part) for part in ("sender", "signal", "receiver")) for each in tree.iter("connection")
    }
    assert ("ItkInfer", "mrmlSceneChanged(vtkMRMLScene*)", "volumeSelector") in found
    assert {name for sender, _, receiver in found for name in (sender, receiver)} <= set(widgets)


def test_it_loads_and_is_narrow(panel_module):
    import stand_ins

    top, ui = stand_ins.load_ui()
    assert ui.runButton.isEnabled() is False
    # Slicer's panel on a screen that is 1280 pixels wide leaves about 480.
    assert top.minimumSizeHint().width() < 480
    chain, widget = [], ui.whatTabs
    for _ in range(400):
        if widget.objectName():
            chain.append(widget.objectName())
        widget = widget.nextInFocusChain()
        if widget is ui.whatTabs:
            break
    order = [
        name for name in chain if name in ("volumeSelector", "onnxPath", "runButton", "cancelButton", "makeButton")
    ]
    assert order == ["volumeSelector", "onnxPath", "runButton", "cancelButton", "makeButton"]
