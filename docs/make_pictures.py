"""Make the pictures of the README and of docs/ from the demo: `make pictures` (needs chromium).

Runs the demo into a temporary folder and photographs the first screen of a report, on a laptop and
on a phone; then a second day with some trouble, and photographs the index.
"""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "images"


def main() -> None:
    """Write docs/images/*.png."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("make_pictures.py: no chromium on the PATH; install Debian's package chromium")
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder) / "data", Path(folder) / "out"
        shutil.copytree(ROOT / "data", data)
        calibrate(data, out)
        report = out / "BTCUSDT" / "report_BTCUSDT.html"
        photograph(browser, report, "report", 1200, 800)
        photograph(browser, report, "phone", 500, 1000)
        spoil(data)
        calibrate(data, out)
        photograph(browser, out / "index.html", "index", 1200, 560)


def calibrate(data: Path, out: Path) -> None:
    """Run a folder; refused and failed symbols are part of the picture."""
    command = [sys.executable, "run_calibration.py", "--data-dir", str(data), "--out-dir", str(out)]
    subprocess.run(command, cwd=ROOT, check=False)  # noqa: S603


def spoil(data: Path) -> None:
    """A next day for the index: a shorter log, a symbol that asks for more fills than it has, and a
    broken row."""
    times = [int(line.split(b",")[0]) for line in read(data / "state_ETHUSDT.csv.gz")[1:]]
    for kind in ("orders", "fills", "state"):
        path = data / f"{kind}_ETHUSDT.csv.gz"
        head, *rows = read(path)
        write(path, [head, *(r for r in rows if int(r.split(b",")[0]) < times[len(times) // 2])])
    config = data / "calibration.yaml"
    text = config.read_text(encoding="utf-8")
    config.write_text(
        text.replace("  SOLUSDT:\n", "  SOLUSDT:\n    MIN_FILLS: 2000\n"), encoding="utf-8"
    )
    path = data / "state_XRPUSDT.csv.gz"
    lines = read(path)
    write(path, [*lines[:500], b'"', *lines[500:]])


def read(path: Path) -> list[bytes]:
    """The lines of a gzipped file."""
    return gzip.decompress(path.read_bytes()).splitlines(keepends=True)


def write(path: Path, lines: list[bytes]) -> None:
    """A gzipped file of these lines."""
    path.write_bytes(gzip.compress(b"".join(lines)))


def photograph(browser: str, page: Path, name: str, width: int, height: int) -> None:
    """What a screen of this size shows of a page, as docs/images/<name>.png."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                   "--disable-background-networking", f"--user-data-dir={folder}/profile",
                   f"--screenshot={shot}", f"--window-size={width},{height}"]  # fmt: skip
        subprocess.run([browser, *options, page.as_uri()], check=True, capture_output=True)  # noqa: S603
        picture = Image.open(shot).convert("RGB").quantize(96, dither=Image.Dither.NONE)
    small = io.BytesIO()
    picture.save(small, format="png", optimize=True)
    TARGET.mkdir(exist_ok=True)
    (TARGET / f"{name}.png").write_bytes(small.getvalue())
    print(f"wrote docs/images/{name}.png, {len(small.getvalue()) // 1024} kB")


if __name__ == "__main__":
    main()
