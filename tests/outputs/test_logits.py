from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support import child_environment
from support.made_up import CODES, make_frame, ranges, slab_grid

from itk_infer.errors import OutputError
from itk_infer.outputs import logits as logits_module
from itk_infer.outputs.logits import LogitsSink, read_logits
from itk_infer.outputs.sink import OutputHeader, Sink
from itk_infer.volume.slab import DecidedSlab
from itk_infer.volume.volume import grid_of, image_of

SIZE = (9, 6, 7)
Logits = NDArray[np.float16]


@pytest.fixture(scope="module", autouse=True)
def small_chunks() -> Iterator[None]:
    """So that a small case has many chunks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logits_module, "CHUNK_SIDE", 4)
        patch.setattr(logits_module, "CHUNK_CHANNELS", 3)
        yield


def random_logits(channels: int, size: tuple[int, int, int], seed: int = 0) -> Logits:
    return np.random.default_rng(seed).normal(0, 5, (channels, *size)).astype(np.float16)


def fill(sink: Sink, logits: Logits, heights: list[int]) -> None:
    for first, last in ranges(logits.shape[1], heights):
        labels = np.zeros((last - first, *logits.shape[2:]), np.uint8)
        sink.write(DecidedSlab(first, labels, logits=logits[:, first:last]))


def write(path: Path, frame: OutputHeader, logits: Logits, heights: list[int]) -> None:
    sink: Sink = LogitsSink(path, frame)
    assert sink.needs_logits
    before = path.exists()
    fill(sink, logits, heights)
    assert path.exists() is before
    assert sink.commit() == path
    sink.abort()
    assert list(path.parent.iterdir()) == [path]


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(*[st.integers(1, 10)] * 3),
    code=st.sampled_from(CODES),
    channels=st.integers(1, 5),
    heights=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_file_is_the_full_array_turned(
    tmp_path_factory: pytest.TempPathFactory,
    size: tuple[int, int, int],
    code: str,
    channels: int,
    heights: list[int],
    seed: int,
) -> None:
    logits = random_logits(channels, size, seed)
    path = tmp_path_factory.mktemp("case") / "case.zarr"
    write(path, make_frame(size, code, channels=channels), logits, heights)
    found, grid = read_logits(path)
    for channel, expected in zip(found, logits, strict=True):
        image = sitk.DICOMOrient(image_of(expected.astype(np.float32), slab_grid(size)), code)
        np.testing.assert_array_equal(channel, sitk.GetArrayFromImage(image))
        assert grid.same_as(grid_of(image))


@pytest.mark.parametrize("code", CODES)
def test_every_orientation(tmp_path: Path, code: str) -> None:
    logits = random_logits(2, SIZE)
    frame = make_frame(SIZE, code)
    write(tmp_path / "case.zarr", frame, logits, [3, 1, 5])
    found, grid = read_logits(tmp_path / "case.zarr")
    np.testing.assert_array_equal(found, frame.reorientation.apply(logits))
    assert grid == frame.grid


def test_layout_and_attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(logits_module, "CHUNK_SIDE", 64)
    monkeypatch.setattr(logits_module, "CHUNK_CHANNELS", 8)
    frame = make_frame((70, 3, 130), "ASR", channels=10)
    write(tmp_path / "case.zarr", frame, random_logits(10, (70, 3, 130)), [13])
    array = zarr.open_array(tmp_path / "case.zarr", mode="r")
    assert array.shape == (10, *frame.grid.size)
    assert sorted(array.chunks[1:]) == [3, 64, 64]
    assert array.chunks[0] == 8
    document = json.loads((tmp_path / "case.zarr" / "zarr.json").read_text())
    assert document["zarr_format"] == 3
    assert document["data_type"] == "float16"
    assert document["dimension_names"] == ["c", "z", "y", "x"]
    assert [codec["name"] for codec in document["codecs"]] == ["bytes", "blosc"]
    assert document["codecs"][1]["configuration"]["cname"] == "lz4"
    known = document["attributes"]
    assert known["format_version"] == 1
    assert known["orientation"] == "ASR"
    assert known["spacing_zyx"] == list(frame.grid.spacing)
    assert known["labels"][1] == {"value": 2, "name": "label 2", "color": "#e6194b", "channel": 1}
    assert known["about"] == {"model": "made up 1.0"}


def test_memory_is_one_row_of_chunks(tmp_path: Path) -> None:
    sink = LogitsSink(tmp_path / "case.zarr", make_frame((400, 3, 5), "ASR"))
    held = sum(value.nbytes for value in vars(sink).values() if isinstance(value, np.ndarray))
    assert held == 2 * 4 * 3 * 5 * 2
    sink.abort()


def test_values_that_compare_oddly_are_kept(tmp_path: Path) -> None:
    logits = np.zeros((2, *SIZE), np.float16)
    logits[0] = -0.0
    logits[1, 0], logits[1, 1] = np.nan, -np.inf
    write(tmp_path / "case.zarr", make_frame(SIZE, None), logits, [4])
    found, _ = read_logits(tmp_path / "case.zarr")
    np.testing.assert_array_equal(found.view(np.uint16), logits.view(np.uint16))


def test_chunk_of_zeros_is_a_file(tmp_path: Path) -> None:
    write(tmp_path / "case.zarr", make_frame(SIZE, None), np.zeros((2, *SIZE), np.float16), [4])
    assert len([file for file in tmp_path.rglob("*") if file.is_file()]) == 3 * 2 * 2 + 1


def test_former_array_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "case.zarr"
    write(path, make_frame((20, 6, 7), None), random_logits(2, (20, 6, 7)), [4])
    logits = random_logits(2, SIZE, seed=1)
    write(path, make_frame(SIZE, None), logits, [4])
    np.testing.assert_array_equal(read_logits(path)[0], logits)
    chunks = [file for file in path.rglob("*") if file.is_file() and file.name != "zarr.json"]
    assert len(chunks) == 3 * 2 * 2


@pytest.mark.skipif(os.name == "nt", reason="links need privileges on Windows")
def test_link_is_replaced_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "precious").write_text("yes")
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "case.zarr"
    path.symlink_to(target)
    sink = LogitsSink(path, make_frame(SIZE, None))
    fill(sink, random_logits(2, SIZE), [4])
    sink.commit()
    assert not path.is_symlink()
    assert [file.name for file in target.iterdir()] == ["precious"]


def test_abort_leaves_nothing_and_the_former_array(tmp_path: Path) -> None:
    path = tmp_path / "case.zarr"
    former = random_logits(2, SIZE)
    write(path, make_frame(SIZE, None), former, [4])
    sink = LogitsSink(path, make_frame(SIZE, None))
    sink.write(DecidedSlab(0, np.zeros((5, *SIZE[1:]), np.uint8), logits=former[:, :5]))
    with pytest.raises(RuntimeError, match="5 of 9"):
        sink.commit()
    sink.abort()
    sink.abort()
    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(read_logits(path)[0], former)


def test_slabs_without_logits_and_gaps_are_faults(tmp_path: Path) -> None:
    sink = LogitsSink(tmp_path / "case.zarr", make_frame(SIZE))
    labels = np.zeros((3, *SIZE[1:]), np.uint8)
    with pytest.raises(RuntimeError, match="logits"):
        sink.write(DecidedSlab(0, labels))
    with pytest.raises(RuntimeError, match="2 channels"):
        sink.write(DecidedSlab(0, labels, logits=np.zeros((1, 3, *SIZE[1:]), np.float16)))
    with pytest.raises(RuntimeError, match="plane 0"):
        sink.write(DecidedSlab(2, labels, logits=np.zeros((2, 3, *SIZE[1:]), np.float16)))
    sink.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["header", "voxel", "lost"])
def test_chunk_damaged_on_the_way_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    sink = LogitsSink(tmp_path / "case.zarr", make_frame(SIZE, None))
    writes = zarr.Array.__setitem__

    def spoils(self: zarr.Array, where: object, value: object) -> None:
        writes(self, where, value)
        # The first chunk is a whole one: the last byte of another may be padding, which is nobody's voxel.
        chunk = min(f for f in tmp_path.rglob("*") if f.is_file() and f.name != "zarr.json")
        data = bytearray(chunk.read_bytes())
        data[{"header": 4, "voxel": -1, "lost": 0}[damage]] ^= 0x10
        chunk.write_bytes(data)
        if damage == "lost":
            chunk.unlink()

    monkeypatch.setattr(zarr.Array, "__setitem__", spoils)
    with pytest.raises(OutputError, match="read back"):
        fill(sink, random_logits(2, SIZE), [4])
    sink.abort()
    assert list(tmp_path.iterdir()) == []


def test_header_damaged_on_the_way_to_disk(tmp_path: Path) -> None:
    for text in ("", "{", None):
        sink = LogitsSink(tmp_path / "case.zarr", make_frame(SIZE, None))
        fill(sink, random_logits(2, SIZE), [4])
        header = next(tmp_path.rglob("zarr.json"))
        header.write_text(header.read_text().replace("150.0", "150.5") if text is None else text)
        with pytest.raises(OutputError, match="read back"):
            sink.commit()
        sink.abort()
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from support.made_up import make_frame
from itk_infer.errors import OutputError
from itk_infer.outputs.logits import LogitsSink
from itk_infer.volume.slab import DecidedSlab
limit = int(sys.argv[2])
sys.dont_write_bytecode = True  # it would be cut off at the limit, too, and stay
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
logits = np.random.default_rng(0).normal(0, 5, (2, 32, 32, 32)).astype(np.float16)
sink = None
try:
    sink = LogitsSink(Path(sys.argv[1], "case.zarr"), make_frame((32, 32, 32)))
    sink.write(DecidedSlab(0, np.zeros((32, 32, 32), np.uint8), logits=logits))
except OutputError as error:
    print(error)
if sink:
    sink.abort()
    print("aborted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize(("limit", "fails_in"), [(100, "header"), (20_000, "chunk")])
def test_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path, limit: int, fails_in: str) -> None:
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), str(limit)],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    assert "case.zarr: cannot be written" in child.stdout
    assert ("aborted" in child.stdout) is (fails_in == "chunk")
    assert list(tmp_path.iterdir()) == []


def test_what_waits_for_its_commit_holds_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logits_module, "CHUNK_SIDE", 64)
    logits = random_logits(4, (4, 128, 128))
    tracemalloc.start()
    try:
        sink = LogitsSink(tmp_path / "a.zarr", make_frame((4, 128, 128), channels=4))
        fill(sink, logits[:, :2], [2])
        held = tracemalloc.get_traced_memory()[0]
        assert held > logits.nbytes
        labels = np.zeros((2, 128, 128), np.uint8)
        sink.write(DecidedSlab(2, labels, logits=logits[:, 2:]))
        # Half of it as room: what zarr keeps of its own grows too, and differs by version.
        assert held - tracemalloc.get_traced_memory()[0] > logits.nbytes / 2
    finally:
        tracemalloc.stop()
    assert sink.commit().is_dir()


KILLED = """
import multiprocessing, os, sys
from pathlib import Path
multiprocessing.set_start_method("spawn")  # as in a worker: its semaphores have names, and are counted
import numpy as np
from support.made_up import make_frame
from itk_infer.outputs.logits import LogitsSink
from itk_infer.volume.slab import DecidedSlab
sink = LogitsSink(Path(sys.argv[1]), make_frame((4, 5, 6), "LPI", channels=2))
sink.write(DecidedSlab(0, np.zeros((4, 5, 6), np.uint8), logits=np.ones((2, 4, 5, 6), np.float16)))
sink.commit()
sys.stdout.write("written")
sys.stdout.flush()
os._exit(0)  # as a worker ends
"""


def test_a_worker_that_is_killed_leaves_nothing_to_complain_of(tmp_path: Path) -> None:
    words = [sys.executable, "-c", KILLED, str(tmp_path / "a.zarr")]
    done = subprocess.run(words, env=child_environment(), capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("written", "")
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.zarr", mode="r")[:], 1)
