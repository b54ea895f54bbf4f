from __future__ import annotations

import re
from pathlib import Path

import pytest

from itk_infer.outputs.registry import OUTPUTS

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("kind", OUTPUTS.values(), ids=lambda kind: kind.name)
def test_the_overview_has_every_output_with_its_flag(kind):
    overview = re.search(r"```text\n(.*?)```", (DOCS / "outputs.md").read_text("utf-8"), re.DOTALL)[1]
    ending = kind.ending or ".nii.gz"
    lines = [line for line in overview.splitlines() if line.split("  ")[0].rstrip("/").endswith(ending)]
    assert lines
    assert all(flag in lines[0] for flag in kind.flags)
    assert all(f"`{flag}`" in (DOCS / "command.md").read_text("utf-8") for flag in kind.flags)
