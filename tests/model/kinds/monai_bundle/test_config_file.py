"""Configs are read within limits, and as plain values."""

from __future__ import annotations

import pytest

from itk_infer.errors import ModelError
from itk_infer.model.kinds.monai_bundle.config_file import MAX_BYTES, read_config

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)

MERGED = (
    "m0: &m0 {"
    + ", ".join(f"k{n}: 1" for n in range(10))
    + "}\n"
    + "".join(f"m{n}: &m{n}\n  <<: [{', '.join([f'*m{n - 1}'] * 10)}]\n" for n in range(1, 9))
)


def written(folder, name, text):
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_json_and_yaml(tmp_path):
    assert read_config(written(tmp_path, "a.json", '{"a": [1, "$x"]}')) == {"a": [1, "$x"]}
    pytest.importorskip("yaml")
    text = "a: &same [1, $x]\nb: *same\nc: {on: true}\nd: &d {x: 1}\ne: {<<: *d, y: 0x10}\n"
    found = {"a": [1, "$x"], "b": [1, "$x"], "c": {True: True}, "d": {"x": 1}, "e": {"x": 1, "y": 16}}
    assert read_config(written(tmp_path, "a.yaml", text)) == found


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        pytest.param("a.yaml", BOMB, "more than 100000 values", id="aliases of aliases"),
        pytest.param("a.yaml", MERGED, "100000 entries after merging", id="merge keys of merge keys"),
        pytest.param("a.yaml", "a: 1" + ":1" * 5000, "1000 digits", id="a number to base 60"),
        pytest.param("a.yaml", "a: &a [*a]", "levels|values", id="an alias of itself"),
        pytest.param("a.yaml", "a: !!python/object/apply:os.system ['true']", "not valid", id="a tag of Python"),
        pytest.param("a.json", "[" * 100_000, "not valid", id="deep"),
        pytest.param("a.json", '{"a": ' + "[" * 150 + "]" * 150 + "}", "100 levels", id="too deep for a config"),
        pytest.param("a.json", "[1]", "not a mapping", id="a list"),
        pytest.param("a.json", "{", "not valid", id="cut off"),
    ],
)
def test_what_is_refused(tmp_path, name, text, words):
    if name.endswith("yaml"):
        pytest.importorskip("yaml")
    with pytest.raises(ModelError, match=words):
        read_config(written(tmp_path, name, text))


def test_a_gigabyte_is_not_read(tmp_path):
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(2**30)  # takes no room on most file systems
    with pytest.raises(ModelError, match=f"at most {MAX_BYTES}"):
        read_config(path)


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        read_config(tmp_path / "missing.json")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="is no text"):
        read_config(tmp_path / "b.json")
