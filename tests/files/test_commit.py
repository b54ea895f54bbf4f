from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from itk_infer.errors import LockLostError, OutputError
from itk_infer.files import commit
from itk_infer.files.commit import (
    commit_file,
    commit_folder,
    new_file,
    partial_path,
    sweep_partials,
    verified_by,
    write_bytes,
)

needs_links = pytest.mark.skipif(os.name == "nt", reason="links need privileges on Windows")


def folder_of(path: Path, **files: str) -> Path:
    path.mkdir()
    for name, text in files.items():
        (path / name).write_text(text)
    return path


def test_partial_stands_beside_the_file_and_keeps_its_extension(tmp_path: Path) -> None:
    final = tmp_path / "case.seg.nrrd"
    one, two = partial_path(final), partial_path(final)
    assert one.parent == tmp_path
    assert one.name.startswith(".partial-")
    assert one.name.endswith(".case.seg.nrrd")
    assert one != two


@pytest.mark.parametrize("stem", ["x" * 248, "ü" * 124, "像" * 82], ids=["1 byte", "2 bytes", "3 bytes"])
def test_partial_of_the_longest_name_can_still_be_made(tmp_path: Path, stem: str) -> None:
    final = tmp_path / f"{stem}.nii.gz"
    assert len(os.fsencode(final.name)) <= 255
    write_bytes(b"content", final)
    assert final.read_bytes() == b"content"
    assert len(list(tmp_path.iterdir())) == 1
    assert partial_path(final).name.endswith(".nii.gz")


def test_new_file_replaces_the_old_one(tmp_path: Path) -> None:
    final = tmp_path / "a.txt"
    final.write_text("old")
    with new_file(final) as partial:
        partial.write_text("new")
        assert final.read_text() == "old"
    assert final.read_text() == "new"
    assert list(tmp_path.iterdir()) == [final]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_new_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    write_bytes(b"x", tmp_path / "a.txt")
    (tmp_path / "b.txt").write_bytes(b"x")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == stat.S_IMODE((tmp_path / "b.txt").stat().st_mode)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_new_file_leaves_nothing_when_the_block_fails(tmp_path: Path, error: type[BaseException]) -> None:
    def fails() -> None:
        with new_file(tmp_path / "a.txt") as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        fails()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "disk is full"), (errno.EACCES, "permission denied")],
)
def test_file_system_errors_name_the_file_and_the_remedy(tmp_path: Path, number: int, words: str) -> None:
    final = tmp_path / "a.txt"
    with pytest.raises(OutputError, match=words) as caught, new_file(final):
        raise OSError(number, os.strerror(number))
    assert str(final) in str(caught.value)


def test_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="absent is not there"):
        write_bytes(b"x", tmp_path / "absent" / "a.txt")


def test_folder_of_that_name_is_not_overwritten_by_a_file(tmp_path: Path) -> None:
    final = folder_of(tmp_path / "a.txt", precious="yes")
    with pytest.raises(OutputError):
        write_bytes(b"x", final)
    assert (final / "precious").read_text() == "yes"
    assert list(tmp_path.iterdir()) == [final]


def test_bytes_that_read_back_differently_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda self: b"conten?")
    with pytest.raises(OutputError, match="read back"):
        write_bytes(b"content", tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []


def test_file_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partial, final = tmp_path / ".partial-0123456789ab.a", tmp_path / "a"
    partial.write_text("x")
    seen = []
    real = os.fsync
    monkeypatch.setattr(commit.os, "fsync", lambda handle: (seen.append(final.exists()), real(handle)))
    commit_file(partial, final)
    assert seen[0] is False
    assert final.read_text() == "x"


@needs_links
@pytest.mark.parametrize("dangling", [False, True])
def test_link_is_replaced_not_followed(tmp_path: Path, dangling: bool) -> None:
    target = tmp_path / "target"
    if not dangling:
        target.write_text("precious")
    final = tmp_path / "a.txt"
    final.symlink_to(target)
    write_bytes(b"new", final)
    assert not final.is_symlink()
    assert final.read_bytes() == b"new"
    assert target.exists() is not dangling
    assert dangling or target.read_text() == "precious"


def test_folder_replaces_folder_whole(tmp_path: Path) -> None:
    final = folder_of(tmp_path / "a.zarr", old="old", both="old")
    partial = folder_of(partial_path(final), both="new")
    commit_folder(partial, final)
    assert [path.name for path in final.iterdir()] == ["both"]
    assert (final / "both").read_text() == "new"
    assert list(tmp_path.iterdir()) == [final]


@needs_links
def test_folder_replaces_a_dangling_link(tmp_path: Path) -> None:
    final = tmp_path / "a.zarr"
    final.symlink_to(tmp_path / "absent")
    commit_folder(folder_of(partial_path(final), new="new"), final)
    assert not final.is_symlink()
    assert list(tmp_path.iterdir()) == [final]


@needs_links
def test_folder_replaces_the_link_and_leaves_its_target(tmp_path: Path) -> None:
    target = folder_of(tmp_path / "target", precious="yes")
    final = tmp_path / "a.zarr"
    final.symlink_to(target)
    commit_folder(folder_of(partial_path(final), new="new"), final)
    assert not final.is_symlink()
    assert (final / "new").read_text() == "new"
    assert (target / "precious").read_text() == "yes"
    assert sorted(tmp_path.iterdir()) == [final, target]


def test_folder_that_cannot_be_moved_in_leaves_the_old_one(tmp_path: Path) -> None:
    final = folder_of(tmp_path / "a.zarr", old="old")
    with pytest.raises(OutputError):
        commit_folder(tmp_path / ".partial-0123456789ab.absent", final)
    assert (final / "old").read_text() == "old"
    assert list(tmp_path.iterdir()) == [final]


def test_sweep_takes_partials_and_nothing_else(tmp_path: Path) -> None:
    case = tmp_path / "case.nii.gz"
    stale = partial_path(case)
    stale.write_text("half")
    stale_folder = folder_of(partial_path(tmp_path / "old.case.zarr"), chunk="half")
    kept = [case, tmp_path / ".partial-notes.txt", tmp_path / "x.partial-0123456789ab.y"]
    for path in kept:
        path.write_text("mine")
    deeper = folder_of(tmp_path / "sub") / partial_path(case).name
    deeper.write_text("half")

    assert set(sweep_partials(tmp_path)) == {stale, stale_folder}
    assert deeper.exists()
    assert sweep_partials(tmp_path, recursive=True) == [deeper]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
    assert sweep_partials(tmp_path / "absent") == []


@needs_links
def test_sweep_deletes_links_and_enters_none(tmp_path: Path) -> None:
    outside = folder_of(tmp_path / "outside", precious="yes")
    inside_outside = outside / partial_path(outside / "a").name
    inside_outside.write_text("not ours")
    folder = folder_of(tmp_path / "out")
    (folder / "link").symlink_to(outside)
    stale = partial_path(folder / "a.zarr")
    stale.symlink_to(outside)
    assert sweep_partials(folder, recursive=True) == [stale]
    assert (outside / "precious").exists()
    assert inside_outside.exists()


@pytest.mark.parametrize("track", [False, True], ids=["untracked", "tracked"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_nothing_gets_its_name_without_verification(tmp_path: Path, kind: str, track: bool) -> None:
    final, partial = tmp_path / "a", tmp_path / "p"
    if kind == "file":
        final.write_text("old")
    else:
        folder_of(final, x="old")
        folder_of(partial, x="new")

    def refuse() -> None:
        raise LockLostError("lost")

    def commit() -> None:
        if kind == "file":
            write_bytes(b"new", final, track=track)
        else:
            commit_folder(partial, final, track=track)

    with verified_by(refuse), pytest.raises(LockLostError):
        commit()
    assert (final if kind == "file" else final / "x").read_text() == "old"
    write_bytes(b"new", tmp_path / "b")  # outside the block, all is as ever
    assert (tmp_path / "b").read_bytes() == b"new"
