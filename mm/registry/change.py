"""Changes of what is live, promote and rollback, and live parameters handed to a consumer."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from mm.core.errors import CalibrationError
from mm.core.policy import Policy
from mm.registry.rules import expired, moves, objections
from mm.registry.store import Registry, Release, digest
from mm.results.params import Params
from mm.results.record import Record, params_name, write_text


@dataclass(frozen=True)
class Signature:
    """Who changes what is live, why and when; ``force``: whatever speaks against it."""

    who: str
    why: str
    when: datetime
    force: bool = False

    @property
    def when_utc(self) -> str:
        """As it is written down."""
        return self.when.astimezone(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Offer:
    """What a batch left of a symbol: its record in the books and the text of its params file, None
    if there is none."""

    record: Record
    text: str | None


@dataclass(frozen=True)
class Outcome:
    """What became of a symbol, in one line; ``done`` is false where something kept it from it."""

    symbol: str
    line: str
    done: bool = True


def promote(
    registry: Registry,
    offers: Mapping[str, Offer],
    policy: Policy,
    signed: Signature,
    *,
    only_offer: bool = False,
) -> list[Outcome]:
    """Offer parameters as candidates, and make live those against which nothing speaks, all in one
    step. ``only_offer``: tell, and change nothing that is live."""
    live, offered, told = registry.live(), {}, []
    changed: dict[str, tuple[str | None, str | None]] = {}
    overridden: dict[str, tuple[str, ...]] = {}
    for symbol, offer in offers.items():
        try:
            params = _params_of(symbol, offer)
        except CalibrationError as error:
            told.append(Outcome(symbol, str(error), done=False))
            continue
        if params is not None and offer.text is not None:
            offered[symbol] = registry.add(symbol, offer.text)
        if symbol in live and offered.get(symbol) == live[symbol]:
            told.append(Outcome(symbol, "live already"))
            continue
        old = _old(registry, symbol, live)
        against = tuple(objections(offer.record, params, old, policy, signed.when))
        if params is None or (against and not signed.force):
            told.append(Outcome(symbol, f"not promoted: {'; '.join(against)}", done=False))
            continue
        changed[symbol] = (live.get(symbol), offered[symbol])
        if against:
            overridden[symbol] = against
        verb = "may go live" if only_offer else "live"
        told.append(Outcome(symbol, f"{verb}: {_news(params, old, against)}"))
    if offered:
        registry.offer(offered)
    if changed and not only_offer:
        registry.release(
            Release(
                number=0,
                action="promote",
                when_utc=signed.when_utc,
                who=signed.who,
                why=signed.why,
                changed=changed,
                overridden=overridden,
            )
        )
    return told


def rollback(
    registry: Registry, signed: Signature, symbols: Collection[str] | None = None
) -> list[Outcome]:
    """Take back the last promotion, or of some symbols the last of each; again, the one before.

    Raises CalibrationError if there is none, or the version before is gone or altered.
    """
    live, journal = registry.live(), registry.journal()
    changed: dict[str, tuple[str | None, str | None]] = {}
    undoes = None
    if symbols is None:
        undoes = next((n for n in reversed(_standing(journal)) if _of(journal, n, live)), None)
        changed = {} if undoes is None else _of(journal, undoes, live)
    else:
        for symbol in symbols:
            stack = _stack(journal, symbol)
            if symbol not in live or not stack:
                raise CalibrationError(f"{symbol}: nothing of it is live")
            changed[symbol] = (live[symbol], stack[-1][0])
    if not changed:
        raise CalibrationError(f"{registry.folder}: there is no promotion to take back")
    for symbol, (_, back) in changed.items():
        if back is not None:
            registry.text(symbol, back)
    registry.release(
        Release(
            number=0,
            action="rollback",
            when_utc=signed.when_utc,
            who=signed.who,
            why=signed.why,
            changed=changed,
            undoes=undoes,
        )
    )
    return [
        Outcome(s, f"live again: {back[:12]}" if back else "nothing is live: nothing was before")
        for s, (_, back) in changed.items()
    ]


def export(registry: Registry, target: Path, now: datetime) -> list[Outcome]:
    """Write the live params files for a consumer, each whole. One that has expired or is not as it
    was registered is not written, and a version that stands there in its place is taken away."""
    told = []
    target.mkdir(parents=True, exist_ok=True)
    for symbol, version in registry.live().items():
        path = target / params_name(symbol)
        try:
            params = registry.params(symbol, version)
            if expired(params, now):
                raise CalibrationError(f"expired: valid until {params.valid_until}")
            write_text(path, registry.text(symbol, version))
            told.append(Outcome(symbol, f"exported: {version[:12]}"))
        except CalibrationError as error:
            known = registry.folder / "versions" / symbol
            there = path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest()
            if there and (known / f"{there}.json").exists():
                path.unlink()
            told.append(Outcome(symbol, f"not exported: {error}", done=False))
    return told


def status(
    registry: Registry, offers: Mapping[str, Offer], policy: Policy, now: datetime
) -> list[Outcome]:
    """A line a symbol: what is live, since when and until when, and what speaks against the newest.
    Not ``done`` where what is live holds no longer."""
    since: dict[str, Release] = {}
    for release in registry.journal():
        since |= dict.fromkeys(release.changed, release)
    live, told = registry.live(), []
    for symbol in sorted({*live, *offers}):
        parts, good, old = ["nothing is live"], True, None
        if symbol in live:
            made = since.get(symbol)
            by = f" since {made.when_utc} by {made.who} ({made.action})" if made else ""
            parts = [f"{live[symbol][:12]} live{by}"]
            try:
                old = registry.params(symbol, live[symbol])
            except CalibrationError as error:
                good = False
                parts.append(str(error))
        if old is not None and old.valid_until:
            good = not expired(old, now)
            parts.append(f"{'valid' if good else 'EXPIRED, valid'} until {old.valid_until}")
        if symbol in offers:
            parts.append(_of_newest(symbol, offers[symbol], live, old, policy, now))
        told.append(Outcome(symbol, "; ".join(parts), good))
    return told


def _of_newest(
    symbol: str,
    offer: Offer,
    live: Mapping[str, str],
    old: Params | None,
    policy: Policy,
    now: datetime,
) -> str:
    try:
        params = _params_of(symbol, offer)
    except CalibrationError as error:
        return f"newest: {error}"
    if (
        offer.text is not None
        and live.get(symbol) == hashlib.sha256(offer.text.encode()).hexdigest()
    ):
        return "it is the newest"
    against = tuple(objections(offer.record, params, old, policy, now))
    if against or params is None:
        return f"newest may not go live: {'; '.join(against)}"
    return f"newest may go live: {_news(params, old, ())}"


def _params_of(symbol: str, offer: Offer) -> Params | None:
    """The offered parameters. Raises CalibrationError if they are not as a batch wrote them."""
    if offer.text is None:
        return None
    written = offer.record.outputs.get(params_name(symbol))
    if digest(offer.text) != written:
        raise CalibrationError(
            "its params file is not as the batch wrote it: edited, or a batch runs; run one"
        )
    try:
        params = Params.model_validate_json(offer.text)
    except ValidationError:
        raise CalibrationError("its params file is of another make; run it again") from None
    if params.symbol != symbol:
        raise CalibrationError(f"its params file is of {params.symbol}; run it again")
    return params


def _old(registry: Registry, symbol: str, live: Mapping[str, str]) -> Params | None:
    """What is live; None too where it can't be read, which promoting mends."""
    try:
        return registry.params(symbol, live[symbol]) if symbol in live else None
    except CalibrationError:
        return None


def _news(params: Params, old: Params | None, against: tuple[str, ...]) -> str:
    forced = f"; FORCED against: {'; '.join(against)}" if against else ""
    if old is None:
        return f"the first{forced}"
    *rates, length = moves(params, old)
    worst = max(rates, key=lambda move: abs(math.log(move.ratio)), default=None)
    return f"{', '.join(str(move) for move in (worst, length) if move)}{forced}"


def _standing(journal: list[Release]) -> list[int]:
    """Numbers of promotions that no rollback has taken back, the oldest first."""
    undone = {release.undoes for release in journal}
    return [r.number for r in journal if r.action == "promote" and r.number not in undone]


def _of(
    journal: list[Release], number: int, live: Mapping[str, str]
) -> dict[str, tuple[str | None, str | None]]:
    """What taking back a promotion changes: its symbols of which it is what stands."""
    changed = {}
    for symbol, pair in journal[number - 1].changed.items():
        stack = _stack(journal, symbol)
        if stack and stack[-1] == pair and live.get(symbol) == pair[1]:
            changed[symbol] = (pair[1], pair[0])
    return changed


def _stack(journal: list[Release], symbol: str) -> list[tuple[str | None, str | None]]:
    """A symbol's promotions that stand, (version before, version after), the last one on top."""
    stack: list[tuple[str | None, str | None]] = []
    for release in journal:
        if symbol in release.changed:
            if release.action == "promote":
                stack.append(release.changed[symbol])
            elif stack:
                stack.pop()
    return stack
