"""Find the cases of a folder by file names; errors inside files are found when they are read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from itk_infer.case.case import Case
from itk_infer.errors import ConfigError, NoInputError
from itk_infer.run.passed_over import NAMED, PassedOver, label_map, readable, sentences
from itk_infer.run.picture_cases import CHANNEL, picture_cases, pictures_beside
from itk_infer.run.search import Search
from itk_infer.spec import InputSpec
from itk_infer.volume.formats import NIFTI, Format, format_of
from itk_infer.volume.names import SUFFIXES, is_picture, printable, split_suffix


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs in a folder, or the one input that was given.

    Attributes:
        cases: Cases to segment, sorted by name.
        passed: Inputs that are not segmented, with reasons, sorted by name.
        notes: Sentences for the user.
    """

    cases: tuple[Case, ...]
    passed: tuple[PassedOver, ...] = ()
    notes: tuple[str, ...] = ()


def find_cases(
    source: Path, output: Path | None, *, recursive: bool, wanted: InputSpec, case_name: str = ""
) -> Inputs:
    """Find the cases of a folder, or of one file, which is a case even if it is a label map.

    Args:
        source: Folder or file.
        output: Output folder, which is not searched; None: the output is one file.
        recursive: Search sub-folders, links to folders included.
        wanted: The model's input. Files of more than one channel are ``<case>_0000.ext``, ``<case>_0001.ext``,
            ...; so may be those of one channel, if the spec says so and all files of the folder are. A picture
            holds all its channels, see `picture_cases`; in a folder with volumes, it is a case for 2D models only.
        case_name: Template of the names of DICOM cases, with attributes in braces; empty: the folder's name.

    Raises:
        ConfigError: `source` does not exist, or is the output folder; no case has the channels of the model.
        NoInputError: there is no image.
    """
    if not source.exists():
        raise ConfigError(f"{source}: no such file or folder")
    whole_folder = source.is_dir()
    folder = source if whole_folder else source.parent
    if output is not None and output.exists() and folder.samefile(output):
        raise ConfigError(f"{output}: is also the input folder; results need a folder of their own")
    search = Search(output, recursive)
    numbered = len(wanted.channels) > 1 or wanted.numbered_files
    for path in _siblings(source) if numbered and not whole_folder else [source]:
        search.look_at(path)
    found, notes, passed = list(_images(search.images)), list[str](), search.passed
    pictures = [case for case in found if is_picture(case.paths[0].name)]
    found = [case for case in found if case not in pictures]
    if whole_folder and wanted.dimensions == 3 and (found or search.dicom):
        passed += pictures_beside(pictures)
        pictures = []
    if len(wanted.channels) > 1 or (numbered and all(CHANNEL.fullmatch(case.stem) for case in found)):
        found = _grouped(found, wanted.channels)
    pictures = picture_cases(pictures, wanted)
    found += pictures if whole_folder else [case for case in pictures if source in case.paths]
    if search.dicom:
        from itk_infer.run.dicom_cases import dicom_cases  # NumPy

        studies = dicom_cases(source, search.dicom, wanted, case_name, [item.name for item in passed])
        found += studies.cases
        notes = [*studies.notes, *(_no_images(search.others) if studies.series else [])]
        passed += studies.passed
    if whole_folder:
        # A channel may be a label map; a case that consists of nothing else is a result.
        results = [case for case in found if search.labels.keys() >= set(case.paths)]
        passed += [label_map(case.folder / case.paths[0].name, search.labels[case.paths[0]]) for case in results]
        found = [case for case in found if case not in results]
    passed.sort(key=lambda item: item.name)
    cases = tuple(sorted(_checked(found), key=lambda case: case.name))
    if not cases:
        raise NoInputError(_nothing(source, passed, recursive))
    takes = _takes(wanted.channels)
    if not search.dicom and all(case.problem is not None and takes in case.problem for case in cases):
        raise ConfigError(f"{source}: no case has the channels of the model: {cases[0].problem}")
    return Inputs(cases, tuple(passed), (*sentences(passed), *notes, *_labels_taken(cases, search.labels)))


def _no_images(others: Sequence[PurePosixPath]) -> Iterator[str]:
    """A sentence about files without an image beside DICOM files."""
    if others:
        names = ", ".join(printable(readable(path)) for path in others[:NAMED])
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        s = "s that hold" if len(others) > 1 else " that holds"
        yield f"passed over {len(others)} other file{s} no image: {names}{more}"


def _images(files: Sequence[tuple[PurePosixPath, Path]]) -> Iterator[Case]:
    """A case for each image; formats decide which files of a folder are one image."""
    of_one_format: dict[tuple[PurePosixPath, Format], list[Path]] = defaultdict(list)
    for below, path in files:
        form = format_of(path.name)
        if form is not None:
            of_one_format[below, form].append(path)
    groups = {
        group.path: Case(below, group.stem, form.split(group.path.name)[1], (group.path,), group.problem)
        for (below, form), paths in of_one_format.items()
        for group in form.group(paths)
    }
    return (groups[path] for _, path in files if path in groups)


def _nothing(source: Path, passed: Sequence[PassedOver], recursive: bool) -> str:
    """The message if there is no case."""
    there = "".join(f"; {sentence}" for sentence in sentences(passed))
    deeper = "" if recursive or not source.is_dir() else "; `recursive` also searches its sub-folders"
    return f"No input files found in {source}: looked for {', '.join(SUFFIXES)} and DICOM{there}{deeper}"


def _labels_taken(cases: Sequence[Case], labels: Mapping[Path, str]) -> Iterator[str]:
    """A sentence about label maps that are segmented because they were given by name."""
    taken = [path for case in cases for path in case.paths if path in labels]
    if taken:
        names = ", ".join(printable(path.name) for path in taken[:NAMED])
        more = f" and {len(taken) - NAMED} more" if len(taken) > NAMED else ""
        yield f"taken as images, as their names ask for it: {names}{more} ({labels[taken[0]]})"


def _siblings(source: Path) -> list[Path]:
    """All channel files of the case that a channel file belongs to."""
    match = CHANNEL.fullmatch(split_suffix(source.name)[0])
    if match is None:
        return [source]
    others = {path: CHANNEL.fullmatch(split_suffix(path.name)[0]) for path in sorted(source.parent.iterdir())}
    return [path for path, other in others.items() if other and other["case"] == match["case"]]


def _takes(names: Sequence[str]) -> str:
    """What a case needs, for the problem of one that has other channels; names may be empty."""
    listed = f" ({', '.join(names)})" if all(names) else ""
    return f"the model takes {len(names)} channel{'s' if len(names) > 1 else ''}{listed}"


def _grouped(files: list[Case], names: Sequence[str]) -> list[Case]:
    """One case per set of channel files; `names` are names of the channels, which may be empty."""
    channels, takes = len(names), _takes(names)
    groups: dict[tuple[PurePosixPath, str], dict[int, Case]] = defaultdict(dict)
    ambiguous: dict[tuple[PurePosixPath, str], str] = {}
    cases = []
    for file in files:
        match = CHANNEL.fullmatch(file.stem)
        if match is None and channels > 1 and _holds(file, channels):
            cases.append(replace(file, volumes=channels))
            continue
        if match is None:
            wanted = f"{file.stem}_0000{file.suffix} to {file.stem}_{channels - 1:04d}{file.suffix}"
            cases.append(replace(file, problem=f"{takes}: name the files {wanted}"))
            continue
        members = groups[file.folder, match["case"]]
        number = int(match["channel"])
        if number in members:
            names = f"{members[number].paths[0].name} and {file.paths[0].name}"
            ambiguous[file.folder, match["case"]] = f"channel {number} exists twice: {names}"
        members.setdefault(number, file)
    for (folder, stem), members in groups.items():
        paths = tuple(members[number].paths[0] for number in sorted(members))
        missing = sorted(set(range(channels)) - set(members))
        extra = sorted(set(members) - set(range(channels)))
        problem = ambiguous.get((folder, stem))
        if members.keys() == {0} and channels > 1 and _holds(members[0], channels):
            cases.append(Case(folder, stem, members[0].suffix, paths, problem, volumes=channels))
            continue
        if problem is None and missing:
            problem = f"channel file {stem}_{missing[0]:04d} is missing; {takes}"
        elif problem is None and extra:
            problem = f"{stem}_{extra[0]:04d} is one channel too many; {takes}"
        cases.append(Case(folder, stem, members[min(members)].suffix, paths, problem))
    return cases


def _holds(file: Case, channels: int) -> bool:
    """Whether a file is a 4D image with a volume for each channel."""
    if file.problem is not None or file.suffix not in NIFTI:
        return False
    from itk_infer.volume.read import volumes_in  # NumPy

    return volumes_in(file.paths[0]) == channels


def _checked(cases: list[Case]) -> Iterator[Case]:
    """Set the problem of cases that would write the same file, or whose name is not valid."""
    names: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        # On some file systems, Case.nii and case.nii are the same file.
        names[(case.folder / case.stem).as_posix().casefold()].append(case)
    for case in cases:
        try:
            case.name.encode("utf-8")
        except UnicodeEncodeError:
            problem = "its file name is not valid UTF-8; rename it"
            yield replace(case, stem=readable(case.stem), problem=problem)
            continue
        rivals = [other for other in names[(case.folder / case.stem).as_posix().casefold()] if other is not case]
        if rivals and case.problem is None:
            other = rivals[0].paths[0].name
            problem = f"would write the same outputs as {other}; rename one of the two, or move it away"
            yield replace(case, problem=problem)
        else:
            yield case
