"""The example command of CONTRIBUTING.md works as it is printed there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import SimpleITK as sitk

from itk_infer.cli import main as program

PAGE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"
IMPORTS = """
from pathlib import Path

import click

from itk_infer.cli.options import PATH, GroupedCommand, option
"""


def test_the_command_of_the_page_lists_cases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = re.findall(r"^```\n(@click\.command.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    module = ModuleType("cases_of_contributing")
    exec(IMPORTS + source, module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(program.COMMANDS, "cases", (module.__name__, "cases_command", "List cases."))
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 3, 4), np.int16)), tmp_path / "a.mha")
    assert program.main(("cases", str(tmp_path))) == 0
    assert capsys.readouterr().out == "a.mha\n"
