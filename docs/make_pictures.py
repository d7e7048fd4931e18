"""Make the pictures of the README from the demo: `make pictures` (needs chromium).

Runs the demo into a temporary folder and photographs the first screen of one report.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SYMBOL = "BTCUSDT"
SIZE = (900, 1180)


def main() -> None:
    """Write docs/images/report.png."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("make_pictures.py: no chromium on the PATH; install Debian's package chromium")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = [sys.executable, "run_calibration.py", "--symbols", SYMBOL, "--out-dir", str(out)]
        subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603
        shot = Path(folder) / "shot.png"
        page = out / SYMBOL / f"report_{SYMBOL}.html"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                   "--disable-background-networking", f"--user-data-dir={folder}/profile",
                   f"--screenshot={shot}", f"--window-size={SIZE[0]},{SIZE[1]}"]  # fmt: skip
        subprocess.run([browser, *options, page.as_uri()], check=True, capture_output=True)  # noqa: S603
        picture = Image.open(shot).convert("RGB").quantize(96, dither=Image.Dither.NONE)
        small = io.BytesIO()
        picture.save(small, format="png", optimize=True)
    target = ROOT / "docs" / "images" / "report.png"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(small.getvalue())
    print(f"wrote {target.relative_to(ROOT)}, {len(small.getvalue()) // 1024} kB")


if __name__ == "__main__":
    main()
