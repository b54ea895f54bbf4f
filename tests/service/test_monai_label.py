"""The conversations of MONAI Label's clients in 3D Slicer and OHIF, as their contract describes them."""

from __future__ import annotations

import email.parser
import email.policy
import gc
import json
import socket
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from support import slicer_client
from support.servers import ThreeLabels, scan, serving

from itk_infer.service import session_store, uploads
from itk_infer.service.consecutive_labels import consecutive, renumbered
from itk_infer.service.refusal import Refusal
from itk_infer.testing.faulty import FAULTS, wait_until

# What a user's volume is called, and the path that the client sends as the file's name.
IDS = ["MRHead", "visit 1", "Größe", "a/b", "../../etc/passwd", "x" * 200]
FORM_NAME = "C:\\Users\\Mueller\\AppData\\Local\\Temp\\image.nii.gz"


@pytest.fixture(scope="module")
def label_client(tmp_path_factory):
    home = tmp_path_factory.mktemp("monai") / "home"
    with serving(home, {"abdomen": ThreeLabels()}, monai_label=True) as client:
        yield client


def oblique(path, fill=None):
    """An image whose axes are neither LPI nor at right angles to the patient's."""
    scan(path, fill)
    image = sitk.ReadImage(str(path))
    image.SetSpacing((0.5, 1.25, 3.0))
    image.SetOrigin((-12.5, 7.25, 100.125))
    cos, sin = np.cos(0.3), np.sin(0.3)
    image.SetDirection((0.0, cos, -sin, -1.0, 0.0, 0.0, 0.0, sin, cos))
    sitk.WriteImage(image, str(path))
    return path


def put_image(client, image_id, path):
    files = {"file": (FORM_NAME, path.read_bytes(), "application/octet-stream")}
    return client.put("/datastore/", params={"image": image_id}, data={"params": "{}"}, files=files)


def infer(client, image_id, model="abdomen", **params):
    asked = {"result_extension": ".nrrd", "result_dtype": "uint8", "client_id": "me"}
    # As the client does: a multipart form without a file.
    files = {"params": (None, json.dumps(asked))}
    return client.post(f"/infer/{model}", params={"image": image_id, **params}, files=files)


def parts(answer):
    """The parts of a multipart answer by name, each with its file name."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + answer.content)
    return {
        part.get_param("name", header="content-disposition"): (part.get_filename(), part.get_payload(decode=True))
        for part in message.iter_parts()
    }


def test_what_the_client_asks_before_every_call(label_client):
    assert label_client.get("/auth/").json() == {"enabled": False}
    assert label_client.get("/train/", params={"check_if_running": "true"}).status_code != 200


def test_info(label_client):
    info = label_client.get("/info/").json()
    assert not info.get("config")
    assert info["labels"] == ["spleen", "liver", "absent"]
    model = info["models"]["abdomen"]
    assert (model["type"], model["dimension"], model["config"]) == ("segmentation", 3, {})
    assert model["labels"] == {"spleen": 1, "liver": 2, "absent": 3}
    assert list(info["strategies"]) == ["doubtful first"]
    assert set(info["datastore"]) == {"total", "completed"}


@pytest.mark.parametrize("image_id", IDS, ids=["plain", "blank", "umlaut", "slash", "dots", "long"])
def test_slicer_sends_an_image_and_gets_consecutive_labels(label_client, tmp_path, image_id):
    image = oblique(tmp_path / "image.nii.gz", fill=len(image_id))
    assert put_image(label_client, image_id, image).json() == {"image": image_id}
    answer = infer(label_client, image_id)
    assert answer.status_code == 200, answer.text
    found = parts(answer)
    _, params = found["params"]
    assert json.loads(params)["label_names"] == {"spleen": 1, "liver": 2, "absent": 3}
    name, content = found["image"]
    assert Path(name).name == name
    assert "Mueller" not in answer.text
    (tmp_path / name).write_bytes(content)
    mask, stored = sitk.ReadImage(str(tmp_path / name)), sitk.ReadImage(str(image))
    voxels = sitk.GetArrayFromImage(stored)
    assert mask.GetPixelIDTypeAsString() == "8-bit unsigned integer"
    # The model's 7 (above zero) is the second name, its 1 (below zero) the first.
    expected = np.where(voxels > 0, 2, np.where(voxels < 0, 1, 0))
    assert np.array_equal(sitk.GetArrayFromImage(mask), expected)
    for attribute in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert np.allclose(getattr(mask, attribute)(), getattr(stored, attribute)(), atol=1e-5)
    names = [path.name for path in label_client.service.settings.home.rglob("*")]
    assert not [found for found in names if "Mueller" in found or "passwd" in found]


def test_ohif_gets_raw_uint8_in_the_order_of_the_series(label_client, tmp_path):
    image = oblique(tmp_path / "image.nii.gz", fill=77)
    put_image(label_client, "1.2.840.1", image)
    answer = infer(label_client, "1.2.840.1", output="image")
    head, _, voxels = answer.content.partition(b"\n\n")
    assert b"encoding: raw" in head
    assert b"type: uint8" in head
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(image)))
    assert np.array_equal(np.frombuffer(voxels, np.uint8).reshape(stored.shape) == 2, stored > 0)


def test_an_image_is_one_that_was_sent_and_never_a_path(label_client, tmp_path):
    scan(tmp_path / "a.nii")
    assert infer(label_client, str(tmp_path / "a.nii")).status_code == 404
    assert infer(label_client, "").status_code == 422


def test_another_image_of_the_same_id_is_refused(label_client, tmp_path):
    put_image(label_client, "twice", scan(tmp_path / "a.nii", 50))
    assert put_image(label_client, "twice", tmp_path / "a.nii").status_code == 200
    assert put_image(label_client, "twice", scan(tmp_path / "b.nii", 51)).status_code == 409


def test_what_is_no_image_is_refused(label_client):
    files = {"file": ("a.nii", b"PK\x03\x04" + b"\0" * 400)}
    assert label_client.put("/datastore/", params={"image": "zip"}, files=files).status_code == 415
    assert label_client.put("/datastore/", params={"image": "none"}, data={"params": "{}"}).status_code == 422
    assert infer(label_client, "zip").status_code == 404


def test_the_next_sample_is_the_most_doubtful_without_a_label(tmp_path):
    with serving(tmp_path / "home", {"abdomen": ThreeLabels()}, monai_label=True) as client:
        sure, doubtful = scan(tmp_path / "sure.nrrd"), scan(tmp_path / "doubtful.nrrd")
        for path, scale in ((sure, 40), (doubtful, 1)):
            image = sitk.ReadImage(str(path))
            array = np.sign(sitk.GetArrayFromImage(image)).astype(np.int16) * scale
            sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
        put_image(client, "new", scan(tmp_path / "new.nrrd", 90))
        for image_id, path in (("sure", sure), ("doubtful", doubtful)):
            put_image(client, image_id, path)
            assert infer(client, image_id).status_code == 200
        order = []
        for _ in range(3):
            sample = client.post("/activelearning/doubtful first", json={"client_id": "me"}).json()
            assert sample.keys() == {"id", "name", "path"}
            order.append(sample["id"])
            got = client.get("/datastore/image", params={"image": sample["id"]})
            assert got.content == (tmp_path / f"{sample['id']}.nrrd").read_bytes()
            submit(client, sample["id"], sure)
        assert order == ["doubtful", "sure", "new"]
        assert client.post("/activelearning/doubtful first").status_code == 404
        assert client.get("/info/").json()["datastore"] == {"total": 3, "completed": 3}


def submit(client, image_id, path, tag=""):
    form = {"params": json.dumps({"label_info": [{"name": "liver", "idx": 1}]})}
    files = {"label": ("/home/mueller/label.nrrd", path.read_bytes())}
    return client.put("/datastore/label", params={"image": image_id, "tag": tag}, data=form, files=files)


def test_submitted_labels_are_a_persons_and_none_is_replaced(label_client, tmp_path):
    put_image(label_client, "corrected", scan(tmp_path / "a.nrrd", 60))
    drawn = [scan(tmp_path / f"{number}.nrrd", 61 + number) for number in range(2)]
    for path in drawn:
        assert submit(label_client, "corrected", path).status_code == 200
    assert infer(label_client, "corrected").status_code == 200
    kept = [path.read_bytes() for path in label_client.service.settings.home.rglob("labels/0*-final.nrrd")]
    assert sorted(kept) == sorted(path.read_bytes() for path in drawn)
    latest = label_client.get("/datastore/label", params={"label": "corrected", "tag": "final"})
    assert latest.content == drawn[1].read_bytes()
    objects = label_client.get("/datastore/", params={"output": "all"}).json()["objects"]
    assert objects["corrected"]["labels"] == {"final": {"ext": ".nrrd", "info": {}}}
    assert submit(label_client, "corrected", drawn[0], tag="../x").status_code == 422
    assert submit(label_client, "nobody", drawn[0]).status_code == 404


def test_a_failed_job_is_a_sentence(tmp_path):
    from itk_infer.testing.faulty import FaultyModel

    with serving(tmp_path / "home", {"sign": FaultyModel(tmp_path)}, monai_label=True) as client:
        put_image(client, "bad", scan(tmp_path / "a.nii", FAULTS["raise"]))
        answer = infer(client, "bad", "sign")
        assert answer.status_code == 422
        assert "a surprise in the network" in answer.json()["detail"]


def test_a_client_that_leaves_cancels_its_job(tmp_path):
    from itk_infer.testing.faulty import FaultyModel

    with serving(tmp_path / "home", {"sign": FaultyModel(tmp_path)}, monai_label=True) as client:
        client.running(client.submit(scan(tmp_path / "gate.nii", FAULTS["gate"])).json()["id"])
        put_image(client, "mine", scan(tmp_path / "a.nii"))
        with socket.create_connection(("127.0.0.1", client.port)) as link:
            link.sendall(b"POST /infer/sign?image=mine HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            wait_until(lambda: client.get("/v1/jobs?state=waiting").json()["jobs"] != [])
        wait_until(lambda: client.get("/v1/jobs?state=cancelled").json()["jobs"] != [])
        (tmp_path / "go").touch()


def test_login_with_a_token(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "DRAIN_S", 1e6)  # a form that has come whole is answered at once
    (tmp_path / "tokens").write_text("0123456789abcdef0123\n")
    models, tokens = {"abdomen": ThreeLabels()}, tmp_path / "tokens"
    with serving(tmp_path / "home", models, monai_label=True, token_file=tokens) as client:
        client.headers.pop("Authorization")
        assert client.get("/auth/").json() == {"enabled": True}
        assert client.get("/info/").status_code == 401
        assert client.post("/auth/token", data={"username": "me", "password": "wrong"}).status_code == 403
        token = client.post("/auth/token", data={"username": "me", "password": "0123456789abcdef0123"}).json()
        assert token["token_type"] == "bearer"
        client.headers["Authorization"] = f"Bearer {token['access_token']}"
        assert client.get("/auth/token/valid").status_code == 200
        assert client.get("/info/").status_code == 200


def test_too_large_a_form_is_refused(tmp_path):
    with serving(tmp_path / "home", {"abdomen": ThreeLabels()}, monai_label=True, max_upload=1 << 20) as client:
        files = {"file": ("a.nii", b"\0" * (2 << 20))}
        assert client.put("/datastore/", params={"image": "a"}, files=files).status_code == 413
        assert not list((tmp_path / "home" / "images").iterdir())


def test_a_session_keeps_its_image_for_a_while(label_client, tmp_path, monkeypatch):
    image = oblique(tmp_path / "image.nii.gz", fill=33)
    files = {"files": (FORM_NAME, image.read_bytes(), "application/octet-stream")}
    session = label_client.put("/session/", files=files).json()["session_id"]
    assert label_client.get(f"/session/{session}").json()["session_id"] == session
    for _ in range(2):
        _, content = parts(infer(label_client, "any", session_id=session))["image"]
        (tmp_path / "mask.nrrd").write_bytes(content)
        voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(image)))
        assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "mask.nrrd"))) == 2, voxels > 0)
    assert "any" not in label_client.get("/datastore/?output=all").json()["objects"]
    assert label_client.delete(f"/session/{session}").status_code == 200
    assert infer(label_client, "any", session_id=session).status_code == 404
    assert label_client.get(f"/session/{session}").status_code == 404
    assert not list((label_client.service.settings.home / "sessions").iterdir())
    old = label_client.put("/session/", files=files).json()["session_id"]
    monkeypatch.setattr(session_store, "KEPT_S", -1)
    label_client.put("/session/", files=files)
    assert label_client.get(f"/session/{old}").status_code == 404


@pytest.mark.parametrize(
    "session",
    ["../images", "..", "%2e%2e", "x" * 32, "0" * 32, "a\0b"],
    ids=["up", "dots", "escaped", "x", "0", "nul"],
)
def test_a_session_is_never_a_path(label_client, session):
    assert infer(label_client, "any", session_id=session).status_code == 404


def test_a_session_takes_images_only(label_client):
    files = {"files": ("a.nii", b"PK\x03\x04" + b"\0" * 400)}
    assert label_client.put("/session/", files=files).status_code == 415
    assert label_client.put("/session/", data={"params": "{}"}).status_code == 422


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the client closes neither files nor sockets
@pytest.mark.skipif(slicer_client.load() is None, reason="tests/support/slicer_client.py was not run")
def test_the_client_of_the_plugin_in_slicer(label_client, tmp_path):
    """The plugin's own class: an image, its segmentation, a session, the next sample, a label that is sent back."""
    client = slicer_client.load().MONAILabelClient(str(label_client.base_url), str(tmp_path))
    assert client.auth_enabled() is False
    assert client.info()["models"]["abdomen"]["labels"] == {"spleen": 1, "liver": 2, "absent": 3}
    image = oblique(tmp_path / "image.nii.gz", fill=44)
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(image)))
    assert client.upload_image(str(image), "Größe 1/2") == {"image": "Größe 1/2"}
    asked = {"result_extension": ".nrrd", "result_dtype": "uint8"}
    mask, params = client.infer("abdomen", "Größe 1/2", dict(asked))
    assert params["label_names"] == {"spleen": 1, "liver": 2, "absent": 3}
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(mask)) == 2, voxels > 0)
    session = client.create_session(str(image))["session_id"]
    assert client.get_session(session)["session_id"] == session
    again, _ = client.infer("abdomen", "", dict(asked), session_id=session)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(again)) == 2, voxels > 0)
    client.remove_session(session)
    assert client.next_sample("doubtful first", {})["id"]
    client.save_label("Größe 1/2", mask, params={"label_info": [{"name": "spleen", "idx": 1}]})
    assert client.datastore()["objects"]["Größe 1/2"]["labels"]
    label = Path(client.download_label("Größe 1/2", "final"))
    assert label.suffix == ".nrrd"
    assert label.read_bytes() == Path(mask).read_bytes()
    gc.collect()


def test_without_the_option_there_is_none_of_it(client):
    assert client.get("/info/").status_code == 404
    assert client.get("/auth/").status_code == 404


def test_too_many_labels_are_refused():
    with pytest.raises(Refusal, match="256 labels"):
        consecutive([{"value": value, "name": str(value)} for value in range(1, 257)])


def test_renumbering_without_a_label_in_the_image(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.array([[[0, 9, 9]]], np.uint16)), str(tmp_path / "m.nrrd"))
    (tmp_path / "out.nrrd").write_bytes(renumbered(tmp_path / "m.nrrd", [1, 7, 9]))
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.nrrd"))).ravel().tolist() == [0, 3, 3]
