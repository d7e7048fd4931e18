"""Where a command runs must not change what it does: locale, home, matplotlib's settings, and how
many files may be open."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

#: Environment variable that names the folder of products, see ``mm.core.kept``; none without it.
KEPT = "MM_KEPT"
#: A symbol at work has so many files open (sockets, pipes, notebook), the driver itself so many.
FILES_A_JOB, FILES_OF_DRIVER = 25, 64


def in_utf8() -> None:
    """Start the command again in Python's UTF-8 mode where the locale is not UTF-8.

    In the C locale a file's name that is not ASCII can't be written into any text, and a λ not
    printed. Windows names its files in Unicode whatever the locale.
    """
    if sys.platform == "win32" or sys.flags.utf8_mode or sys.getfilesystemencoding() == "utf-8":
        return
    os.environ["PYTHONUTF8"] = "1"  # for kernels, too
    command = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606  this very command


@contextlib.contextmanager
def no_surroundings() -> Iterator[None]:
    """A home to write to, and none of the user's settings of matplotlib, for this process and all
    that it starts."""
    before = dict(os.environ)
    with contextlib.ExitStack() as stack:
        stack.callback(os.environ.update, before)
        stack.callback(os.environ.clear)
        os.environ.pop("MPLBACKEND", None)
        os.environ["MATPLOTLIBRC"] = os.devnull
        if not _has_home():
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="mm-home-"))
            os.environ["HOME"] = os.environ["MPLCONFIGDIR"] = home
        yield


def _has_home() -> bool:
    """Whether there is a home folder. An account that has no entry has none: containers run as any
    number."""
    try:
        return Path.home().is_dir()
    except RuntimeError:
        return False


def jobs_by_files(jobs: int) -> int:
    """How many jobs the limit of open files allows, after raising it as far as they need and it
    may be raised."""
    if sys.platform == "win32":
        return jobs
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = FILES_OF_DRIVER + FILES_A_JOB * jobs
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited and soft < needed:
        wanted = needed if hard == unlimited else min(needed, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS has a lower one that it doesn't tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    if soft == unlimited or soft >= needed:
        return jobs
    return max(1, (soft - FILES_OF_DRIVER) // FILES_A_JOB)
