"""The page of the server's interface is that of the server."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi", reason="the extra `server` is not installed")

from support.api_page import PAGE, text


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == text(), "run python tests/support/api_page.py"
