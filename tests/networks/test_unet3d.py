from __future__ import annotations

import importlib.util

import pytest

torch = pytest.importorskip("torch")


def test_the_weights_that_exist_fit(networks, shared):
    weights = torch.load(shared / "demo" / "hippocampus_unet_state_dict.pth", weights_only=True)
    network = networks.UNet3D()
    assert list(network.state_dict()) == list(weights)
    network.load_state_dict(weights)
    assert sum(parameter.numel() for parameter in network.parameters()) == 87_779


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_it_is_the_network_that_those_weights_were_trained_in(networks, shared, norm):
    path = shared / "demo" / "unet3d_reference.py"
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location("unet3d_reference", path))
    module.__spec__.loader.exec_module(module)
    torch.manual_seed(0)
    reference = module.UNet3D(2, 5, 4, {"instance": "in", "batch": "bn"}[norm]).eval()
    network = networks.UNet3D(in_channels=2, n_classes=5, base=4, norm=norm).eval()
    network.load_state_dict(reference.state_dict())
    inputs = torch.randn(2, 2, 8, 12, 16)
    with torch.no_grad():
        assert torch.equal(network(inputs), reference(inputs))
