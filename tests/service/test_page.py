"""The page of the server in headless Chromium, with a real job; pixels are sampled."""

from __future__ import annotations

import io
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from support.chromium import Page
from support.servers import ThreeLabels, scan, serving

from itk_infer.service.guard import PAGE
from itk_infer.service.page_routes import ASSETS
from itk_infer.testing.faulty import FAULTS, FaultyModel

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("scratch")
    models = {"three": ThreeLabels(), "sign": FaultyModel(scratch)}
    with serving(tmp_path_factory.mktemp("server") / "home", models) as server:
        yield server


@contextmanager
def opened(server, width=900, height=700):
    with Page(width, height) as page:
        page.open(f"{server.base_url}/")
        page.wait("document.getElementById('model').options.length")
        yield page
        assert not page.errors
        own = (str(server.base_url), "data:", "blob:")
        assert all(address.startswith(own) for address in page.requests), page.requests


def text(page, name):
    return page.run(f"document.getElementById('{name}').textContent")


def choose(page, path, model):
    page.run(f"document.getElementById('model').value = '{model}'")
    page.choose("#file", path)


def halves(path):
    """An image whose patient's right half is bright, the left one dark."""
    array = np.full((20, 20, 20), -50, np.int16)
    array[..., :10] = 50
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


def colours_of(page, tmp_path):
    page.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    box = page.run(
        "(({x, y, width, height}) => [x, y, x + width, y + height])(document.getElementById('canvas').getBoundingClientRect())"
    )
    page.screenshot(tmp_path / "page.png")
    with Image.open(io.BytesIO((tmp_path / "page.png").read_bytes())) as image:
        return np.asarray(image.convert("RGB").crop([round(edge) for edge in box])).astype(int)


def test_an_image_is_sent_and_its_result_is_drawn(server, tmp_path):
    colours = {label["name"]: label["color"] for label in server.get("/v1/models").json()[0]["labels"]}
    with opened(server) as page:
        choose(page, halves(tmp_path / "<b onclick=x>.nii.gz"), "three")
        page.wait("document.body.dataset.shown")
        legend = text(page, "legend")
        page.run("document.getElementById('opacity').value = 100")
        page.run("document.getElementById('opacity').dispatchEvent(new Event('input'))")
        seen = colours_of(page, tmp_path)
        assert "liver4 ml" in legend
        assert "spleen4 ml" in legend
        assert "absent0 ml" in legend
        assert page.run("document.querySelectorAll('aside b').length") == 0
        assert page.run("document.getElementById('download').download") == "<b onclick=x>_mask.nii.gz"
        assert text(page, "problem") == ""
        found = {}
        for name, color in colours.items():
            rgb = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
            found[name] = abs(seen - rgb).max(axis=-1) <= 30
        assert found["liver"].mean() > 0.05
        assert found["spleen"].mean() > 0.05
        assert found["absent"].mean() < 0.01
        # The radiological view: where both are in one row, the patient's right, the bright half, is on the left.
        rows = np.nonzero(found["liver"].any(axis=1) & found["spleen"].any(axis=1))[0]
        assert len(rows) > 20
        assert all(found["liver"][row].argmax() < found["spleen"][row].argmax() for row in rows)
        page.run("document.getElementById('delete').click()")
        page.wait("document.getElementById('delete').hidden")
        assert server.get("/v1/jobs").json()["jobs"] == []


def test_a_refusal_and_a_failure_are_said(server, tmp_path):
    (tmp_path / "text.nii").write_text("hello")
    with opened(server) as page:
        choose(page, tmp_path / "text.nii", "sign")
        page.wait("document.getElementById('problem').textContent.includes('no image of a format')")
        page.errors.clear()  # Chromium reports the status 415
        choose(page, scan(tmp_path / "a.nii", FAULTS["nan"]), "sign")
        page.wait("document.getElementById('problem').textContent.includes('NaN or infinity')")
        assert page.run("document.getElementById('job').hidden")


def test_a_job_can_be_cancelled_and_its_place_is_shown(tmp_path):
    with serving(tmp_path / "home", {"sign": FaultyModel(tmp_path)}) as server, opened(server) as page:
        server.submit(scan(tmp_path / "a.nii", FAULTS["gate"]))
        choose(page, scan(tmp_path / "b.nii"), "sign")
        page.wait("document.getElementById('state').textContent.startsWith('Waiting, place 1')")
        page.run("document.getElementById('cancel').click()")
        page.wait("document.getElementById('problem').textContent === 'The job was cancelled.'")
        (tmp_path / "go").touch()


def test_a_token_is_asked_for(tmp_path):
    (tmp_path / "tokens").write_text(TOKEN)
    models = {"sign": FaultyModel(tmp_path)}
    with serving(tmp_path / "home", models, token_file=tmp_path / "tokens") as server, Page() as page:
        page.open(f"{server.base_url}/")
        page.wait("!document.getElementById('token-row').hidden")
        page.run(f"document.getElementById('token').value = '{TOKEN}'")
        page.run("document.getElementById('token').dispatchEvent(new Event('change'))")
        page.wait("document.getElementById('model').options.length")
        choose(page, scan(tmp_path / "a.nii"), "sign")
        page.wait("document.body.dataset.shown")


def test_the_page_is_open_and_strict(tmp_path):
    (tmp_path / "tokens").write_text(TOKEN)
    with serving(tmp_path / "home", {"sign": FaultyModel(tmp_path)}, token_file=tmp_path / "tokens") as server:
        assert set(ASSETS) == set(PAGE)
        for path in PAGE:
            answer = httpx.get(f"{server.base_url}{path}", trust_env=False)
            assert answer.status_code == 200
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            again = httpx.get(
                f"{server.base_url}{path}", headers={"If-None-Match": answer.headers["etag"]}, trust_env=False
            )
            assert (again.status_code, again.content) == (304, b"")
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert server.get("/", headers=link).status_code == 200  # a link on another page
        assert server.get("/v1/jobs", headers=link).status_code == 403
        assert server.get("/", headers={**link, "Sec-Fetch-Mode": "no-cors"}).status_code == 403
