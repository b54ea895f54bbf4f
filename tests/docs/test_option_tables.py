"""The option tables of the documentation agree with `Options`."""

from __future__ import annotations

import pytest
from support.option_tables import BLOCK, DOCS, PAGES, with_tables

from itk_infer.options import declared, default_of


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_tables_are_up_to_date(path):
    page = path.read_text("utf-8")
    assert BLOCK.search(page)
    assert with_tables(page) == page, "run: make tables"


@pytest.mark.parametrize("name", declared())
def test_every_flag_stands_in_a_table_with_its_default(name):
    about, default = declared()[name], default_of(name)
    rows = [line for line in (DOCS / "command.md").read_text("utf-8").splitlines() if line.startswith("| `-")]
    for flag in (*about.flags, *(short.flag for short in about.shorthands)):
        (row,) = (row for row in rows if f"`{flag}`" in row.split("|")[1] or f"`{flag} " in row.split("|")[1])
        if isinstance(default, str) and flag in about.flags:
            assert f"`{default}` |" in row
