"""Dropout while a network infers: what it drops agrees with theory, is seeded, and touches nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from itk_infer.engine.activation import activated
from itk_infer.engine.agreement import Agreement
from itk_infer.errors import ConfigError
from itk_infer.options import Options
from itk_infer.spec import OutputSpec, parse_spec

torch = pytest.importorskip("torch", reason="torch is not installed")
from torch import nn  # noqa: E402

from itk_infer.model.runtimes.torch import TorchBackend, TorchModel  # noqa: E402
from itk_infer.model.runtimes.torch_dropout import dropout_layers  # noqa: E402

SCRIPTS = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
SIGMOID = {"output": {"decision": "threshold", "labels": [{"value": 1, "channel": 0}]}}
WINDOWS = np.ones((1, 1, 24, 24, 24), np.float32)
SHARE, WEIGHT = 0.4, 1.5  # dropped; of the one voxel that is not


def backend(*layers, document=SIGMOID):
    network = nn.Sequential(*layers)
    spec = parse_spec(document, "test")
    return TorchBackend(
        lambda: TorchModel(network, network, spec, "digest"), Options(device="cpu", provider="cpu")
    )


def planted(share=SHARE):
    """Dropout before one multiplication: a logit is 0, or the weight divided by what is kept."""
    convolution = nn.Conv3d(1, 1, 1, bias=False)
    nn.init.constant_(convolution.weight, WEIGHT)
    return nn.Dropout(share), convolution


def test_a_sample_drops_the_share_and_scales_what_is_kept():
    (sample, other) = backend(*planted()).dropout_samples(2)
    logits = sample.forward(WINDOWS)[0, 0]
    kept = WEIGHT / (1 - SHARE)
    assert set(np.round(np.unique(logits), 5)) == {0.0, round(kept, 5)}
    assert (logits == 0).mean() == pytest.approx(SHARE, abs=0.02)  # of 13,824 voxels: 5 standard deviations
    assert np.mean((other.forward(WINDOWS)[0, 0] == 0) == (logits == 0)) == pytest.approx(
        SHARE**2 + (1 - SHARE) ** 2, abs=0.03
    )  # independent


@pytest.mark.parametrize("count", [2, 4, 9])
def test_the_spread_of_samples_agrees_with_theory(count):
    """Mutual information of N samples of a Bernoulli variable, by the binomial distribution."""
    samples = backend(*planted()).dropout_samples(count)
    output = OutputSpec(decision="threshold")
    parts = [activated(sample.forward(WINDOWS)[0], output) for sample in samples]
    agreement = Agreement(
        OutputSpec(decision="threshold", threshold=0.01), (1 / count,) * count
    )  # all voxels count
    agreement.add(parts, np.mean(parts, axis=0))
    high = 1 / (1 + np.exp(-WEIGHT / (1 - SHARE)))

    def bits(share):
        return -(share * np.log2(share) + (1 - share) * np.log2(1 - share))

    dropped = np.arange(count + 1)
    means = (dropped * 0.5 + (count - dropped) * high) / count
    expected = binom.pmf(dropped, count, SHARE) @ (
        bits(means) - (dropped * bits(0.5) + (count - dropped) * bits(high)) / count
    )
    assert agreement.result().mutual_information == pytest.approx(expected, rel=0.03)
    assert np.mean(parts) == pytest.approx(SHARE * 0.5 + (1 - SHARE) * high, abs=0.005)


def test_the_same_calls_drop_the_same_and_disturb_no_other_random_numbers():
    model = backend(*planted())

    def answers(seed=0):
        return [sample.forward(WINDOWS) for sample in model.dropout_samples(3, seed) for _ in range(2)]

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second, other = answers(), answers(), answers(seed=1)
    assert torch.rand(1) == expected
    np.testing.assert_array_equal(first, second)
    assert len({answer.tobytes() for answer in (*first, *other)}) == 12  # of each call, and of each seed


def test_everything_else_stays_in_evaluation_mode():
    """Batch normalisation keeps to the statistics of the training, and does not learn."""
    norm = nn.BatchNorm3d(1)
    norm.running_mean.fill_(3.0)
    norm.running_var.fill_(4.0)
    model = backend(norm, nn.Dropout(0.5))
    (sample, _) = model.dropout_samples(2)
    answer = sample.forward(np.full_like(WINDOWS, 7.0))
    assert set(np.round(np.unique(answer), 3)) == {0.0, 4.0}  # (7 - 3) / 2, doubled where it is kept
    assert norm.running_mean.item() == 3.0
    assert norm.num_batches_tracked.item() == 0
    assert not any(module.training for module in model.as_module().modules() if module is not model.as_module())
    np.testing.assert_allclose(model.forward(np.full_like(WINDOWS, 7.0)), 2.0, rtol=1e-4)  # the model itself: none


def test_an_error_in_the_network_switches_dropout_off_again():
    class Breaks(nn.Module):
        def forward(self, inputs):
            raise ValueError("broken")

    dropout = nn.Dropout(0.5)
    network = nn.Sequential(dropout, Breaks())
    spec = parse_spec(SIGMOID, "test")
    model = TorchBackend(
        lambda: TorchModel(network, network, spec, "digest", channels_out=1), Options(device="cpu", provider="cpu")
    )
    with pytest.raises(Exception, match="broken"):
        model.dropout_samples(2)[0].forward(WINDOWS)
    assert not dropout.training


def test_networks_without_dropout_are_refused():
    for layers in ((nn.Conv3d(1, 1, 1),), (nn.Dropout(0.0), nn.Conv3d(1, 1, 1))):
        with pytest.raises(ConfigError, match="no dropout layers that drop anything"):
            backend(*layers).dropout_samples(2)


@SCRIPTS
def test_layers_of_every_kind_are_found_also_in_torchscript():
    kinds = nn.ModuleList([nn.Dropout(0.1), nn.Dropout3d(0.1), nn.AlphaDropout(0.1), nn.ReLU(), nn.Dropout(0)])
    assert len(dropout_layers(kinds)) == 3
    script = torch.jit.script(nn.Sequential(nn.Conv3d(1, 1, 1), nn.Dropout(0.5)))
    assert len(dropout_layers(script)) == 1


@SCRIPTS
def test_a_script_drops_too():
    (dropout, convolution) = planted()
    script = torch.jit.script(nn.Sequential(dropout, convolution).eval())
    spec = parse_spec(SIGMOID, "test")
    model = TorchBackend(
        lambda: TorchModel(script, script, spec, "digest", channels_out=1), Options(device="cpu", provider="cpu")
    )
    answer = model.dropout_samples(2)[0].forward(WINDOWS)
    assert (answer == 0).mean() == pytest.approx(SHARE, abs=0.03)
    assert (model.forward(WINDOWS) != 0).all()
