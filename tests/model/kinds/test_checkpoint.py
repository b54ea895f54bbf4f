from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itk_infer.errors import ModelError
from itk_infer.model.kinds import pickle_length
from itk_infer.model.kinds.checkpoint import load_state_dict

torch = pytest.importorskip("torch", reason="needs the mmengine extra")


class Call:
    """Unpickling this calls `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


def repacked(source: Path, target: Path, compression: int, old: bytes = b"", new: bytes = b"") -> Path:
    with zipfile.ZipFile(source) as read, zipfile.ZipFile(target, "w", compression) as write:
        for entry in read.namelist():
            write.writestr(entry, read.read(entry).replace(old, new) if old else read.read(entry))
    return target


STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "norm.num_batches_tracked": torch.tensor(4)}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        pytest.param(STATE, [], id="plain"),
        pytest.param({"state_dict": STATE, "meta": {"epoch": 3}}, [], id="runner"),
        pytest.param({"model": STATE, "epoch": 3}, ["the weights under model were loaded"], id="model"),
        pytest.param({"network_weights": STATE}, ["the weights under network_weights were loaded"], id="nnunet"),
        pytest.param(
            {"ema": {"a": torch.ones(1)}, "model": STATE, "optimizer": {"state": {}}},
            ["the weights under model were loaded; those under ema are not used"],
            id="averaged beside",
        ),
        pytest.param({"generator": STATE, "step": 1}, ["the weights under generator were loaded"], id="only set"),
    ],
)
@pytest.mark.parametrize("as_zip", [True, False])
def test_where_training_programs_put_the_weights(tmp_path, document, words, as_zip):
    path = tmp_path / "weights.pth"
    torch.save(document, path, _use_new_zipfile_serialization=as_zip)

    loaded, notes = load_state_dict(path)

    assert loaded.keys() == STATE.keys()
    assert all(torch.equal(loaded[name], value) for name, value in STATE.items())
    assert notes == [f"weights.pth: {word}" for word in words]


def test_two_sets_of_weights_under_names_that_say_nothing_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"generator": STATE, "discriminator": STATE}, path)
    with pytest.raises(ModelError, match="generator, discriminator are something else"):
        load_state_dict(path)


@pytest.mark.parametrize("as_zip", [True, False])
@pytest.mark.parametrize("kind", ["system", "eval"])
def test_a_pickle_that_runs_code_is_refused_and_runs_nothing(tmp_path, kind, as_zip):
    marker = tmp_path / "marker"
    calls = {
        "system": Call(os.system, f"echo x > '{marker}'"),
        "eval": Call(eval, f"open({str(marker)!r}, 'w').close()"),
    }
    path = tmp_path / "evil.pth"
    torch.save(
        {"state_dict": {"weight": torch.ones(2)}, "message_hub": calls[kind]},
        path,
        _use_new_zipfile_serialization=as_zip,
    )

    with pytest.raises(ModelError, match=rf"evil\.pth: refused.*call \S*\b{kind}, .*torch\.save"):
        load_state_dict(path)
    assert not marker.exists()

    torch.load(path, weights_only=False)  # the attack is real: an unsafe reader falls for it
    assert marker.exists()


@pytest.mark.parametrize("as_zip", [True, False])
def test_very_many_tensors_are_refused_before_torch_reads_them(tmp_path, monkeypatch, as_zip):
    """A million take minutes."""
    path = tmp_path / "many.pth"
    values = torch.zeros(1000)
    torch.save({f"k{i}": values[i : i + 1] for i in range(1000)}, path, _use_new_zipfile_serialization=as_zip)
    assert len(load_state_dict(path)[0]) == 1000
    monkeypatch.setattr(pickle_length, "MAX_OPERATIONS", 10_000)
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(ModelError, match=r"more than 10,000 operations"):
        load_state_dict(path)


def test_a_bare_pickle_is_refused_as_well(tmp_path):
    marker = tmp_path / "marker"
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(Call(os.mkdir, str(marker))))
    with pytest.raises(ModelError):
        load_state_dict(path)
    assert not marker.exists()


def test_getattr_in_a_file_reaches_no_attribute(tmp_path):
    # MMEngine's files name getattr, so it is allowed; it must not be the real one.
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": {"weight": Call(getattr, torch.ones(3), "shape")}}, path)
    with pytest.raises(ModelError, match="weight are something else"):
        load_state_dict(path)


@pytest.mark.parametrize("core", [b"numpy._core.", b"numpy.core."], ids=["numpy 2", "numpy 1"])
def test_numpy_numbers_of_both_numpy_generations(tmp_path, core):
    path = tmp_path / "weights.pth"
    torch.save(
        {"state_dict": {"w": torch.ones(2)}, "loss": np.float64(0.5), "history": np.arange(3)},
        tmp_path / "new.pth",
    )
    repacked(tmp_path / "new.pth", path, zipfile.ZIP_STORED, b"numpy._core.", core)
    assert torch.equal(load_state_dict(path)[0]["w"], torch.ones(2))


def test_a_checkpoint_of_the_runner(trained_checkpoint):
    inside = torch.serialization.get_unsafe_globals_in_checkpoint(trained_checkpoint)
    assert "mmengine.logging.history_buffer.HistoryBuffer" in inside  # else this proves nothing
    loaded, _ = load_state_dict(trained_checkpoint)
    assert len(loaded) == 40
    assert all(name.startswith("network.") for name in loaded)


def test_the_averaged_weights_are_the_ones_taken(trained_checkpoint):
    raw = torch.load(trained_checkpoint, weights_only=False)["ema_state_dict"]
    start = torch.load(trained_checkpoint.with_name("start.pth"), weights_only=True)["state_dict"]
    loaded, _ = load_state_dict(trained_checkpoint)

    def moved(state, prefix=""):
        return sum(float((state[prefix + name] - value).abs().sum()) for name, value in start.items())

    # An average over the training so far lags behind the weights that were trained.
    assert 0 < moved(loaded) < 0.5 * moved(raw, "module.")


def save_text(path: Path) -> None:
    path.write_text("<html>not found</html>")


def save_cut(path: Path) -> None:
    torch.save({"weight": torch.ones(4000)}, path)
    path.write_bytes(path.read_bytes()[:8000])


def save_compressed(path: Path) -> None:
    torch.save({"weight": torch.zeros(4_000_000)}, path.with_suffix(".plain"))
    repacked(path.with_suffix(".plain"), path, zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize(
    ("save", "message"),
    [
        (save_text, "cannot be read as a checkpoint"),
        (save_cut, "cannot be read as a checkpoint"),
        (save_compressed, "compressed archive"),
        (lambda path: path.write_bytes(b""), "cannot be read as a checkpoint"),
        (lambda path: torch.save(torch.ones(3), path), "holds a Tensor, not weights"),
        (lambda path: torch.save({}, path), "holds an empty mapping, not weights"),
        (lambda path: torch.save({"epoch": 3, "optimizer": {}}, path), "epoch, optimizer are something else"),
        (
            lambda path: torch.save({"state_dict": {}, "epoch": 3}, path),
            "a mapping with the keys state_dict, epoch",
        ),
        (lambda path: None, "no such checkpoint"),
    ],
    ids=[
        "text",
        "cut short",
        "compressed",
        "empty",
        "a tensor",
        "an empty mapping",
        "no weights",
        "weights of nothing",
        "absent",
    ],
)
def test_what_is_no_checkpoint_is_said_in_a_sentence(tmp_path, save, message):
    path = tmp_path / "weights.pth"
    save(path)
    with pytest.raises(ModelError, match=message) as caught:
        load_state_dict(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_torch_with_known_holes_reads_nothing(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    torch.save({"weight": torch.ones(1)}, path)
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.9.1+cpu"))
    with pytest.raises(ModelError, match=r"needs torch 2\.10 or newer, and this is 2\.9\.1"):
        load_state_dict(path)


def test_safetensors(tmp_path):
    writer = pytest.importorskip("safetensors.torch")
    path = tmp_path / "weights.safetensors"
    writer.save_file({"weight": torch.ones(2)}, path)
    assert torch.equal(load_state_dict(path)[0]["weight"], torch.ones(2))
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        load_state_dict(path)


def test_safetensors_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "safetensors.torch", None)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"")
    with pytest.raises(ModelError, match="pip install safetensors"):
        load_state_dict(path)
