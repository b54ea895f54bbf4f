"""The report: what it says of awkward cases, and what a browser makes of it."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from support.chromium import Page

from itk_infer.outputs.tables.report import pictures
from itk_infer.outputs.tables.report.charts import histogram
from itk_infer.outputs.tables.report.entry import entries_of
from itk_infer.outputs.tables.report.files import tables
from itk_infer.outputs.tables.table import CaseRow, FolderView, MaskFacts, RunFacts
from itk_infer.spec import Label

NASTY = "<script>alert(\"1\")</script> & 'a'.nii.gz"
LABELS = [Label(1, 'left "upper", <b>lobe', "#e6194b", 1), Label(2, "=spleen", "#ffe119", 2)]


def row(name, confidence=0.9, review="", volumes=None):
    volumes = {label.name: 12.5 for label in LABELS} if volumes is None else volumes
    return CaseRow(name, 0.99, confidence, {}, volumes, review, name, "labels.csv")


def digest(index):
    return f"{index:064x}"


def view_of(*rows, folder=None, failed=None, picture=None, runs=(), **facts):
    size = (folder / picture).stat().st_size if picture else 0
    about = {
        r.mask: MaskFacts(
            digest(i),
            picture or "",
            (size, 0),
            {"network": 1.5, "write": 0.5},
            "2026-01-01T01:00:00+00:00",
            **facts,
        )
        for i, r in enumerate(rows)
    }
    return FolderView(rows, {"labels.csv": LABELS}, folder, about, runs, failed or {})


def write(view, folder):
    for name, table in tables(view).items():
        table.write(folder / name)
    return folder / "report.html"


def picture(folder, size=(480, 341), seed=0, name="a"):
    """A picture with as much detail as a card of a scan has."""
    random = np.random.default_rng(seed)
    smooth = random.normal(0, 1, (size[1] // 8, size[0] // 8)).cumsum(0).cumsum(1)
    smooth = (smooth - smooth.min()) / np.ptp(smooth) * 255
    array = np.asarray(Image.fromarray(smooth.astype(np.uint8)).resize(size)) + random.normal(0, 5, size[::-1])
    (folder / "pictures").mkdir(exist_ok=True)
    Image.fromarray(array.clip(0, 255).astype(np.uint8)).save(folder / "pictures" / f"{name}.webp", quality=78)
    return f"pictures/{name}.webp"


class Texts(HTMLParser):
    """The tags and texts of a page, as a browser has them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.attributes = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append(dict(attrs))

    def handle_data(self, data):
        self.texts.append(data)


def test_names_are_text_everywhere(tmp_path):
    page = write(view_of(row(NASTY, review=f"not found: {NASTY}"), failed={NASTY: NASTY}), tmp_path)
    found = Texts(page.read_text())
    assert found.tags.count("script") == 1  # the page's own
    assert found.tags.count("b") == 3 - 1  # of the case and of the failed one, none of a label
    assert any(attributes.get("data-case") == NASTY for attributes in found.attributes)
    assert NASTY in found.texts
    with (tmp_path / "report.csv").open(newline="") as file:
        (case,) = csv.DictReader(file)
    assert case["case"] == NASTY
    assert case['volume left "upper", <b>lobe (ml)'] == "12.5"
    assert json.loads((tmp_path / "report.json").read_text())["cases"][0]["case"] == NASTY


def test_a_spreadsheet_calculates_nothing(tmp_path):
    write(view_of(row("=1+1.nii.gz", review="-2")), tmp_path)
    with (tmp_path / "report.csv").open(newline="") as file:
        (case,) = csv.DictReader(file)
    assert (case["case"], case["reasons"]) == ("'=1+1.nii.gz", "'-2")


def test_worst_first_and_unknown_last():
    rows = [
        row("sure", 0.95),
        row("unknown", None),
        row("doubt", 0.8, "low confidence"),
        row("unsure", 0.7),
        row("worse", 0.6, "not found: liver"),
    ]
    rows[1] = CaseRow("unknown", None, None)
    entries = entries_of(view_of(*rows))
    assert [entry.row.file for entry in entries] == ["worse", "doubt", "unsure", "sure", "unknown"]


def test_a_mask_without_labels_and_one_of_300(tmp_path):
    many = {f"label {index}": index / 100 for index in range(1, 301)}
    page = write(
        view_of(row("none", None, "nothing was found", {}), row("many", volumes=many)), tmp_path
    ).read_text()
    assert "label 12 0.12 ml" in html.unescape(page)
    assert "and 288 more labels" in page
    assert page.count("<figure>") == 300
    with (tmp_path / "report.csv").open(newline="") as file:
        titles = next(csv.reader(file))
    assert sum(title.startswith("volume ") for title in titles) == 300


def test_json_has_a_schema_and_the_summary(tmp_path):
    run = RunFacts(
        "2026-01-01T00:00:00+00:00",
        "2026-01-01T01:00:01+00:00",
        ("itk_infer", "-i", "my scans"),
        {"numpy": "2.1"},
        "cpu",
        "liver 1.0",
    )
    view = view_of(
        row("a"), row("b", review="low confidence"), runs=[run], failed={"c": "damaged"}, verdict="accept"
    )
    write(view, tmp_path)
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["schema"] == "itk_infer.report/1"
    summary = document["summary"]
    assert (summary["cases"], summary["doubtful"], summary["failed"], summary["verdicts"]) == (
        2,
        1,
        1,
        {"accept": 2},
    )
    assert summary["throughput"] == pytest.approx(2)  # two cases in the hour after the run began
    assert summary["seconds"] == {"network": 1.5, "write": 0.5}
    assert summary["volume_ml"]["=spleen"] == {"cases": 2, "smallest": 12.5, "median": 12.5, "largest": 12.5}
    assert document["failed"] == {"c": "damaged"}
    page = (tmp_path / "report.html").read_text()
    assert "itk_infer -i &#x27;my scans&#x27;" in page
    assert "numpy 2.1" in page


def test_histograms_count():
    chart = histogram([0, 0, 0, 24], "#123456", "<liver>")
    bars = re.findall(r"M([\d.]+) 44v-([\d.]+)", chart)
    assert [(float(x), float(height)) for x, height in bars] == [(0, 44), (184, 14.7)]
    assert "&lt;liver&gt;" in chart
    assert 'd="M0.0 0V44"' in chart  # the median


def test_large_pictures_are_reduced(tmp_path):
    big = picture(tmp_path, (1290, 916))
    page = write(view_of(row("a"), folder=tmp_path, picture=big), tmp_path).read_text()
    data = re.search(r"data:image/webp;base64,([^\"]+)", page)[1]
    with Image.open(io.BytesIO(base64.b64decode(data))) as small:
        assert max(small.size) <= pictures.WIDTH
    assert f'href="{big}"' in page


def test_many_pictures_are_linked(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_CASES_INSIDE", 1)
    view = view_of(row("a"), row("b"), folder=tmp_path, picture=picture(tmp_path))
    page = write(view, tmp_path)
    assert "data:image" not in page.read_text()
    with Page() as browser:
        browser.open(page.as_uri())
        browser.wait("[...document.images].every((img) => img.complete)")
        assert browser.run("document.images[0].naturalWidth") == 480
        assert not browser.errors


def test_a_picture_that_cannot_be_read_is_left_out(tmp_path):
    name = picture(tmp_path)
    (tmp_path / name).write_bytes(b"no picture" * 10_000)
    page = write(view_of(row("a"), folder=tmp_path, picture=name), tmp_path)
    assert "<img" not in page.read_text()


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A page of three cases in a browser."""
    folder = tmp_path_factory.mktemp("report")
    view = view_of(
        row("a.nii.gz", 0.7),
        row(NASTY, 0.8, "not found: liver"),
        row("c.nii.gz", 0.9),
        folder=folder,
        picture=picture(folder),
    )
    page = write(view, folder)
    with Page() as browser:
        browser.address = page.as_uri()
        browser.open(browser.address)
        yield browser


def exported(page):
    """What the button for CSV would download."""
    code = """(async () => {
      let blob;
      const real = URL.createObjectURL;
      URL.createObjectURL = (given) => { blob = given; return real.call(URL, given); };
      HTMLAnchorElement.prototype.click = () => {};
      [...document.querySelectorAll("#tools button")][INDEX].click();
      URL.createObjectURL = real;
      return blob.text();
    })()"""
    return page.run(code.replace("INDEX", "0")), page.run(code.replace("INDEX", "1"))


def verdicts(page):
    return page.run("[...document.querySelectorAll('tbody tr')].map((row) => row.dataset.verdict || '')")


def test_keys_decide_and_the_browser_keeps_it(opened):
    for key in "rnanpx":
        opened.press(key)
    assert verdicts(opened) == ["review", "reject", ""]
    opened.press("p")
    opened.press("a", modifiers=2)  # Ctrl+A is the browser's
    assert verdicts(opened) == ["review", "reject", ""]
    opened.run("document.querySelector('textarea').value = '=look, \"here\"'")
    opened.run("document.querySelector('textarea').dispatchEvent(new Event('change'))")
    table, yaml = exported(opened)
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [(r["case"], r["mask"], r["sha256"], r["verdict"], r["note"]) for r in rows] == [
        (NASTY, NASTY, digest(1), "review", '\'=look, "here"'),
        ("a.nii.gz", "a.nii.gz", digest(0), "reject", ""),
    ]
    assert rows[0]["when"].startswith("20")
    assert yaml.count("- case: ") == 2
    assert f"case: {json.dumps(NASTY, ensure_ascii=False)}" in yaml
    opened.open(opened.address)
    assert verdicts(opened) == ["review", "reject", ""]
    opened.run("localStorage.clear()")
    opened.open(opened.address)
    assert verdicts(opened) == ["", "", ""]
    assert not opened.errors
    assert all(address.startswith(("file:", "data:")) for address in opened.requests)


def test_filters_and_search(opened):
    shown = "[...document.querySelectorAll('tbody tr')].filter((row) => !row.hidden).length"
    opened.run("document.querySelector('select').value = 'doubt'")
    opened.run("document.querySelector('select').dispatchEvent(new Event('change'))")
    assert opened.run(shown) == 1
    opened.run("document.querySelector('select').value = 'all'")
    opened.run("document.querySelector('input').value = 'C.NII'")
    opened.run("document.querySelector('input').dispatchEvent(new Event('input'))")
    assert opened.run(shown) == 1
    opened.run("document.querySelector('input').value = ''")
    opened.run("document.querySelector('input').dispatchEvent(new Event('input'))")
    assert opened.run(shown) == 3


def test_dark_light_and_print(opened):
    colours = []
    for scheme in ("light", "dark"):
        opened.emulate(prefers_color_scheme=scheme)
        colours.append(opened.run("getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(255, 255, 255)", "rgb(21, 24, 27)"]
    opened.emulate()
    opened._call("Emulation.setEmulatedMedia", media="print")
    assert opened.run("getComputedStyle(document.getElementById('bar')).display") == "none"
    opened._call("Emulation.setEmulatedMedia", media="")


def test_a_plain_table_without_javascript(tmp_path):
    page = write(view_of(row("a.nii.gz"), row("b.nii.gz", review="low confidence")), tmp_path)
    with Page(script=False) as browser:
        browser.open(page.as_uri())
        picture_of_it = tmp_path / "page.png"
        browser.screenshot(picture_of_it)
        with Image.open(picture_of_it) as image:
            assert len(image.convert("L").getcolors() or [0] * 300) > 20  # text is on it
    found = Texts(page.read_text())
    assert found.tags.count("tr") == 3
    assert "low confidence" in found.texts


def test_a_thousand_cases_open_quickly(tmp_path):
    volumes = {f"structure {index}": 10.0 + index for index in range(12)}
    rows = [
        row(f"case {index}.nii.gz", 0.5 + index / 2001, "low confidence" if index < 50 else "", volumes)
        for index in range(1000)
    ]
    names = [picture(tmp_path, seed=seed, name=str(seed)) for seed in range(20)]
    view = view_of(*rows, folder=tmp_path)
    sizes = [(tmp_path / name).stat().st_size for name in names]
    assert 12_000 < min(sizes) < max(sizes) < pictures.SMALL  # as the measured cards
    facts = {
        name: replace(facts, picture=names[index % 20], picture_stamp=(sizes[index % 20], 0))
        for index, (name, facts) in enumerate(view.facts.items())
    }
    page = write(replace(view, facts=facts), tmp_path)
    assert page.read_text().count("data:image/webp") == 1000
    assert page.stat().st_size < 30e6
    with Page() as browser:
        assert browser.open(page.as_uri()) < 20  # seconds; docs/quality.md has what was measured
        assert browser.run("document.querySelectorAll('tbody tr').length") == 1000


def test_the_verdict_of_a_calibration_and_the_agreement_of_members(tmp_path):
    """One word each, and what is known beside it; escaped, as everything."""
    cases = [
        replace(row("a"), verdict="accept: Dice 0.91 expected, 0.80 to 0.97", soft_dice=0.2, agreement=0.9),
        replace(row("b", review="low"), verdict="no verdict: <b>", soft_dice=0.9, agreement=0.1),
        replace(row("c", review="low"), agreement=None),
    ]
    page = write(view_of(*cases), tmp_path).read_text()
    assert (
        '<span class="word accept">accept</span> Dice 0.91 expected, 0.80 to 0.97; agreement of the members 0.90'
        in page
    )
    assert (
        '<span class="word look-first">look first</span> no verdict: &lt;b&gt;; agreement of the members 0.10'
        in page
    )
    assert page.count('<p class="judged">') == 3
    entries = entries_of(view_of(*cases))
    assert [entry.row.file for entry in entries] == ["b", "c", "a"]  # reasons first, then agreement
    assert entries[0].certainty == 0.1
    first = json.loads((tmp_path / "report.json").read_text())["cases"][0]
    assert (first["agreement"], first["calibrated_verdict"]) == (0.1, "no verdict: <b>")
    table = list(csv.DictReader(io.StringIO((tmp_path / "report.csv").read_text())))
    assert table[2]["calibrated verdict"].startswith("accept: Dice 0.91")
    assert table[2]["agreement"] == "0.9"
