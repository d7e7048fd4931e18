"""The mail of a run: what it says, how it is built, and its way through a real SMTP server."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import os
import re
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult

from mm.report.mail import MailError, build_message, send, write_message
from mm.results.record import Record
from tests.support.html_checks import Parsed
from tests.support.records import HOSTILE, failed, record, results

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
PASSWORD = "correct horse"  # noqa: S105  the tests' own


def _message(
    records: dict[str, Record], out: Path, previous: dict[str, Record] | None = None, **more: Any
) -> EmailMessage:
    sender, to = more.pop("sender", "Desk <desk@example.org>"), more.pop("to", ["a@example.org"])
    ran = more.pop("this_run", list(records))
    return build_message(records, previous, ran, out, sender, to, NOW, **more)


def _bodies(message: EmailMessage) -> tuple[str, str]:
    plain, rich = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert rich is not None
    return plain.get_content(), rich.get_content()


def _names(message: EmailMessage) -> list[str | None]:
    return [part.get_filename() for part in message.iter_attachments()]


def _mixed_run() -> tuple[dict[str, Record], dict[str, Record]]:
    warned = {"status": "warn", "reasons": ("A power law fits better. Because. Do this",)}
    records = {
        "OK": record(),
        "MOVED": record(2.0, 0.3),
        "WARN": record(**warned),
        "REFUSED": Record(status="refused", reasons=("Too few fills",), n_fills=3),
        "FAILED": failed(),
        "GONE": Record(status="missing"),
    }
    previous = {s: record() for s in ("OK", "MOVED", "WARN", "REFUSED", "FAILED")}
    return records, previous


def test_the_subject_counts_and_dates(tmp_path: Path) -> None:
    records, previous = _mixed_run()
    message = _message(records, tmp_path, previous)
    morning = "new 3, missing 1, refused 1, failed 1"
    assert message["Subject"] == f"[{morning}] fill calibration 2026-11-22"
    plain, rich = _bodies(message)
    assert plain.splitlines()[0] == morning
    assert f">{morning}</h1>" in rich
    assert message["From"].addresses[0].addr_spec == "desk@example.org"
    assert message["Date"].datetime == NOW
    assert message["X-Unsent"] is None


def test_without_recipients_it_is_a_draft(tmp_path: Path) -> None:
    message = _message({"OK": record()}, tmp_path, sender=None, to=[])
    assert message["To"] is None
    assert message["X-Unsent"] == "1"
    with pytest.raises(MailError, match="no recipients"):
        send(message, {"MAIL_SMTP_HOST": "127.0.0.1"})


def test_the_body_says_what_changed_and_what_needs_a_person(tmp_path: Path) -> None:
    records, previous = _mixed_run()
    for body in _bodies(_message(records, tmp_path, previous)):
        told = re.sub(r"(<[^>]+>)+", " ", body).replace("\u00a0", " ")
        for words in (
            "FAILED failed: orders_X.csv, row 7: no number",
            "REFUSED refused: Too few fills",
            "GONE missing",
            "WARN: warn, was ok",
            "MOVED: λ +100 % (+6.1 SE)",
            "λ(δ) = A·exp(−k·δ)",
            "A power law fits better",
            "0.82–1.22",
            "0.261–0.339",
        ):
            assert words in told
        assert "Because" not in told
        assert "OK:" not in told


def test_two_lines_when_there_is_no_news(tmp_path: Path) -> None:
    records = {"A": record(), "B": record(status="warn", reasons=("Odd",))}
    for symbol in records:
        results(tmp_path, symbol)
    plain, rich = _bodies(_message(records, tmp_path, records, place="/srv/out"))
    assert plain.splitlines() == [
        "new 2",
        "No news: warn 1 | ok 1, each as in the run before. λ has not changed. Attached: all 2 "
        "symbols as a table; no report, since none needs a person. All reports and index.html are "
        "in /srv/out.",
    ]
    assert (rich.count("<h1 "), rich.count("<p ")) == (1, 1)
    later = {**records, "A": record(1.02, 0.3)}
    plain, _ = _bodies(_message(later, tmp_path, records))
    assert "Largest change of λ: A +2 % (+0.2 SE)." in plain.splitlines()[1]


def test_a_log_that_says_nothing_new_is_news(tmp_path: Path) -> None:
    age = {"age_s": 93_600.0, "status": "warn", "limit_s": 90_000.0}
    records = {f"S{i}": record(log="unchanged", freshness=age) for i in range(12)}
    records |= {"LATE": record(log="new", freshness=age)}
    message = _message(records, tmp_path, {s: record() for s in records})
    morning = "new 1, unchanged 12, oldest data 26 h (13 beyond warn_after)"
    assert message["Subject"].startswith(f"[{morning}]")
    for body in _bodies(message):
        assert "No news" not in body
        assert "LATE: its last row is 26 h old, warn_after is 25 h" in body
        same = "12 symbols: the same log as in the batch before, its last row is 26 h old (S0, "
        assert same in body
        assert "S2, S3 and 6 more)" in body


def test_one_cause_is_told_once_and_the_gravest_first(tmp_path: Path) -> None:
    line = "orders_{0}.csv, row {1}: no number"
    records = {f"B{i}": failed(line.format(f"B{i}", i)) for i in range(3)}
    records |= {"AA": failed("state_AA.csv: no rows")}
    few = {"level": "refused", "code": "few_fills", "number": 3.0, "threshold": "10"}
    records |= {
        f"R{n}": record(status="refused", reasons=(f"{n} fills",), findings=[{**few, "text": ""}])
        for n in range(2, 4)
    }
    plain, _ = _bodies(_message(records, tmp_path, records))
    needed = plain.split("What needs a person\n")[1].splitlines()
    assert needed[:3] == [
        "- 3 symbols failed: orders_B0.csv, row 0: no number (B0, B1, B2)",
        "- AA failed: state_AA.csv: no rows",
        "- 2 symbols refused: 2 fills (R2, R3)",
    ]


def test_only_reports_of_what_needs_a_person_are_attached(tmp_path: Path) -> None:
    records, previous = _mixed_run()
    records |= {"HALF": record(log="smaller"), "SAME": record(log="unchanged")}
    for symbol in records:
        results(tmp_path, symbol)
    message = _message(records, tmp_path, {**previous, "HALF": record(), "SAME": record()})
    attached = {str(name) for name in _names(message) if str(name).endswith(".html")}
    assert attached == {f"report_{s}.html" for s in ("FAILED", "REFUSED", "WARN", "HALF", "MOVED")}


def test_a_setting_that_changed_is_news_with_what_it_did(tmp_path: Path) -> None:
    was = {"TICK_SIZE": None, "MAX_DELTA_TICKS": 50.0, "BACKTEST_DIR": "monday", "GONE": 1}
    now = {"TICK_SIZE": 0.5, "MAX_DELTA_TICKS": 20.0, "BACKTEST_DIR": "tuesday", "NEW": 2}
    previous = {s: record(1.0, 0.3, settings=was) for s in ("A", "B")}
    records = {
        "A": record(1.05, 0.31, settings=now),
        "B": record(1.0, 0.3, settings={**was, "BACKTEST_DIR": "tuesday"}),
    }
    for body in _bodies(_message(records, tmp_path, previous)):
        assert "No news" not in body
        assert (
            "A: TICK_SIZE not set → 0.5, MAX_DELTA_TICKS 50 → 20: A 1.00 → 1.05, k 0.300 → 0.310"
            in body
        )
        assert "B:" not in body
    plain, _ = _bodies(_message({"B": records["B"]}, tmp_path, previous))
    assert "No news" in plain, "where the log lies is no news"


def test_a_first_run_says_so_and_has_numbers(tmp_path: Path) -> None:
    plain, rich = _bodies(_message({f"S{i:02d}": record() for i in range(20)}, tmp_path))
    assert "First run: there is nothing before it" in plain
    for body in (plain, rich):
        assert body.count("0.82–1.22") == 12
        assert "The worst first" in body


def test_older_symbols_are_in_the_table_and_not_in_the_news(tmp_path: Path) -> None:
    records = {"A": record(), "OLD": failed()}
    message = _message(records, tmp_path, records, this_run=["A"])
    assert message["Subject"].startswith("[new 1]")
    assert "OLD" not in _bodies(message)[0]
    assert [row["in_this_run"] for row in _table(message)] == ["False", "True"]


@pytest.mark.parametrize("parse_policy", [policy.default, policy.SMTP])
def test_the_file_parses_and_its_images_resolve(tmp_path: Path, parse_policy: Any) -> None:
    records, previous = _mixed_run()
    for symbol in records:
        results(tmp_path, symbol, f"<!DOCTYPE html><p>δ of {symbol}".encode())
    path = write_message(_message(records, tmp_path, previous), tmp_path)
    assert path.name == "calibration.eml"
    raw = path.read_bytes()
    assert raw.isascii()
    assert all(line.endswith(b"\r") for line in raw.split(b"\n")[:-1])
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    message: Any = message_from_bytes(raw, policy=parse_policy)
    assert not [d for part in message.walk() for d in part.defects]
    shape = [part.get_content_type() for part in message.walk()]
    assert shape[:5] == [
        "multipart/mixed", "multipart/related", "multipart/alternative", "text/plain", "text/html",
    ]  # fmt: skip
    ids = [part["Content-ID"].strip("<>") for part in message.walk() if part["Content-ID"]]
    images = Parsed(_bodies(message)[1]).all("img")
    # Those that failed or were refused before any exposure have no figure to show.
    assert sorted(f"cid:{i}" for i in ids) == sorted(str(i["src"]) for i in images)
    assert len(images) == 2
    assert sorted(str(i["alt"]) for i in images) == ["The fit of MOVED", "The fit of WARN"]
    assert _names(message) == [
        "fill_calibration_2026-11-22.csv",
        *(f"report_{s}.html" for s in ("FAILED", "REFUSED", "WARN", "MOVED")),
    ]
    part = list(message.iter_attachments())[-1]
    assert part.get_content() == "<!DOCTYPE html><p>δ of MOVED"


def test_outlook_can_lay_it_out(tmp_path: Path) -> None:
    records, previous = _mixed_run()
    results(tmp_path, "WARN")
    _, rich = _bodies(_message(records, tmp_path, previous))
    page = Parsed(rich)
    names = {tag for tag, _ in page.tags}
    assert names <= {
        "html", "head", "meta", "title", "body", "table", "tr", "td", "th", "p", "h1", "h2", "img",
        "strong", "bdi", "br", "span",
    }  # fmt: skip
    for tag, attributes in page.tags:
        assert "class" not in attributes
        style = attributes.get("style") or ""
        assert not re.search(r"flex|grid|float|position|var\(|url\(|rem", style), style
        if tag == "img":
            assert (attributes["width"] or "").isdigit()
            assert (attributes["height"] or "").isdigit()


def _table(message: EmailMessage) -> list[dict[str, str]]:
    part = next(iter(message.iter_attachments()))
    raw = part.get_payload(decode=True)
    assert isinstance(raw, bytes)
    assert raw.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))


def _letters(number: int) -> str:
    """A word of its own for each number: causes that differ in digits alone are one."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def test_500_symbols_stay_within_the_limits(tmp_path: Path) -> None:
    long = "Reason with δ and λ and ± of some length, " * 20
    records = {
        f"SYM{i:03d}": record(status="warn", reasons=(long,))
        if i % 3
        else failed(error=f"{_letters(i)} {long}")
        for i in range(500)
    }
    noise = bytes(range(33, 127)) * 40
    for i, symbol in enumerate(list(records)[:60]):
        results(tmp_path, symbol, b"<!DOCTYPE html>" + bytes([33 + i]) + noise[i:])
    message = _message(records, tmp_path, limit_bytes=700_000)
    raw = message.as_bytes(policy=policy.SMTP)
    assert len(raw) <= 700_000
    for kind in ("plain", "html"):
        part = message.get_body((kind,))
        assert part is not None
        assert len(part.as_bytes(policy=policy.SMTP)) < 90_000
    assert len(_table(message)) == 500
    assert "and 155 more: see the attached table" in _bodies(message)[0]


def test_a_long_list_has_some_of_each_kind(tmp_path: Path) -> None:
    records = {f"F{i:03d}": failed(_letters(i)) for i in range(700)}
    records |= {
        f"R{i:03d}": Record(status="refused", reasons=(_letters(i),), n_fills=3) for i in range(200)
    }
    records |= {f"W{i:03d}": record(status="warn", reasons=(_letters(i),)) for i in range(100)}
    records |= {"GONE": Record(status="missing")}
    plain, rich = _bodies(_message(records, tmp_path, records | {"W000": record()}))
    for words in ("F003 failed", "R003 refused", "GONE missing", "and 889 more"):
        assert words in plain
    worst = plain.split("Worst lines")[1]
    assert re.findall(r"^- (\w+) (\w+)\.", worst, re.M) == [(f"W00{i}", "warn") for i in range(5)]
    assert len(rich.encode()) < 90_000


def test_a_thousand_moves_are_one_line(tmp_path: Path) -> None:
    fared = ("the last 3 forecasts missed", "the last 4 forecasts missed", "night after night more")
    records, before = {}, {}
    for i in range(1000):
        made = record(2.0 + i / 500, inputs_sha256={"orders": str(i)}, forecast=fared[i % 3])
        records[f"S{i:03d}"], before[f"S{i:03d}"] = made, record(1.0)
    message = _message(records, tmp_path, before)
    plain, rich = _bodies(message)
    needed, changed = plain.split("What changed")
    assert re.findall(r"^- (\d+ symbols: live parameters: [a-z ]+)", needed, re.M) == [
        "667 symbols: live parameters: the last ",
        "333 symbols: live parameters: night after night more ",
    ]
    assert re.findall(r"^- (.*?),.* and (\d+) more$", changed, re.M) == [
        ("λ of 1000 symbols: S999 × 4 (+12.2 SE)", "994")
    ]
    assert len(rich.encode()) < 90_000


@pytest.mark.parametrize(("limit", "some"), [(3_000_000, True), (500_000, True), (1, False)])
def test_reports_fit_or_it_is_said(tmp_path: Path, limit: int, some: bool) -> None:
    import random

    records = {f"S{i}": record(status="stale") for i in range(12)} | {"BAD": failed()}
    for symbol in records:
        results(tmp_path, symbol, random.Random(symbol).randbytes(50_000))
    message = _message(records, tmp_path, limit_bytes=limit)
    size = len(message.as_bytes(policy=policy.SMTP))
    assert size <= max(limit, 100_000)
    plain, _ = _bodies(message)
    if not some:
        assert "no report fits" in plain
        return
    archive = list(message.iter_attachments())[-1]
    assert archive.get_filename() == "reports.zip"
    with zipfile.ZipFile(io.BytesIO(archive.get_content())) as file:
        assert file.testzip() is None
        names = file.namelist()
    assert names[0] == "report_BAD.html"
    assert f"{len(names)} reports of what needs a person, zipped" in plain
    assert ("do not fit" in plain) == (len(names) < 13)
    assert (limit == 3_000_000) == (len(names) == 13)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_and_reasons_are_text(text: str, tmp_path: Path) -> None:
    records = {text: record(status="warn", reasons=(text,)), "AAA": failed(error=text)}
    (tmp_path / "secret.html").write_text("secret")
    out = tmp_path / "out"
    out.mkdir()
    records[f"{text}2"] = Record(status="missing")
    raw = _message(records, out, {}).as_bytes(policy=policy.SMTP)
    message: Any = message_from_bytes(raw, policy=policy.default)
    assert {name.lower() for name in message} == {
        "subject", "from", "to", "date", "message-id", "auto-submitted", "mime-version",
        "content-type",
    }  # fmt: skip
    assert "thief" not in raw.split(b"\r\n\r\n")[0].decode()
    assert not [d for part in message.walk() for d in part.defects]
    _, rich = _bodies(message)
    assert {tag for tag, _ in Parsed(rich).tags}.isdisjoint({"script", "img"})
    assert rich.count("<h1") == 1
    assert b"secret" not in raw
    for row in _table(message):
        assert all(
            (value or "x")[0] not in "=+-@\t\r" or _is_number(value) for value in row.values()
        )


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", text) is not None


@pytest.mark.parametrize("name", ["A/B", "..", "CON:", "ﺎﻠﻌ", "A\r\nB", "x" * 200, "=A"])
def test_attachment_names_are_plain(name: str) -> None:
    from mm.report.attach import _file_name

    assert re.fullmatch(
        r"report_[A-Za-z0-9_\-][A-Za-z0-9._\-]*\.html|report__\d+\.html", _file_name(name, 7)
    )


@pytest.mark.parametrize(
    "address",
    ["", "a", "a@b\r\nBcc: c@d", "a@b, c@d", "@b", "a@", "a b@c", "<>", "é@b.org", "a@b\x00"],
)
def test_no_address_no_mail(address: str, tmp_path: Path) -> None:
    with pytest.raises(MailError):
        _message({"A": record()}, tmp_path, to=[address])


class _Mailbox:
    """What a server keeps, and whom it lets in."""

    def __init__(self) -> None:
        self.envelopes: list[Any] = []

    async def handle_RCPT(
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address.startswith("nobody"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.envelopes.append(envelope)
        return "250 OK"


def _authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> Any:
    return AuthResult(success=data.password == PASSWORD.encode(), handled=False)


# The tests' server is on loopback, so that a login without TLS stays in the house.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
Start = Callable[..., tuple[_Mailbox, dict[str, str]]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server on loopback; returns its mailbox and the environment that leads to it."""
    running = []

    def begin(security: str = "none", *, login: bool = False) -> tuple[_Mailbox, dict[str, str]]:
        box, options, tls = _Mailbox(), dict[str, Any](), None
        environ = {"MAIL_SMTP_HOST": "127.0.0.1", "MAIL_SMTP_SECURITY": security}
        if security != "none":
            authority = trustme.CA()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1").configure_cert(context)
            authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
            environ["MAIL_SMTP_CA_FILE"] = str(tmp_path / "ca.pem")
            tls = context
            if security == "starttls":
                options["tls_context"] = context
        if login:
            options |= {"authenticator": _authenticate, "auth_required": True}
            options["auth_require_tls"] = security == "starttls"
            environ |= {"MAIL_SMTP_USER": "desk", "MAIL_SMTP_PASSWORD": PASSWORD}
        options["require_starttls"] = security == "starttls"
        server = _Server(box, tls if security == "ssl" else None, options)
        running.append(server)
        environ["MAIL_SMTP_PORT"] = str(server.port.result(30))
        return box, environ

    yield begin
    for server in running:
        server.stop()


class _Server(threading.Thread):
    """A server in a loop of its own, which ends with all its tasks before the test does."""

    def __init__(self, box: _Mailbox, tls: ssl.SSLContext | None, options: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.port: Future[int] = Future()
        self._box, self._tls, self._options = box, tls, options
        self._over = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.start()

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: SMTP(self._box, hostname="localhost", loop=loop, **self._options),
            "127.0.0.1",
            0,
            ssl=self._tls,
        )
        self.port.set_result(server.sockets[0].getsockname()[1])
        await self._over.wait()
        server.close()

    def stop(self) -> None:
        """End it; a server that does not end fails the test instead of hanging it."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self.join(30)
        assert not self.is_alive()


@pytest.mark.parametrize("login", [False, True])
@pytest.mark.parametrize("security", ["none", "starttls", "ssl"])
def test_what_arrives_is_the_file_byte_for_byte(
    start: Start, security: str, login: bool, tmp_path: Path
) -> None:
    box, environ = start(security, login=login)
    results(tmp_path, "A", b"<p>.\r\n.\r\n..dots\r\n")
    message = _message({"A": record(), "B": failed()}, tmp_path, to=["a@x.org", "B <b@x.org>"])
    written = write_message(message, tmp_path).read_bytes()
    send(message, environ)
    (envelope,) = box.envelopes
    assert envelope.mail_from == "desk@example.org"
    assert envelope.rcpt_tos == ["a@x.org", "b@x.org"]
    assert envelope.original_content == written


@pytest.mark.parametrize("security", ["none", "starttls"])
def test_a_refused_login_is_one_line_without_the_password(
    start: Start, security: str, tmp_path: Path
) -> None:
    box, environ = start(security, login=True)
    environ["MAIL_SMTP_PASSWORD"] = "not it at all"  # noqa: S105
    with pytest.raises(MailError, match="refuses the login of MAIL_SMTP_USER") as raised:
        send(_message({"A": record()}, tmp_path), environ)
    assert "not it at all" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert not box.envelopes


def test_a_certificate_that_nobody_trusts_stops_it(start: Start, tmp_path: Path) -> None:
    box, environ = start("starttls")
    del environ["MAIL_SMTP_CA_FILE"]
    with pytest.raises(MailError, match="certificate is not trusted"):
        send(_message({"A": record()}, tmp_path), environ)
    assert not box.envelopes


def test_a_server_without_starttls_gets_nothing(start: Start, tmp_path: Path) -> None:
    box, environ = start("none")
    environ["MAIL_SMTP_SECURITY"] = "starttls"
    with pytest.raises(MailError, match="MAIL_SMTP_SECURITY"):
        send(_message({"A": record()}, tmp_path), environ)
    assert not box.envelopes


def test_a_refused_recipient_is_named(start: Start, tmp_path: Path) -> None:
    box, environ = start()
    message = _message({"A": record()}, tmp_path, to=["a@x.org", "nobody@x.org"])
    with pytest.raises(MailError, match=r"took the mail but refuses nobody@x\.org"):
        send(message, environ)
    assert box.envelopes[0].rcpt_tos == ["a@x.org"]
    with pytest.raises(MailError, match=r"refuses nobody@x\.org"):
        send(_message({"A": record()}, tmp_path, to=["nobody@x.org"]), environ)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"HOST": ""}, "MAIL_SMTP_HOST is not set"),
        ({"PORT": "many"}, "MAIL_SMTP_PORT is 'many'"),
        ({"PORT": "0"}, "MAIL_SMTP_PORT"),
        ({"SECURITY": "maybe"}, "MAIL_SMTP_SECURITY is 'maybe'"),
        ({"USER": "me"}, "set both or neither"),
        ({"HOST": "mail.example.org", "USER": "a", "PASSWORD": "b"}, "unencrypted"),
        ({"SECURITY": "ssl", "CA_FILE": "/none.pem"}, "MAIL_SMTP_CA_FILE /none.pem"),
    ],
)
def test_a_wrong_environment_is_named(changes: dict[str, str], words: str, tmp_path: Path) -> None:
    plain = {"HOST": "127.0.0.1", "PORT": "9", "SECURITY": "none", **changes}
    environ = {f"MAIL_SMTP_{name}": value for name, value in plain.items()}
    with pytest.raises(MailError, match=re.escape(words)):
        send(_message({"A": record()}, tmp_path), environ)


def test_a_server_that_is_not_there_is_named(start: Start, tmp_path: Path) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = {"MAIL_SMTP_HOST": "127.0.0.1", "MAIL_SMTP_PORT": str(port)}
    with pytest.raises(MailError, match=f"mail server 127.0.0.1:{port}"):
        send(_message({"A": record()}, tmp_path), environ)


def test_a_run_sends_its_mail_or_says_why_it_could_not(
    start: Start, root: Path, tables: Any, write_run: Callable[..., Path], tmp_path: Path
) -> None:
    box, environ = start("starttls", login=True)
    data, out = write_run(tmp_path / "data", tables, "AAA"), tmp_path / "out"
    command = [sys.executable, "run_calibration.py", "--data-dir", str(data), "--out-dir", str(out)]
    command += ["-p", "TICK_SIZE", "1.0", "--mail-from", "desk@example.org"]
    command += ["--mail-to", "a@x.org", "--mail-to", "b@x.org"]

    def run(password: str) -> subprocess.CompletedProcess[str]:
        known = {**os.environ, **environ, "MAIL_SMTP_PASSWORD": password}
        return subprocess.run(
            command, cwd=root, env=known, capture_output=True, text=True, check=False
        )

    refused = run("wr0ng-s3cret")
    assert refused.returncode == 1, refused.stderr
    assert "the mail was not sent" in refused.stderr
    assert "refuses the login of MAIL_SMTP_USER" in refused.stderr
    for name in ("index.html", "summary.csv", "run.json", "calibration.eml", "AAA/params_AAA.json",
                 "AAA/report_AAA.html"):  # fmt: skip
        assert (out / name).is_file(), name
    assert box.envelopes == []

    sent = run(PASSWORD)
    assert sent.returncode == 0, sent.stderr
    (envelope,) = box.envelopes
    assert envelope.rcpt_tos == ["a@x.org", "b@x.org"]
    assert envelope.original_content == (out / "calibration.eml").read_bytes()

    # Nothing that anybody reads or keeps holds a password, in any form that SMTP knows.
    told = [r.stdout + r.stderr for r in (refused, sent)]
    told += [p.read_text(errors="replace") for p in out.rglob("*") if p.is_file()]
    for password in (PASSWORD, "wr0ng-s3cret"):
        login = f"\0desk\0{password}".encode()
        for form in (password, *(base64.b64encode(b).decode() for b in (password.encode(), login))):
            assert not [text[:80] for text in told if form in text]
