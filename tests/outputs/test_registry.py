from __future__ import annotations

import subprocess
import sys

import pytest
from support.made_up import make_frame

from itk_infer.errors import ConfigError
from itk_infer.outputs.opening import open_outputs
from itk_infer.outputs.registry import LABELS, OUTPUTS, case_outputs, needs, run_outputs
from itk_infer.outputs.tables.table import CaseRow, FolderView
from itk_infer.run.settings import RunSettings
from itk_infer.spec import Label


def test_the_table_imports_nothing_heavy() -> None:
    code = "import sys, itk_infer.outputs.registry; print(*{'numpy', 'SimpleITK', 'zarr'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


@pytest.mark.parametrize("kind", case_outputs(), ids=lambda kind: kind.name)
def test_outputs_of_a_case_need_what_the_table_says(kind, tmp_path) -> None:
    path = tmp_path / kind.file_name("a", ".mha", "same")
    sink, *_ = open_outputs([(kind.name, path)], make_frame())  # a label map in memory may follow
    assert sink.needs_logits == ("logits" in needs([kind.name]))
    sink.abort()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", run_outputs(), ids=lambda kind: kind.name)
def test_outputs_of_a_run_write_the_file_that_the_table_names(kind, tmp_path) -> None:
    view = FolderView([CaseRow("a.mha", 0.5, 0.5)], {"labels.csv": [Label(1, "liver", "#e6194b", 1)]})
    tables = kind.load()(view)
    assert next(iter(tables)) == kind.ending  # the report has two more
    for name, table in tables.items():
        table.write(tmp_path / name)
        assert (tmp_path / name).stat().st_size


@pytest.mark.parametrize(
    ("suffix", "label_format", "name"),
    [
        (".nii.gz", "same", "a.nii.gz"),
        (".mhd", "same", "a.mha"),
        (".nhdr", "same", "a.nrrd"),
        (".nii", "seg.nrrd", "a.seg.nrrd"),
    ],
)
def test_the_label_map_alone_follows_image_and_format(suffix, label_format, name) -> None:
    assert OUTPUTS[LABELS].file_name("a", suffix, label_format) == name
    assert OUTPUTS["logits"].file_name("a", suffix, label_format) == "a.zarr"


def test_keywords_and_names_ask_for_the_same(tmp_path) -> None:
    by_keyword = RunSettings(tmp_path, tmp_path, save_logits=True, save_conf=True)
    by_name = RunSettings(tmp_path, tmp_path, save=("workbook", "logits"))
    assert by_keyword.outputs == by_name.outputs == ("labels", "logits", "label_table", "workbook")
    assert RunSettings(tmp_path, tmp_path).outputs == ("labels", "label_table")
    with pytest.raises(ConfigError, match="save 'logit': no such output; there are labels, logits, "):
        RunSettings(tmp_path, tmp_path, save=("logit",))
