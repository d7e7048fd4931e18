"""Sends a message by SMTP. Everything it needs to know is in the environment, and stays there.

``MAIL_SMTP_HOST``, ``MAIL_SMTP_PORT`` (587, 465 or 25 by security), ``MAIL_SMTP_SECURITY``
(``starttls``, the default, ``ssl`` or ``none``), ``MAIL_SMTP_USER`` and ``MAIL_SMTP_PASSWORD``
(both or neither), ``MAIL_SMTP_CA_FILE`` (a PEM file to trust instead of the system's).
"""

from __future__ import annotations

import base64
import ipaddress
import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage

from mm.core.errors import CalibrationError

TIMEOUT_S = 30.0
_PORTS = {"starttls": 587, "ssl": 465, "none": 25}


class MailError(CalibrationError):
    """A mail can't be made or sent; the text is one line and never holds the password."""


@dataclass(frozen=True)
class _Server:
    host: str
    port: int
    security: str
    user: str
    password: str = field(repr=False)
    ca_file: str


def send(
    message: EmailMessage, environ: Mapping[str, str], *, timeout_s: float = TIMEOUT_S
) -> None:
    """Send a message to all its recipients.

    Raises MailError if the environment lacks something, if the server can't be reached, shows a
    certificate that is not trusted, refuses the login, the sender or any of the recipients.
    """
    server = _server(environ)
    sender = _addresses(message, "From")[0]
    recipients = [*_addresses(message, "To"), *_addresses(message, "Cc")]
    if not recipients:
        raise MailError("the mail has no recipients: give --mail-to")
    where = f"mail server {server.host}:{server.port}"
    try:
        with _connect(server, timeout_s) as smtp:
            if server.user:
                smtp.login(server.user, server.password)
            refused = smtp.sendmail(sender, recipients, message.as_bytes(policy=policy.SMTP))
    except smtplib.SMTPAuthenticationError as error:
        raise MailError(
            f"{where} refuses the login of MAIL_SMTP_USER ({error.smtp_code})"
        ) from None
    except smtplib.SMTPRecipientsRefused as error:
        raise MailError(f"{where} refuses {', '.join(error.recipients)}") from None
    except ssl.SSLCertVerificationError as error:
        why = error.verify_message
        raise MailError(f"{where}: its certificate is not trusted: {why}") from None
    except smtplib.SMTPNotSupportedError as error:
        raise MailError(f"{where}: {_safe(error, server)} (see MAIL_SMTP_SECURITY)") from None
    except (smtplib.SMTPException, OSError) as error:
        raise MailError(f"{where}: {_safe(error, server)}") from None
    if refused:
        raise MailError(f"{where} took the mail but refuses {', '.join(refused)}")


def check_environment(environ: Mapping[str, str]) -> None:
    """Raise MailError for what can be known to be wrong before there is anything to send."""
    server = _server(environ)
    if server.security != "none":
        _context(server)


def _connect(server: _Server, timeout_s: float) -> smtplib.SMTP:
    if server.security == "none":
        return smtplib.SMTP(server.host, server.port, timeout=timeout_s)
    context = _context(server)
    if server.security == "ssl":
        return smtplib.SMTP_SSL(server.host, server.port, timeout=timeout_s, context=context)
    smtp = smtplib.SMTP(server.host, server.port, timeout=timeout_s)
    try:
        smtp.starttls(context=context)
    except BaseException:
        smtp.close()
        raise
    return smtp


def _context(server: _Server) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=server.ca_file or None)
    except OSError as error:
        why = error.strerror or "no certificates in it"
        raise MailError(f"MAIL_SMTP_CA_FILE {server.ca_file}: {why}") from None


def _server(environ: Mapping[str, str]) -> _Server:
    """What the environment says. Raises MailError that names the variable."""

    def value(name: str) -> str:
        return environ.get(f"MAIL_SMTP_{name}", "").strip()

    if not value("HOST"):
        raise MailError("MAIL_SMTP_HOST is not set: name the mail server")
    security = value("SECURITY").lower() or "starttls"
    if security not in _PORTS:
        raise MailError(f"MAIL_SMTP_SECURITY is {security!r}, expected one of {', '.join(_PORTS)}")
    port = value("PORT") or str(_PORTS[security])
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise MailError(f"MAIL_SMTP_PORT is {port!r}, expected 1 to 65535")
    user, password = value("USER"), environ.get("MAIL_SMTP_PASSWORD", "")
    if bool(user) != bool(password):
        raise MailError("MAIL_SMTP_USER and MAIL_SMTP_PASSWORD: set both or neither")
    if user and security == "none" and not _is_here(value("HOST")):
        raise MailError(
            "MAIL_SMTP_SECURITY is none: the password would cross the network unencrypted; "
            "use starttls or ssl"
        )
    return _Server(value("HOST"), int(port), security, user, password, value("CA_FILE"))


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _addresses(message: EmailMessage, name: str) -> list[str]:
    header = message[name]
    return [] if header is None else [address.addr_spec for address in header.addresses]


def _safe(error: Exception, server: _Server) -> str:
    """An error's text in one line, without the password in any form a server may echo."""
    text = " ".join(str(error).split()) or type(error).__name__
    if server.password:
        plain = server.password
        login = f"\0{server.user}\0{plain}"
        for secret in (plain, *(base64.b64encode(s.encode()).decode() for s in (plain, login))):
            text = text.replace(secret, "***")
    return text
