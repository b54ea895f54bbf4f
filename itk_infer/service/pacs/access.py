"""Addresses, accounts and certificates. Passwords come from a file or the environment, and are never printed."""

from __future__ import annotations

import netrc
import os
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from itk_infer.errors import ConfigError

USER, PASSWORD = "ITK_INFER_USER", "ITK_INFER_PASSWORD"  # environment variables
AET = "ITK_INFER"
Loaded = TypeVar("Loaded")
DICOM_ADDRESS = re.compile(r"(?P<aet>[ -~]{1,16})@(?P<host>\[[^\]]+\]|[^:@\[\]]+):(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True)
class DicomAddress:
    """An application entity: its title, host and port."""

    aet: str
    host: str
    port: int


def dicom_address(text: str) -> DicomAddress:
    """Parse an address of the form ``AET@host:port``.

    Raises:
        ConfigError: it does not have this form.
    """
    match = DICOM_ADDRESS.fullmatch(text)
    aet = match["aet"].strip() if match else ""
    if match is None or not aet or "\\" in aet or int(match["port"]) > 65535:
        raise ConfigError(f"{text}: is not a DICOM address; give AET@host:port, such as ARCHIVE@10.0.0.5:104")
    return DicomAddress(aet, match["host"].strip("[]"), int(match["port"]))


def server_url(text: str) -> str:
    """Check the URL of a server, and remove a trailing slash.

    Raises:
        ConfigError: it is not a URL, or contains user or password.
    """
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
        parts = urlsplit("")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(  # without the URL, which contains the password
            "the URL of a server holds a user or password, which other users of this machine could read; give "
            f"them in a `password_file`, or as {USER} and {PASSWORD} in the environment"
        )
    if not good or parts.query or parts.fragment:
        raise ConfigError(f"{text}: is not the URL of a server; give one such as http://127.0.0.1:8042")
    return text.rstrip("/")


@dataclass(frozen=True, slots=True)
class Access:
    """Accounts, certificates, title and time limit of connections to servers.

    Attributes:
        password_file: Accounts of HTTP servers, in the format of netrc; None: from the environment.
        ca_file: Certificate authorities (PEM) of servers and clients; None: those of the system, for HTTPS.
        certificate: Own certificate (PEM), for DICOM over TLS.
        key: Private key of `certificate` (PEM).
        aet: Own application entity title.
        timeout: Seconds for a server to answer.
    """

    password_file: Path | None = None
    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    aet: str = AET
    timeout: float = 60.0

    def account(self, url: str) -> tuple[str, str] | None:
        """User and password for a server; None if it has no account.

        Raises:
            ConfigError: the password file cannot be read.
        """
        if self.password_file is not None:
            try:
                found = netrc.netrc(os.fspath(self.password_file)).authenticators(urlsplit(url).hostname or "")
            except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
                raise ConfigError(  # the message of netrc may contain a password
                    f"{self.password_file}: cannot be read as a file of passwords; give lines such as: "
                    "machine 10.0.0.5 login USER password PASSWORD"
                ) from None
            return (found[0], found[2]) if found else None
        user, password = os.environ.get(USER), os.environ.get(PASSWORD)
        return (user, password) if user is not None and password is not None else None

    def https_context(self) -> ssl.SSLContext:
        """TLS settings for HTTPS servers, whose certificate must be trusted.

        Raises:
            ConfigError: the certificates cannot be read.
        """
        return self._loaded(lambda: ssl.create_default_context(cafile=self.ca_file))

    def client_context(self) -> ssl.SSLContext:
        """TLS settings for outgoing DICOM connections. Errors as in `https_context`."""
        context = self.https_context()
        if self.certificate is not None:
            self._with_certificate(context)
        return context

    def server_context(self) -> ssl.SSLContext | None:
        """TLS settings for incoming DICOM connections; with `ca_file`, clients must present a certificate.

        Returns:
            None without a certificate: connections are then not encrypted.

        Raises:
            ConfigError: the certificates cannot be read.
        """
        if self.certificate is None:
            if self.ca_file is not None:
                raise ConfigError("`ca_file`: checks clients over TLS alone; give `certificate`, too")
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca_file is not None:
            self._loaded(lambda: context.load_verify_locations(self.ca_file))
            context.verify_mode = ssl.CERT_REQUIRED
        return self._with_certificate(context)

    def _with_certificate(self, context: ssl.SSLContext) -> ssl.SSLContext:
        certificate = self.certificate
        if certificate is not None:
            self._loaded(lambda: context.load_cert_chain(certificate, self.key, password=_no_password))
        return context

    def _loaded(self, load: Callable[[], Loaded]) -> Loaded:
        try:
            return load()
        except (OSError, ssl.SSLError, ValueError) as error:
            why = getattr(error, "strerror", None) or "no certificate in PEM format"
            named = ", ".join(str(path) for path in (self.ca_file, self.certificate, self.key) if path)
            raise ConfigError(f"{named}: a certificate or key cannot be loaded ({why})") from None


def _no_password() -> str:
    raise ValueError("the key is protected by a password")
