"""Addresses and what servers answer, without a server."""

from __future__ import annotations

import json

import pytest

from itk_infer.errors import ConfigError
from itk_infer.service.pacs.access import Access, dicom_address, server_url
from itk_infer.service.pacs.delivery import of_http, of_status
from itk_infer.service.pacs.destinations import destination
from itk_infer.service.pacs.dicomweb import _failure


def test_addresses():
    found = dicom_address("MY ARCHIVE@pacs.example:104")
    assert (found.aet, found.host, found.port) == ("MY ARCHIVE", "pacs.example", 104)
    assert dicom_address("A@[::1]:11112").host == "::1"
    assert server_url("https://pacs.example/orthanc/") == "https://pacs.example/orthanc"


@pytest.mark.parametrize(
    "text", ["", "host:104", "A@host", "A@host:0x1", "A@host:70000", "SEVENTEEN LETTERS@h:1", "A\\B@h:1", " @h:1"]
)
def test_what_is_no_dicom_address(text):
    with pytest.raises(ConfigError, match="AET@host:port"):
        dicom_address(text)


@pytest.mark.parametrize(
    "text", ["", "pacs.example", "ftp://pacs.example", "http://", "http://h:99999", "http://h?a=b"]
)
def test_what_is_no_url(text):
    with pytest.raises(ConfigError, match="is not the URL of a server"):
        server_url(text)


def test_an_account_in_the_url_is_refused_without_showing_it():
    with pytest.raises(ConfigError) as caught:
        destination("orthanc=http://node:geheim@127.0.0.1", Access())
    assert "geheim" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        destination("http://node:geheim@127.0.0.1", Access())
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "http://127.0.0.1:8042", "pigeon=there"])
def test_what_is_no_destination(text):
    with pytest.raises(ConfigError, match="stow=URL"):
        destination(text, Access())


def test_statuses_of_c_store():
    """PS3.4, table B.2-1."""
    assert of_status(0x0000).state == of_status(0x0111).state == "sent"
    assert {of_status(status).state for status in (0xB000, 0xB006, 0xB007)} == {"sent"}
    assert "0xb007" in of_status(0xB007).reason
    assert {of_status(status).state for status in (0xA700, 0xA7FF, 0x0110)} == {"waiting"}
    assert {of_status(status).state for status in (0xA900, 0xA9FF, 0xC000, 0xCFFF, 0x0122)} == {"rejected"}


def test_statuses_of_http():
    assert {of_http(status).state for status in (301, 400, 404, 409, 415)} == {"rejected"}
    assert {of_http(status).state for status in (401, 403, 408, 429, 500, 503, 507)} == {"waiting"}


def test_the_failure_in_an_answer_of_stow():
    """PS3.18, 10.5.3."""
    failed = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0xA700]}}]}}
    assert _failure(json.dumps(failed).encode()).state == "waiting"
    for answer in (b"", b"<xml/>", b"{}", b"[]", b'{"00081198": {"Value": []}}'):
        assert _failure(answer) is None


def test_certificates_that_cannot_be_loaded(tmp_path):
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing")
    for access in (Access(ca_file=wrong), Access(ca_file=tmp_path / "none"), Access(certificate=wrong)):
        with pytest.raises(ConfigError, match="cannot be loaded"):
            access.client_context()
    with pytest.raises(ConfigError, match="over TLS alone"):
        Access(ca_file=wrong).server_context()
    assert Access().server_context() is None
    with pytest.raises(ConfigError, match="file of passwords"):
        Access(password_file=tmp_path / "none").account("http://127.0.0.1")
    wrong.write_text("machine elsewhere login a password b\n")
    assert Access(password_file=wrong).account("http://127.0.0.1") is None
