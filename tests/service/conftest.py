"""A server for tests that need no settings of their own."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi", reason="the extra `server` is not installed")
pytest.importorskip("httpx", reason="the tests of the server need httpx")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def client(tmp_path_factory, scratch):
    """A server with one model, `sign`, which labels what is above zero."""
    from support.servers import serving

    from itk_infer.testing.faulty import FaultyModel

    with serving(tmp_path_factory.mktemp("server") / "home", {"sign": FaultyModel(scratch)}) as client:
        yield client
