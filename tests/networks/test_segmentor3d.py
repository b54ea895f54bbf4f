from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")


@pytest.fixture
def segmentor(networks):
    torch.manual_seed(0)
    return networks.Segmentor3D(network={"type": "UNet3D", "base": 2, "n_classes": 3})


def test_tensor_mode_is_the_network(segmentor):
    inputs = torch.randn(2, 1, 8, 8, 8)
    assert torch.equal(segmentor(inputs), segmentor.network(inputs))
    assert all(name.startswith("network.") for name in segmentor.state_dict())


def test_predict_mode_gives_a_label_map_a_case_with_its_truth(segmentor):
    inputs, truth = torch.randn(2, 1, 8, 8, 8), torch.randint(0, 3, (2, 8, 8, 8))
    cases = segmentor(inputs, {"labels": truth}, mode="predict")
    logits = segmentor(inputs)
    for index, case in enumerate(cases):
        assert torch.equal(case["predicted"], logits[index].max(dim=0).indices)
        assert torch.equal(case["labels"], truth[index])
    assert [set(case) for case in segmentor(inputs, mode="predict")] == [{"predicted"}, {"predicted"}]


def test_a_few_steps_on_one_case_lower_the_loss(segmentor):
    truth = torch.zeros(1, 8, 8, 8, dtype=torch.int64)
    truth[:, 2:5, 2:6, 2:6] = 1
    truth[:, 5:7, 2:6, 2:6] = 2
    inputs = truth[:, None].float() + 0.1 * torch.randn(1, 1, 8, 8, 8)
    optimizer = torch.optim.Adam(segmentor.parameters(), 0.02)
    losses = []
    for _ in range(40):
        loss = segmentor(inputs, {"labels": truth}, mode="loss")["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_a_network_and_a_loss_may_be_modules(networks):
    class Zero(torch.nn.Module):
        def forward(self, logits, labels):
            return logits.sum() * 0

    segmentor = networks.Segmentor3D(torch.nn.Conv3d(1, 2, 1), Zero())
    assert segmentor(torch.ones(1, 1, 2, 2, 2), {"labels": None}, mode="loss") == {"loss": 0}


@pytest.mark.parametrize("mode", ["loss", "elsewhere"])
def test_a_mode_that_cannot_be_served_is_an_error(segmentor, mode):
    with pytest.raises(ValueError, match="mode must be tensor, predict, or loss with data_samples"):
        segmentor(torch.ones(1, 1, 8, 8, 8), mode=mode)
