from __future__ import annotations

import pytest

from itk_infer.model.kinds.mmengine_network import quiet_imports


@pytest.fixture(scope="session")
def networks():
    """The package of networks, imported without the deprecations of what it rests on."""
    pytest.importorskip("mmengine")
    with quiet_imports():
        import itk_infer.networks

    return itk_infer.networks
