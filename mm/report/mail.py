"""``out/calibration.eml``: the run as a mail that a desk reads without opening anything.

mixed
├── related
│   ├── alternative: plain text, HTML
│   └── figures of the worst lines, by Content-ID
├── the full table, CSV
└── reports of what needs a person, each or zipped, as many as fit
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage, MIMEPart
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import TypeVar

from mm.report import attach, body, compare
from mm.report.arrange import FIT_FIGURE, Image, read_image
from mm.report.morning import first_line
from mm.report.news import WORST, news_of
from mm.report.send import MailError, send
from mm.results.record import Record, notebook_name, write_text

EML_NAME = "calibration.eml"
#: The whole message, as it goes over the wire; most servers refuse from 10 MB or 25 MB on.
LIMIT_BYTES = 8_000_000
_Part = TypeVar("_Part", bound=MIMEPart)
_NOBODY = Address("fill calibration", "calibration", "localhost")


def build_message(
    records: Mapping[str, Record],
    previous: Mapping[str, Record] | None,
    this_run: Collection[str],
    out_dir: Path,
    sender: str | None,
    recipients: Sequence[str],
    now: datetime,
    *,
    place: str = "",
    limit_bytes: int = LIMIT_BYTES,
) -> EmailMessage:
    """The mail of a run.

    ``records``: all symbols' latest; ``previous``: as they were before, None or empty on a first
    run; ``this_run``: the symbols that ran, or that should have and are missing; ``place``: where
    the results are. Without recipients the file opens as a draft. Raises MailError for an address
    that is none.
    """
    found = compare.lines(records, previous, this_run)
    current = [line for line in found if not line.older]
    at = compare.common_distance(records.values())
    news = news_of(current, first_run=not previous)
    morning = first_line(line.record for line in current)
    figures = {
        line.symbol: (f"figure-{number}", image)
        for number, line in enumerate(() if news.none else news.shown[:WORST])
        if line.record.exposure_s and (image := _image(out_dir, line.symbol)) is not None
    }

    table = attach.table_csv(found, at)
    spent = len(table) * 4 // 3 + sum(len(i.png) for _, i in figures.values()) + 100_000
    reports = attach.choose(news.concerned, out_dir, limit_bytes - spent, now)
    where = f" All reports and index.html are in {place}." if place else ""
    content = body.Content(
        title=morning,
        verdicts=f"Fill calibration {now:%Y-%m-%d}: {compare.headline(current)}.",
        news=news,
        found=current,
        at=at,
        figures=figures,
        attached=f"Attached: all {len(found)} symbols as a table; {reports.note}{where}",
    )
    message = EmailMessage(policy=policy.SMTP)
    message["Subject"] = f"[{morning}] fill calibration {now:%Y-%m-%d}"
    message["From"] = parse_address(sender) if sender else _NOBODY
    if recipients:
        message["To"] = [parse_address(r) for r in recipients]
    else:
        message["X-Unsent"] = "1"  # mail programs open it as a draft that can be addressed
    message["Date"] = format_datetime(now)
    message["Message-ID"] = make_msgid("calibration", message["From"].addresses[0].domain)
    message["Auto-Submitted"] = "auto-generated"
    message["MIME-Version"] = "1.0"
    message.make_mixed()
    message.attach(_related(content))
    name = f"fill_calibration_{now:%Y-%m-%d}.csv"
    message.attach(_attachment(table, "text", "csv", name))
    for file in reports.files:
        message.attach(_attachment(file.content, *file.kind, file.name))
    return message


def write_message(message: EmailMessage, out_dir: Path) -> Path:
    """Write ``out_dir/calibration.eml``, byte for byte what :func:`send` sends."""
    return write_text(out_dir / EML_NAME, message.as_bytes(policy=policy.SMTP).decode("ascii"))


def _related(content: body.Content) -> EmailMessage:
    bodies = EmailMessage(policy=policy.SMTP)
    bodies.set_content(body.plain(content), cte="quoted-printable")
    bodies.add_alternative(body.rich(content), subtype="html", cte="quoted-printable")
    for part in (bodies, *bodies.iter_parts()):
        _bare(part)
    if not content.figures:
        return bodies
    related = EmailMessage(policy=policy.SMTP)
    related.make_related()
    related.set_param("type", "multipart/alternative")
    related.attach(bodies)
    for cid, image in content.figures.values():
        part = EmailMessage(policy=policy.SMTP)
        part.set_content(
            base64.b64decode(image.png), "image", "png", disposition="inline",
            filename=f"{cid}.png", cid=f"<{cid}>",
        )  # fmt: skip
        related.attach(_bare(part))
    return related


def _attachment(content: bytes, main: str, sub: str, name: str) -> EmailMessage:
    part = EmailMessage(policy=policy.SMTP)
    part.set_content(content, main, sub, disposition="attachment", filename=name)
    if main == "text":
        part.set_param("charset", "utf-8")
    return _bare(part)


def _bare(part: _Part) -> _Part:
    """A part without the header that only a whole message has."""
    del part["MIME-Version"]
    return part


def _image(out_dir: Path, symbol: str) -> Image | None:
    folder = out_dir / symbol
    inside = folder.parent == out_dir
    return read_image(folder / notebook_name(symbol), FIT_FIGURE) if inside else None


def parse_address(text: str) -> Address:
    """An address, with or without a name before it. Raises MailError, one line."""
    plain = " ".join(text.split())
    try:
        parsed = policy.SMTP.header_factory("to", plain)
        (found,) = parsed.addresses
    except (ValueError, IndexError):
        raise MailError(f"{text!r} is not one mail address") from None
    local, at, domain = found.addr_spec.rpartition("@")
    if plain != text.strip() or not (local and at and domain) or parsed.defects:
        raise MailError(f"{text!r} is not one mail address")
    if not found.addr_spec.isascii():
        raise MailError(f"{text!r}: only ASCII mail addresses can be sent to")
    return Address(found.display_name, addr_spec=found.addr_spec)


__all__ = [
    "EML_NAME",
    "LIMIT_BYTES",
    "MailError",
    "build_message",
    "parse_address",
    "send",
    "write_message",
]
