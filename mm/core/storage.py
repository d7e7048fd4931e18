"""Folders that are URLs, such as ``s3://bucket/folder``: whatever fsspec can open.

Credentials are the provider's business (for S3 the ``AWS_*`` variables, ``~/.aws``, or the
machine's role): a URL that holds some is refused, since URLs are recorded with results.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from mm.core.errors import CalibrationError, SettingsError

_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+)://(.*)", re.DOTALL)


class StoreError(CalibrationError):
    """A URL can't be listed, read or written; one line that says which and why."""


def is_url(text: str) -> bool:
    """Whether this names a folder by URL and not by path."""
    return _URL.match(text) is not None


@dataclass(frozen=True)
class Remote:
    """A file or folder at a URL, with the part of ``pathlib.Path`` that this package uses.

    What a listing told of it is kept: 8 symbols are found and marked by 4 requests to S3, where
    ``upath.UPath`` makes 77, raises what each provider raises and can't copy within a store.
    """

    url: str
    _listed: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @staticmethod
    def of(text: str) -> Remote:
        """A URL as a user gives it. Raises SettingsError if it holds credentials."""
        match = _URL.match(text)
        if match is None:
            raise SettingsError(f"{text}: not a URL")
        host = match[2].split("/", 1)[0]
        if "@" in host or "?" in text:
            shown = f"{match[1]}://{host.rpartition('@')[2]}".split("?")[0]
            raise SettingsError(
                f"{shown}: a URL with credentials or a query would be recorded with the results; "
                "give credentials as the provider's own tools take them (for S3 AWS_* variables)"
            )
        return Remote(text.rstrip("/"))

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> Remote:
        return Remote(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.rsplit("/", 1)[1]

    @property
    def mark(self) -> str:
        """What changes with the content, as the store tells it: ETag or time, and size."""
        found = self._listed or self._info() or {}
        kept = ("ETag", "etag", "md5Hash", "LastModified", "mtime", "created", "size")
        return "|".join(f"{name}={found[name]}" for name in kept if name in found)

    def is_dir(self) -> bool:
        """Whether it is a folder; stores without folders have those that hold something."""
        found = self._listed or self._info()
        return found is not None and found["type"] == "directory"

    def is_file(self) -> bool:
        """Whether it is a file."""
        found = self._listed or self._info()
        return found is not None and found["type"] == "file"

    def iterdir(self) -> list[Remote]:
        """What the folder holds. Raises StoreError."""
        with self._store() as (files, path):
            listed = files.ls(path, detail=True)
        found = []
        for entry in listed:
            name = str(entry["name"]).rstrip("/").rsplit("/", 1)[-1]
            if name and str(entry["name"]).rstrip("/") != path.rstrip("/"):
                found.append(Remote(f"{self.url}/{name}", entry))
        return sorted(found, key=lambda child: child.url)

    def read_bytes(self) -> bytes:
        """The file's content. Raises FileNotFoundError, or StoreError for all else."""
        with self._store() as (files, path):
            return bytes(files.cat_file(path))

    def read_text(self, encoding: str = "utf-8") -> str:
        """The file's text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> None:
        """Write the file; the store shows it whole or not at all."""
        with self._store() as (files, path):
            if not isinstance(files.protocol, str) and "file" in files.protocol:
                files.makedirs(files._parent(path), exist_ok=True)
            files.pipe_file(path, content)

    def fetch(self, target: Path) -> Path:
        """Copy the file to this machine."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._store() as (files, path):
            files.get_file(path, str(target))
        return target

    def remove(self) -> None:
        """Take the file, or the folder with all it holds, away; not being there is fine."""
        with contextlib.suppress(FileNotFoundError), self._store() as (files, path):
            files.rm(path, recursive=True)

    def copy_to(self, target: Remote) -> None:
        """Copy the file within the store, without a way over this machine."""
        with self._store() as (files, path), target._store() as (_, other):
            files.cp_file(path, other)

    def walk(self) -> dict[str, Remote]:
        """Every file at any depth by its path below, none if there is nothing."""
        with contextlib.suppress(FileNotFoundError), self._store() as (files, path):
            found = sorted(files.find(path, detail=True).items())
            below = len(path.rstrip("/")) + 1
            return {n[below:]: Remote(f"{self.url}/{n[below:]}", info) for n, info in found}
        return {}

    def _info(self) -> Mapping[str, Any] | None:
        try:
            with self._store() as (files, path):
                return dict(files.info(path))
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def _store(self) -> Iterator[tuple[Any, str]]:
        """The store and the path in it; whatever goes wrong there is told in one line."""
        try:
            import fsspec.core

            # No cached listings: others write here too.
            yield fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except (FileNotFoundError, CalibrationError):
            raise
        except ImportError as error:
            raise StoreError(
                f"{self.url}: {error}: make scale, or pip install -r requirements-scale.txt"
            ) from None
        except Exception as error:  # each store has its own
            text = " ".join(str(error).split())
            raise StoreError(f"{self.url}: {type(error).__name__}: {text}") from error


#: A file or folder on this machine, or elsewhere.
AnyPath: TypeAlias = Path | Remote


def path_or_url(text: str) -> AnyPath:
    """What a user names by path or URL."""
    return Remote.of(text) if is_url(text) else Path(text)


def file_digest(path: Path) -> str:
    """SHA-256 of a file. Raises OSError for what can't be read or is no regular file."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "no regular file", str(path))  # opening a pipe waits for ever
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def opener(folder: AnyPath) -> tuple[str, ...]:
    """The module that opens a folder, for processes that load it once for many; none for a folder
    of this machine."""
    if isinstance(folder, Path):
        return ()
    import fsspec

    try:
        kind = fsspec.get_filesystem_class(folder.url.split("://", 1)[0])
    except (ImportError, ValueError):
        return ()  # whoever opens it says what is missing
    return (str(kind.__module__),)
