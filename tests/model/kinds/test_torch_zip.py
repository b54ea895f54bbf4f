"""Files of torch.save read without torch: the same values, and nothing that is in them is run."""

from __future__ import annotations

import copyreg
import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from itk_infer.errors import ModelError
from itk_infer.model.kinds import pickle_length
from itk_infer.model.kinds.checkpoint import read_arrays

torch = pytest.importorskip("torch", reason="its files are the subject")


def saved(path: Path, content) -> Path:
    torch.save(content, path)
    return path


def with_pickle(path: Path, pickled: bytes, storages: dict[str, bytes] | None = None) -> Path:
    """A file as torch.save lays it out, with this pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, content in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", content)
        archive.writestr("archive/version", "3\n")
    return path


# --- values ----------------------------------------------------------------------------------------

DTYPES = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool", "bfloat16"]


@pytest.mark.parametrize("name", DTYPES)
def test_every_type_of_values(tmp_path, name):
    values = torch.tensor([[0, 1, 2.5], [-3, 4, 100]]).to(getattr(torch, name))
    (found,) = read_arrays(saved(tmp_path / "a.pth", [values])).content
    expected = values.float() if name == "bfloat16" else values
    assert found.dtype == expected.numpy().dtype
    np.testing.assert_array_equal(found, expected.numpy())


def test_views_of_one_storage(tmp_path):
    base = torch.arange(24.0).reshape(2, 3, 4)
    content = {
        "whole": base,
        "transposed": base.permute(2, 0, 1),
        "part": base[1, 1:, ::2],
        "one": base[1, 2, 3],
        "none": base[:0],
        "wide": base[0, 0, :1].expand(5),
        "parameter": torch.nn.Parameter(base[0]),
    }
    found = read_arrays(saved(tmp_path / "a.pth", content)).content
    assert list(found) == list(content)
    for name, value in content.items():
        np.testing.assert_array_equal(found[name], value.detach().numpy(), err_msg=name)


def test_plain_values_and_state_dicts(tmp_path):
    state = torch.nn.BatchNorm2d(3).state_dict()
    content = {
        "state": state,
        "numbers": [1, 2**40, -(2**80), 0.5, True, None],
        "text": "ä",
        "tuple": (1, (2, 3, 4, 5)),
        "set": {1, 2},
        "ordered": OrderedDict(a=1),
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "numpy": [np.float32(1.5), np.arange(3)],
    }
    found = read_arrays(saved(tmp_path / "a.pth", content)).content
    for name in ("numbers", "text", "tuple", "set", "ordered"):
        assert found[name] == content[name]
    assert {name: value.tolist() for name, value in found["state"].items()} == {
        name: value.tolist() for name, value in state.items()
    }


def test_arrays_are_read_again_after_their_memory_was_returned(tmp_path):
    values = torch.randn(300, 1000)
    read = read_arrays(saved(tmp_path / "a.pth", {"a": values}))
    np.testing.assert_array_equal(read.content["a"], values.numpy())
    read.release()
    np.testing.assert_array_equal(read.content["a"], values.numpy())


def test_a_file_of_the_other_byte_order(tmp_path):
    values = torch.randn(7)
    torch.serialization.set_default_load_endianness(None)
    pickled = zipfile.ZipFile(saved(tmp_path / "a.pth", [values])).read("a/data.pkl")
    path = with_pickle(tmp_path / "b.pth", pickled, {"0": values.numpy().astype(">f4").tobytes()})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/byteorder", "big")
    np.testing.assert_array_equal(read_arrays(path).content[0], values.numpy())


def test_a_file_of_torch_before_zip_files(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"a": torch.ones(2), "b": {"c": torch.ones(1, dtype=torch.bfloat16)}}, path,
               _use_new_zipfile_serialization=False)  # fmt: skip
    found = read_arrays(path).content
    assert (found["a"].tolist(), found["b"]["c"].tolist()) == ([1, 1], [1])


def test_a_file_of_torch_before_zip_files_without_torch(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(ModelError, match=r"a\.pth: is not a zip file.*only torch reads.*pip install"):
        read_arrays(path)


# --- pickles that run code -------------------------------------------------------------------------

MKDIR = b"cposix\nmkdir\n"


def attacks(marker: Path) -> dict[str, bytes]:
    """Pickles that make a folder where they are read by `pickle.loads`; protocol 2 unless an opcode is newer."""
    name = str(marker).encode()
    text = b"X" + struct.pack("<I", len(name)) + name
    return {
        "REDUCE": b"\x80\x02" + MKDIR + text + b"\x85R.",
        "INST": b"(" + text + b"iposix\nmkdir\n.",
        "OBJ": b"(" + MKDIR + text + b"o.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x05posix\x8c\x05mkdir\x93" + text + b"\x85R.",
        "EXT1": b"\x80\x02\x82\xf0" + text + b"\x85R.",
    }


@pytest.fixture
def extension():
    """A function under a number in the registry of extensions, as a program may have put it there."""
    copyreg.add_extension("posix", "mkdir", 0xF0)
    pickle.loads(b"\x80\x02\x82\xf0.")  # now in the cache, too, so that it is found without its name
    yield
    copyreg.remove_extension("posix", "mkdir", 0xF0)


@pytest.mark.parametrize("kind", ["REDUCE", "INST", "OBJ", "STACK_GLOBAL", "EXT1"])
def test_code_is_not_run(tmp_path, extension, kind):
    marker = tmp_path / "marker"
    pickled = attacks(marker)[kind]
    with pytest.raises(
        ModelError, match=r"evil\.pth: (refused, because loading it would call posix\.mkdir|cannot)"
    ):
        read_arrays(with_pickle(tmp_path / "evil.pth", pickled))
    assert not marker.exists()
    pickle.loads(pickled)  # the attack is real: pickle itself falls for it
    assert marker.exists()


class State:
    def __setstate__(self, state):
        raise AssertionError("was run")


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        pytest.param(pickle.dumps(State, 2), r"refused, because loading it would call \S*State", id="a class"),
        pytest.param(b"\x80\x02cbuiltins\neval\n.", "would call builtins.eval", id="a name alone"),
        pytest.param(b"\x80\x02c__builtin__\neval\n.", "would call builtins.eval", id="of Python 2"),
        pytest.param(b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85\x81.", "builtins.eval", id="NEWOBJ"),
        pytest.param(b"\x80\x02c_codecs\nencode\n}X\x01\x00\x00\x00aK\x01sb.", "a state", id="BUILD of a function"),
        pytest.param(b"\x80\x02]}b.", "a state is given", id="BUILD of a list"),
        pytest.param(b"\x80\x02X\x01\x00\x00\x00a)R.", "a str is called", id="REDUCE of a text"),
        pytest.param(b"\x80\x02]X\x01\x00\x00\x00aK\x01s.", "an item is put in a list", id="SETITEM of a list"),
        pytest.param(b"\x80\x02X\x04\x00\x00\x00evilQ.", "cannot be read", id="another persistent id"),
        pytest.param(b"\x80\x02(X\x06\x00\x00\x00moduleX\x01\x00\x00\x00aK\x00K\x00K\x01tQ.", "persistent id", id="a module"),
        pytest.param(b"Pevil\n.", "cannot be read", id="PERSID"),
        pytest.param(b"\x80\x02ccollections\nOrderedDict\nccollections\nOrderedDict\n\x85R.", "container is made of", id="no items"),
        pytest.param(b"\x80\x02", "cannot be read", id="cut"),
        pytest.param(b"", "cannot be read", id="empty"),
        pytest.param(b"\x80\x02X\xff\xff\xff\x7fa.", "cannot be read", id="text of 2 GiB"),
        pytest.param(b"\x80\x02j\xff\xff\xff\xff.", "cannot be read", id="nothing remembered"),
    ],
)  # fmt: skip
def test_other_pickles_are_refused(tmp_path, pickled, message):
    with pytest.raises(ModelError, match=message):
        read_arrays(with_pickle(tmp_path / "evil.pth", pickled))


def test_a_name_within_torch_is_not_called(tmp_path):
    pickled = b"\x80\x02ctorch\nload\nX\x01\x00\x00\x00a\x85R."
    with pytest.raises(ModelError, match=r"would call torch\.load"):
        read_arrays(with_pickle(tmp_path / "evil.pth", pickled))


def test_a_pickle_of_very_many_operations_is_refused_soon(tmp_path, monkeypatch):
    """Empty sets take 216 bytes of memory each, and one byte of the file."""
    monkeypatch.setattr(pickle_length, "MAX_OPERATIONS", 2000)
    path = with_pickle(tmp_path / "evil.pth", b"\x80\x02(" + b"\x8f" * 2000 + b"t.")
    with pytest.raises(ModelError, match=r"more than 2,000 operations"):
        read_arrays(path)
    with_pickle(path, b"\x80\x02(" + b"\x8f" * 1990 + b"t.")
    assert len(read_arrays(path).content) == 1990


# --- tensors that are none -------------------------------------------------------------------------


class Storage:
    def __init__(self, count, kind="FloatStorage", key="0"):
        self.pid = ("storage", getattr(torch, kind, kind), key, "cpu", count)


class Tensor:
    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, self.arguments


def tensor_file(path: Path, count: int, offset, size, stride, stored: int = 16, key: str = "0") -> Path:
    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return value.pid if isinstance(value, Storage) else None

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump([Tensor(Storage(count, key=key), offset, size, stride, False, OrderedDict())])
    return with_pickle(path, buffer.getvalue(), {"0": np.arange(stored, dtype=np.float32).tobytes()})


def test_a_tensor_that_was_pickled_here(tmp_path):
    (found,) = read_arrays(tensor_file(tmp_path / "a.pth", 16, 3, (2, 3), (6, 2))).content
    np.testing.assert_array_equal(found, [[3, 5, 7], [9, 11, 13]])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"count": 17}, "storage 0 is smaller than it should be"),
        ({"count": 2**62}, "storage 0 is smaller than it should be"),
        ({"count": -1}, "storage 0 is smaller"),
        ({"key": "1"}, "storage 1 is smaller than it should be, or missing"),
        ({"key": "../version"}, "or missing"),
        ({"offset": 11}, "reaches beyond its storage 0"),
        ({"offset": -1}, "a size that is none"),
        ({"size": (2, 2**62)}, "reaches beyond its storage"),
        ({"size": (2, -1)}, "a size that is none"),
        ({"size": (2,)}, "a size that is none"),
        ({"size": (2, 1.5)}, "a size that is none"),
        ({"stride": (2**62, 1)}, "reaches beyond its storage"),
        ({"stride": (-1, 1)}, "a size that is none"),
        ({"size": (2**62, 2**62), "stride": (0, 0)}, "cannot be read"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_tensors_outside_of_their_storage(tmp_path, changed, message):
    usual = {"count": 16, "offset": 5, "size": (2, 3), "stride": (3, 1)}
    with pytest.raises(ModelError, match=message):
        read_arrays(tensor_file(tmp_path / "a.pth", **{**usual, **changed}))


# --- archives --------------------------------------------------------------------------------------


def test_a_compressed_archive(tmp_path):
    source = saved(tmp_path / "a.pth", {"a": torch.zeros(10_000)})
    with zipfile.ZipFile(source) as read, zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as write:
        for entry in read.namelist():
            write.writestr(entry, read.read(entry))
    with pytest.raises(ModelError, match="is a compressed archive"):
        read_arrays(tmp_path / "b.pth")


def changed_directory(path: Path, name: str, **values: int) -> None:
    """Change fields of a member in the archive's directory."""
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02", 0, content.rindex(name.encode()))
    for field, value in values.items():
        struct.pack_into("<I", content, at + {"compressed": 20, "size": 24, "offset": 42}[field], value)
    path.write_bytes(content)


@pytest.mark.parametrize("beyond", [False, True])
def test_members_that_overlap(tmp_path, beyond):
    path = saved(tmp_path / "a.pth", {"a": torch.zeros(1000), "b": torch.ones(1000)})
    read_arrays(path)
    size = 5000 if not beyond else path.stat().st_size - 900
    changed_directory(path, "a/data/0", compressed=size, size=size)
    with pytest.raises(ModelError, match="overlaps another|archive's directory|compressed archive"):
        read_arrays(path)


def test_a_member_where_there_is_none(tmp_path):
    path = saved(tmp_path / "a.pth", {"a": torch.zeros(1000)})
    changed_directory(path, "a/data/0", offset=7)
    with pytest.raises(ModelError, match="overlaps another|not where the archive's directory says"):
        read_arrays(path)


@pytest.mark.parametrize("names", [[], ["a/data.pkl", "b/data.pkl"]], ids=["none", "two"])
def test_archives_of_others(tmp_path, names):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no weights")
        for name in names:
            archive.writestr(name, pickle.dumps({}, 2))
    with pytest.raises(ModelError, match=r"it has (no|several) data\.pkl"):
        read_arrays(path)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_a_file_that_was_cut_short(tmp_path, share):
    path = saved(tmp_path / "a.pth", {"a": torch.zeros(5000)})
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ModelError, match=r"a\.pth: cannot be read as a checkpoint.*copy or download it again"):
        read_arrays(path)


def test_no_file(tmp_path):
    with pytest.raises(ModelError, match="no such checkpoint"):
        read_arrays(tmp_path / "a.pth")
