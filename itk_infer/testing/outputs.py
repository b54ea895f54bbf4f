"""Tests that every output must pass."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from itk_infer.errors import OutputError
from itk_infer.outputs.sink import OutputHeader, Sink
from itk_infer.testing.made_up import make_header, ranges
from itk_infer.volume.slab import DecidedSlab

SIZE = (9, 6, 7)
Arrays = dict[str, NDArray[Any]]


class OutputTests:
    """Tests of an output: subclass this class and implement `make` and `check`.

    Attributes:
        file_name: Name of the file, or folder, that the output writes.
    """

    file_name = "case.mha"

    def make(self, path: Path, header: OutputHeader) -> Sink:
        """Make the output under test, which writes `path`."""
        raise NotImplementedError

    def check(self, path: Path, header: OutputHeader, arrays: Arrays) -> None:
        """Raise an AssertionError if the file does not hold the case.

        Args:
            path: The file.
            header: The header that was passed to `make`.
            arrays: ``labels`` (Z, Y, X), ``masks`` (L, Z, Y, X) and ``logits`` (C, Z, Y, X) in the axes of
                the file.
        """
        raise NotImplementedError

    def arrays(self, seed: int = 0) -> Arrays:
        """Random arrays of a case, in the orientation of its slabs."""
        random = np.random.default_rng(seed)
        labels = random.choice(np.array([0, 1, 2], np.uint8), SIZE)
        logits = random.normal(0, 5, (2, *SIZE)).astype(np.float16)
        return {"labels": labels, "masks": np.stack([labels == 1, labels == 2]), "logits": logits}

    def fill(self, sink: Sink, arrays: Arrays, heights: Sequence[int] = (4,), stop: int = SIZE[0]) -> None:
        """Write the slabs of a case to an output, up to plane `stop`."""
        for first, last in ranges(stop, heights):
            planes = slice(first, last)
            slab = DecidedSlab(first, arrays["labels"][planes], arrays["masks"][:, planes])
            if sink.needs_logits:
                slab = DecidedSlab(first, slab.labels, slab.masks, arrays["logits"][:, planes])
            sink.write(slab)

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """Path of the output, in an empty folder."""
        (tmp_path / "out").mkdir()
        return tmp_path / "out" / self.file_name

    @pytest.mark.parametrize("heights", [(9,), (1,), (2, 3)], ids=str)
    @pytest.mark.parametrize("code", ["LPI", "LPS", "RAS", "AIR", "SLA", "PSR", None])
    def test_the_file_holds_the_case(self, path: Path, code: str | None, heights: tuple[int, ...]) -> None:
        """In any orientation and for any height of slabs; no other files are left in the folder."""
        header, arrays = make_header(SIZE, code), self.arrays()
        sink = self.make(path, header)
        self.fill(sink, arrays, heights)
        assert not path.exists()  # the final name is given to complete files only
        assert sink.commit() == path
        sink.abort()
        assert list(path.parent.iterdir()) == [path]
        self.check(path, header, {name: header.reorientation.apply(array) for name, array in arrays.items()})

    @pytest.mark.parametrize("planes", [0, 4, 9])
    def test_an_aborted_output_leaves_nothing(self, path: Path, planes: int) -> None:
        """At any time, and also if it is aborted repeatedly."""
        sink = self.make(path, make_header(SIZE))
        self.fill(sink, self.arrays(), stop=planes)
        sink.abort()
        sink.abort()
        assert list(path.parent.iterdir()) == []

    def test_a_former_file_stays_until_the_new_one_is_complete(self, path: Path) -> None:
        """It is then replaced as a whole."""
        header = make_header(SIZE, None)
        former, new = self.arrays(1), self.arrays(2)
        first, aborted, last = (self.make(path, header) for _ in range(3))
        self.fill(first, former)
        first.commit()
        self.fill(aborted, new, stop=4)
        aborted.abort()
        self.check(path, header, former)
        self.fill(last, new)
        self.check(path, header, former)
        last.commit()
        self.check(path, header, new)
        assert list(path.parent.iterdir()) == [path]

    def test_missing_planes_are_a_fault(self, path: Path) -> None:
        """The error is one of the program, not of the case."""
        sink = self.make(path, make_header(SIZE))
        self.fill(sink, self.arrays(), stop=4)
        with pytest.raises(RuntimeError):
            sink.commit()
        sink.abort()
        assert list(path.parent.iterdir()) == []

    @pytest.mark.parametrize("first", [0, 2, 4], ids=["repeated", "overlapping", "gap"])
    def test_slabs_out_of_order_are_a_fault(self, path: Path, first: int) -> None:
        """The output expects plane 3 next."""
        arrays = self.arrays()
        sink = self.make(path, make_header(SIZE))
        self.fill(sink, arrays, (3,), 3)
        planes = slice(first, first + 2)
        logits = arrays["logits"][:, planes] if sink.needs_logits else None
        with pytest.raises(RuntimeError):
            sink.write(DecidedSlab(first, arrays["labels"][planes], arrays["masks"][:, planes], logits))
        sink.abort()
        assert list(path.parent.iterdir()) == []

    def test_what_it_needs_and_does_not_get_is_a_fault(self, path: Path) -> None:
        """Logits are computed only for outputs that request them."""
        sink = self.make(path, make_header(SIZE))
        if sink.needs_logits:
            with pytest.raises(RuntimeError):
                sink.write(DecidedSlab(0, self.arrays()["labels"]))
        sink.abort()

    def test_a_folder_that_is_no_folder_is_an_error(self, path: Path) -> None:
        """It is an `OutputError`, which fails the case and not the run."""
        path.parent.rmdir()
        path.parent.touch()
        with pytest.raises(OutputError):  # noqa: PT012 - as soon as it is noticed
            sink = self.make(path, make_header(SIZE))
            try:
                self.fill(sink, self.arrays())
                sink.commit()
            finally:
                sink.abort()
        assert path.parent.read_bytes() == b""

    @pytest.mark.skipif(os.name == "nt", reason="links need privileges on Windows")
    def test_a_link_is_replaced_and_not_followed(self, path: Path) -> None:
        """The target of the link must not be changed."""
        precious = path.parent.parent / "precious"
        precious.write_text("yes")
        path.symlink_to(precious)
        sink = self.make(path, make_header(SIZE))
        self.fill(sink, self.arrays())
        sink.commit()
        assert not path.is_symlink()
        assert precious.read_text() == "yes"
