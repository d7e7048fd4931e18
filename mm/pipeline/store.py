"""Results at a URL: made in a folder of this machine, uploaded symbol by symbol.

A store has no way to exchange two folders. So a symbol's files first go to a place of their own,
``.staging/``, with a list of them as the last; only then are they copied, within the store, to
where consumers look, parameters last. An upload that fails has changed nothing there. A batch that
is killed while copying is completed from the list by the next one.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from mm.core.errors import CalibrationError
from mm.core.storage import Remote, StoreError
from mm.pipeline.books import RUN_JSON, read_books, read_record, write_record
from mm.pipeline.locks import STATE, scratch
from mm.pipeline.plan import Job
from mm.pipeline.results import Results
from mm.pipeline.resume import unchanged
from mm.results.record import Record, consumed, params_name, points_name, report_name

_STAGING, _LIST = ".staging", "complete.json"
#: A batch says this often that it lives; one not heard of for so long is taken for dead.
_BEAT_S, _DEAD_S = 60.0, 300.0
_AT_ONCE = 16


class StoreResults(Results):
    """Results at a URL, with a copy of what this batch needs of them in a folder here."""

    lasting = False

    def __init__(self, remote: Remote, folder: Path) -> None:
        super().__init__(folder)
        self.remote = remote
        # What the store said of each symbol's files at the start, and when they were published.
        self._there: dict[str, dict[str, str]] = {}
        self._marks: dict[str, dict[str, str]] = {}
        self._unpublished: set[str] = set()

    def pull(self) -> None:
        """Complete what a killed batch left, and fetch records and books. Raises StoreError."""
        for name, path in (self.remote / _STAGING).walk().items():
            symbol, stage, last = name.split("/")
            if last == _LIST:
                listed = json.loads(path.read_text())
                self._put_in_place(symbol, stage, listed["outputs"], listed["record"])
        (self.remote / _STAGING).remove()
        state = []
        for name, path in self.remote.walk().items():
            inside = PurePosixPath(name)
            if inside.parts[0] == STATE or inside.name == RUN_JSON:
                state.append(name)
            elif len(inside.parts) == 2:
                self._there.setdefault(inside.parts[0], {})[inside.name] = path.mark
        self._fetch(state)
        for file in (self.folder / STATE / "marks").glob("*.json"):
            self._marks[file.stem] = json.loads(file.read_text(encoding="utf-8"))

    def finished(self, job: Job, mark: str) -> Record | None:
        """The record of a result that still holds in the store, None if the symbol must run."""
        there = self._there.get(job.symbol)
        whole = bool(there) and there == self._marks.get(job.symbol)
        return unchanged(job, self.folder, mark) if whole else None

    def holds(self, symbol: str) -> bool:
        """Whether a symbol had any file in the store at the start."""
        return symbol in self._there

    def publish(self, stage: Path, symbol: str, record: Record) -> None:
        """Upload a symbol's staged files, then put them in the place of its old ones.

        Raises StoreError; if uploading fails, the old ones stand as they were.
        """
        self._unpublished.add(symbol)
        self._upload(stage, symbol, record)
        self._unpublished.discard(symbol)
        super().publish(stage, symbol, record)

    def _upload(self, stage: Path, symbol: str, record: Record) -> None:
        name = uuid.uuid4().hex
        staged = self.remote / _STAGING / symbol / name
        text = record.model_dump_json(indent=2) + "\n"
        try:
            for file in record.outputs:
                (staged / file).write_bytes((stage / file).read_bytes())
            listed = {"outputs": list(record.outputs), "record": text}
            (staged / _LIST).write_bytes(json.dumps(listed).encode())
        except StoreError as error:
            with contextlib.suppress(StoreError):
                staged.remove()
            raise StoreError(f"not published, the old result stands: {error}") from None
        try:
            self._put_in_place(symbol, name, list(record.outputs), text)
        except StoreError as error:
            raise StoreError(f"published in part, the next batch completes it: {error}") from None

    def _put_in_place(self, symbol: str, stage: str, outputs: Collection[str], record: str) -> None:
        target, staged = self.remote / symbol, self.remote / _STAGING / symbol / stage
        # A consumer must not go on with parameters that no longer hold.
        numbers = set(consumed(symbol))
        for path in target.iterdir() if target.is_dir() else ():
            if path.name in numbers.difference(outputs):
                path.remove()
        for name in sorted(outputs, key=lambda name: (name == params_name(symbol), name)):
            (staged / name).copy_to(target / name)
        found = target.iterdir()
        for path in found:
            if path.name not in outputs:
                path.remove()
        state = self.remote / STATE
        kept = {path.name: path.mark for path in found if path.name in outputs}
        marks = json.dumps(kept, indent=2, sort_keys=True)
        (state / "marks" / f"{symbol}.json").write_bytes(marks.encode())
        (state / "records" / f"{symbol}.json").write_bytes(record.encode())
        staged.remove()

    def failed(self, symbol: str, record: Record) -> None:
        """Take note of a symbol that left nothing to publish: its parameters no longer hold. If it
        only could not be uploaded, what stands in the store is left alone."""
        if symbol in self._unpublished:
            write_record(self.folder, symbol, record)
            return
        super().failed(symbol, record)
        page = self.folder / symbol
        with contextlib.suppress(StoreError):  # the books will tell
            if (page / report_name(symbol)).is_file():
                outputs = {path.name: "" for path in page.iterdir()}
                self._upload(page, symbol, record.model_copy(update={"outputs": outputs}))
            for name in consumed(symbol):
                (self.remote / symbol / name).remove()

    def _renew(self, symbol: str, record: Record, change: Callable[[Path], object]) -> Record:
        """Change files of a symbol that are kept in the store."""
        self._fetch(f"{symbol}/{name}" for name in record.outputs)
        return super()._renew(symbol, record, change)

    def fetch_for_pages(self, ran: Collection[str]) -> None:
        """Bring here what the pages show of symbols that did not run: all files of this batch's,
        points and names of older ones."""
        wanted = []
        for symbol in read_books(self.folder):
            if (self.folder / symbol).is_dir() or "/" in symbol or symbol in (".", ".."):
                continue
            record = read_record(self.folder, symbol)
            for name in record.outputs if record else ():
                if symbol in ran or name == points_name(symbol):
                    wanted.append(f"{symbol}/{name}")
                else:
                    (self.folder / symbol).mkdir(exist_ok=True)
                    (self.folder / symbol / name).touch()
        self._fetch(wanted)

    def keep(self, *names: str) -> None:
        """Upload files of the results folder itself. Raises StoreError."""
        for name in names:
            if (self.folder / name).is_file():
                (self.remote / name).write_bytes((self.folder / name).read_bytes())

    def _fetch(self, names: Iterable[str]) -> None:
        """Copy files here, several at a time; one that is gone stays away."""

        def fetch(name: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                (self.remote / name).fetch(self.folder / name)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(fetch, names))


@contextlib.contextmanager
def open_store(remote: Remote) -> Iterator[Results]:
    """Results at a URL, held by this batch as well as a store allows.

    Raises StoreError if it can't be read or written, CalibrationError if another batch holds it.
    """
    with scratch("mm-out-") as folder, _lease(remote / STATE / "lock.json"):
        results = StoreResults(remote, folder)
        results.pull()
        yield results


@contextlib.contextmanager
def _lease(lock: Remote) -> Iterator[None]:
    """Hold a store by a file that says who and when, renewed while this process lives.

    Stores have no locks that go with a process: two batches that start in the same second may both
    get it. Each symbol's files are of one batch all the same.
    """
    holder = _holder(lock)
    if holder is not None:
        raise CalibrationError(
            f"{lock.url.rsplit('/', 2)[0]}: another batch ({holder}) writes there; wait for it, or "
            "name another place with --out-dir"
        )
    own = {"host": socket.gethostname(), "process": os.getpid(), "batch": uuid.uuid4().hex}
    over = threading.Event()

    def beat() -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        lock.write_bytes(json.dumps({**own, "renewed_utc": now}).encode())

    def keep_beating() -> None:
        while not over.wait(_BEAT_S):
            with contextlib.suppress(StoreError):  # the next beat may come through
                beat()

    beat()
    keeper = threading.Thread(target=keep_beating, name="lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()
        with contextlib.suppress(StoreError):
            lock.remove()


def _holder(lock: Remote) -> str | None:
    """Who holds a lease, None if nobody does any more."""
    try:
        found = json.loads(lock.read_bytes())
        renewed = datetime.fromisoformat(found["renewed_utc"])
        host, process = str(found["host"]), int(found["process"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return None  # half a file, or none of ours
    silent_s = (datetime.now(UTC) - renewed).total_seconds()
    if silent_s > _DEAD_S or (host == socket.gethostname() and not _lives(process)):
        return None
    return f"process {process} on {host}, last heard of {max(silent_s, 0):.0f} s ago"


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
