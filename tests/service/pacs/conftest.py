"""An Orthanc for tests that need none of their own."""

from __future__ import annotations

import pytest

pytest.importorskip("pydicom", reason="the objects of these tests are written by pydicom")


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    from support.orthanc import Orthanc

    with Orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server
