"""Kernels for a batch: the same outputs warm and stock, and nothing left however they end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
import pytest
from nbclient.exceptions import CellTimeoutError, DeadKernelError

import mm
from mm.pipeline.kernels import Kernel, KernelError, Kernels, choose, open_kernels
from mm.pipeline.kernels.kernel import SOCKET_PATH_MAX, make_directory
from tests.conftest import Tables, WriteRun

logging.getLogger("papermill").setLevel(logging.CRITICAL)
pytestmark = pytest.mark.skipif(not Kernels.supported(), reason="there is no fork server here")

WATCHDOG_S = 30.0
ROOT = Path(str(mm.__file__)).parents[1]

FIGURES = [
    "import os, sys, random, warnings, numpy as np, pandas as pd, matplotlib as mpl",
    "import matplotlib.pyplot as plt",
    "fig, ax = plt.subplots()\n"
    "ax.errorbar([1, 2, 3], [1, 4, 2], yerr=0.3, fmt='o', label=r'$\\hat\\lambda(\\delta)$')\n"
    "ax.set_yscale('log'); ax.legend(); plt.show()",
    "plt.hist(np.arange(50) ** 0.5)",
    "x = np.arange(1, 400_001, dtype=float).reshape(1000, 400) / 7\n"
    "print(repr(float((x.T @ x).sum())), repr(float(np.linalg.norm(x))))",
    "pd.DataFrame({'δ': [0.5, 1.5], 'λ': [0.1, None]}).describe()",
    "warnings.warn('seen', RuntimeWarning)",
    "print(mpl.get_backend(), sorted(mpl.rcParams.items()) == sorted(mpl.rcParamsDefault.items()))",
    "print(os.getcwd(), sys.argv[0], sys.path, sys.flags, __name__, sys.stdin.read())",
    "print({k: v for k, v in sorted(os.environ.items()) if k not in ('JPY_PARENT_PID', 'TMPDIR')})",
    "import signal; print(signal.getsignal(signal.SIGINT), signal.pthread_sigmask(0, []))",
    "print(os.getpid() == os.getpgrp() == os.getsid(0), sorted(os.listdir('/proc/self/fd'))[:3])",
    "1 / 0",
]


def notebook(*cells: str) -> Any:
    v4: Any = nbformat.v4
    kernelspec = {"name": "not-installed", "language": "python", "display_name": "any"}
    return v4.new_notebook(
        cells=[v4.new_code_cell(cell) for cell in cells], metadata={"kernelspec": kernelspec}
    )


def execute(kernel: Kernel, *cells: str, **options: Any) -> Any:
    return papermill.execute_notebook(notebook(*cells), None, **kernel.options | options)


def run(kernels: Kernels, *cells: str, **env: str) -> Any:
    """The notebook of these cells, executed in a kernel of its own."""
    with kernels.start(env=env) as kernel:
        return execute(kernel, *cells)


def printed(done: Any) -> Any:
    """What the last cell printed, as JSON."""
    return json.loads("".join(o.text for o in done.cells[-1].outputs if o.name == "stdout"))


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WATCHDOG_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def dead(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def wait_for_line(path: Path) -> list[int]:
    """The numbers on the line that a cell or driver wrote to a file."""
    assert eventually(lambda: path.exists() and path.read_text().endswith("\n"))
    return [int(word) for word in path.read_text().split()]


MODULES = ("numpy", "pandas", "matplotlib.pyplot")


@pytest.fixture(scope="module")
def warm() -> Iterator[Kernels]:
    with open_kernels("warm", MODULES) as kernels:
        assert kernels.warm
        yield kernels


@pytest.fixture(scope="module")
def stock() -> Iterator[Kernels]:
    with open_kernels("stock") as kernels:
        yield kernels


@pytest.fixture(params=["warm", "stock"])
def kernels(request: pytest.FixtureRequest) -> Kernels:
    chosen: Kernels = request.getfixturevalue(request.param)
    return chosen


# --- the same outputs


def test_a_warm_kernel_cannot_be_told_from_a_stock_one(
    warm: Kernels, stock: Kernels, tmp_path: Path
) -> None:
    outputs = {}
    for name, kernels in (("forked", warm), ("stock", stock)):
        target = tmp_path / f"{name}.ipynb"
        with kernels.start(tmp_path, {"MM_EXACT": "ä=\n;", "TZ": "Asia/Tokyo"}) as kernel:
            with pytest.raises(papermill.PapermillExecutionError, match="ZeroDivisionError"):
                papermill.execute_notebook(notebook(*FIGURES), target, **kernel.options)
            assert kernel.how == name
        text = target.read_text().replace(kernel.stem, "STEM")
        text = text.replace(f"ipykernel_{kernel.pid}", "ipykernel_PID")
        cells = json.loads(text)["cells"]
        outputs[name] = [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]
    for source, from_warm, from_stock in zip(FIGURES, *outputs.values(), strict=True):
        assert from_warm == from_stock, source
    figures = [
        o["data"]["image/png"]
        for c in outputs["forked"]
        for o in c
        if "image/png" in o.get("data", {})
    ]
    assert len(figures) == 2


def test_random_numbers_differ_between_kernels(warm: Kernels) -> None:
    code = "import random, json, numpy; print(json.dumps([random.random(), numpy.random.rand()]))"
    first, second = (printed(run(warm, code)) for _ in range(2))
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_many_threads_at_a_time(kernels: Kernels) -> None:
    def one(number: int) -> int:
        return int(printed(run(kernels, "import os; print(os.environ['MM_N'])", MM_N=str(number))))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(8))) == list(range(8))


# --- private


def test_nothing_listens_on_tcp(warm: Kernels) -> None:
    """Of stock kernels ipykernel has one port, on the loopback, for what forked processes print."""
    code = (
        "import psutil, json, os\n"
        "print(json.dumps([[c.laddr.port for c in psutil.Process(p).net_connections('inet')\n"
        "                  if c.status == psutil.CONN_LISTEN]\n"
        f"                 for p in (os.getpid(), os.getppid(), {os.getpid()})]))"
    )
    assert printed(run(warm, code)) == [[], [], []]


def test_what_forked_processes_print_is_shown(kernels: Kernels) -> None:
    code = (
        "import multiprocessing\n"
        "process = multiprocessing.get_context('fork').Process(target=print, args=(42,), "
        "kwargs={'flush': True})\n"
        "process.start(); process.join()"
    )
    assert printed(run(kernels, code + "; import time; time.sleep(0.5)")) == 42


def test_sockets_are_private_and_their_paths_short(
    kernels: Kernels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kernels.start() as kernel:
        directory = Path(kernel.stem).parent
        assert directory.stat().st_mode & 0o777 == 0o700
        assert len(f"{kernel.stem}-99-pipe") <= SOCKET_PATH_MAX
        here = printed(execute(kernel, "import tempfile; print(f'\"{tempfile.mkdtemp()}\"')"))
        assert Path(here).parent.parent == directory
    assert [path.name for path in directory.iterdir()] == ["server.stderr"]

    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    made = Path(make_directory())
    assert len(str(made)) < SOCKET_PATH_MAX - 20
    made.rmdir()


# --- proof and fallback


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "from threading import *\nThread(target=Event().wait, daemon=True).start()",
            "2 threads",
        ),
        ("import matplotlib_inline.backend_inline", "figures would vanish"),
        ("print('noise'); raise ImportError('nope')", "ImportError: nope"),
        ("import os; os._exit(7)", "status 7"),
        (
            "import os; os.write(2, b'noise\\nlibx.so: cannot open\\n\\n'); os._exit(7)",
            "status 7 (libx.so: cannot open)",
        ),
    ],
)
def test_what_is_unsafe_to_fork_falls_back_with_one_line(
    body: str, reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "odd_module.py").write_text(body)
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    with open_kernels("warm", ["odd_module"], env) as kernels:
        assert not kernels.warm
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("stock kernels instead of warm ones: ")
    assert reason in caplog.messages[0]


@pytest.mark.parametrize(
    ("body", "reason", "timeout_s"),
    [
        ("import matplotlib.pyplot as plt\nplt.show = plt.close", "figure did not appear", 60),
        ("import builtins\nbuiltins.print = repr", "text did not appear", 60),
        # A kernel that lives and answers nothing.
        ("import matplotlib.pyplot as plt, time\nplt.show = lambda: time.sleep(99)", "died", 1),
    ],
)
def test_what_shows_only_in_a_kernel_is_found_by_the_proof(
    body: str, reason: str, timeout_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd_module.py").write_text(body)
    monkeypatch.setattr(choose, "PROOF_TIMEOUT_S", timeout_s)
    kernels = Kernels(["odd_module"], os.environ | {"PYTHONPATH": str(tmp_path)})
    try:
        with pytest.raises(KernelError, match=reason):
            kernels.prove()
    finally:
        kernels.stop()


def test_a_function_named_with_its_module_is_called(tmp_path: Path) -> None:
    (tmp_path / "odd_module.py").write_text("def warm_up(): globals()['x'] = 5\n")
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    with open_kernels("warm", ["odd_module:warm_up"], env) as kernels:
        assert printed(run(kernels, "import odd_module; print(odd_module.x)")) == 5


def test_elsewhere_kernels_are_stock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Kernels, "supported", staticmethod(lambda: False))
    with open_kernels("warm", MODULES) as kernels, kernels.start(tmp_path) as kernel:
        code = "import os, json; print(json.dumps([os.getcwd(), os.getpid() == os.getsid(0)]))"
        assert printed(execute(kernel, code)) == [str(tmp_path), True]
    assert kernel.how == "stock"
    assert dead(kernel.pid)
    assert not Path(kernel.stem).parent.exists()
    assert caplog.messages == ["stock kernels instead of warm ones: they need Linux"]


def test_after_the_server_died(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    code = (
        "import os, pathlib, time\n"
        "child = os.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '600')\n"
        f"pathlib.Path({str(tmp_path / 'pids')!r}).write_text(f'{{os.getppid()}} {{child}}\\n')\n"
        "time.sleep(600)"
    )
    (tmp_path / "odd_module.py").write_text("import os; os.write(2, b'no room\\n')")
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    with open_kernels("warm", ["odd_module"], env) as kernels, ThreadPoolExecutor(1) as pool:
        with kernels.start() as kernel:
            future = pool.submit(execute, kernel, code)
            server, child = wait_for_line(tmp_path / "pids")
            os.kill(server, signal.SIGKILL)
            with pytest.raises(DeadKernelError):
                future.result(WATCHDOG_S)
            assert eventually(lambda: dead(child) and dead(kernel.pid))
        for cells in ([], ["1"]):
            with kernels.start() as after:
                assert after.how == "stock"
                for cell in cells:
                    execute(after, cell)
    assert caplog.messages == [
        "stock kernels instead of warm ones: no kernel from the kernel server: "
        "it ended with status -9 (no room)"
    ]
    for stem in (kernel.stem, after.stem):
        assert not Path(stem).parent.exists()


RENAMED = """\
import sys
from importlib.machinery import PathFinder, SourceFileLoader

class Renamed(SourceFileLoader):
    def get_code(self, fullname):
        text = self.get_data(self.path).decode().replace({old!r}, {old!r} + "_since_8")
        return compile(text, self.path, "exec", dont_inherit=True)

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        found = PathFinder.find_spec(name, path, target) if name.startswith({package!r}) else None
        if found and isinstance(found.loader, SourceFileLoader):
            found.loader = Renamed(found.loader.name, found.loader.path)
        return found

sys.meta_path.insert(0, Finder)
"""


@pytest.mark.parametrize(
    ("package", "old", "said"),
    [
        ("ipykernel", "_setup_pipe_in", "has no attribute '_setup_pipe_in'"),
        ("jupyter_client", "_handle_kernel_info_reply", None),
    ],
)
def test_a_library_that_renames_what_is_its_own(
    package: str, old: str, said: str | None, tmp_path: Path, tables: Tables, write_run: WriteRun
) -> None:
    """Its own code goes with the new name, so stock kernels run; what we use may be missing."""
    write_run(tmp_path / "data", tables)
    (tmp_path / "sitecustomize.py").write_text(RENAMED.format(package=package, old=old))
    command = [sys.executable, "run_calibration.py", "--data-dir", str(tmp_path / "data")]
    done = subprocess.run(
        [*command, "--out-dir", str(tmp_path / "out")],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=4 * WATCHDOG_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 ok" in done.stdout
    lines = done.stderr.splitlines()
    if said is None:
        assert lines == []
    else:
        (line,) = lines
        assert line.startswith("stock kernels instead of warm ones: ")
        assert said in line


def test_a_kernel_that_was_not_forked_is_no_warm_one(
    warm: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jupyter_client.provisioning.local_provisioner import LocalProvisioner

    from mm.pipeline.kernels.forked import ForkProvisioner

    monkeypatch.setattr(ForkProvisioner, "launch_kernel", LocalProvisioner.launch_kernel)
    with pytest.raises(KernelError, match="did not ask the kernel server"):
        warm.prove()


# --- ends

ENDS = {
    "import os; os._exit(3)": "exited with status 3",
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)": "killed by SIGKILL",
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": "killed by SIGSEGV",
}


@pytest.mark.parametrize("code", ENDS)
def test_a_dead_kernel_is_told_from_an_exception(kernels: Kernels, code: str) -> None:
    with kernels.start() as kernel:
        assert kernel.ending == "still running"
        with pytest.raises(DeadKernelError):
            execute(kernel, code)
        assert kernel.ending.startswith(ENDS[code])


def test_what_a_kernel_wrote_last_is_told(kernels: Kernels) -> None:
    code = (
        "import os\n"
        "os.write(2, b'noise\\n' * 9000 + b'libx: one\\n\\n  two \\nthree\\n')\n"
        "os._exit(3)"
    )
    with kernels.start() as kernel:
        with pytest.raises(DeadKernelError):
            execute(kernel, code)
        assert kernel.ending == "exited with status 3; it last wrote: libx: one | two | three"


def test_a_crash_says_where(warm: Kernels) -> None:
    with warm.start() as kernel:
        with pytest.raises(DeadKernelError):
            execute(kernel, "def deep():\n    import ctypes; ctypes.string_at(0)", "deep()")
        assert "SIGSEGV; it last wrote: Fatal Python error: Segmentation" in kernel.ending


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        (
            "import resource, numpy\n"
            "resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"
            "numpy.ones(1 << 33)",
            "MemoryError",
        ),
    ],
)
def test_an_exception_in_a_cell_is_no_dead_kernel(kernels: Kernels, code: str, error: str) -> None:
    with pytest.raises(papermill.PapermillExecutionError, match=error):
        run(kernels, code)


def test_a_cell_timeout_ends_the_kernel(kernels: Kernels) -> None:
    with pytest.raises(CellTimeoutError), kernels.start() as kernel:
        execute(kernel, "while True: pass", execution_timeout=1)
    assert dead(kernel.pid)


def start_endless(tmp_path: Path) -> str:
    """A cell that starts a process, writes its own and that one's pid, and never ends."""
    return (
        "import os, pathlib\n"
        "child = os.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '600')\n"
        f"pathlib.Path({str(tmp_path / 'pids')!r}).write_text(f'{{os.getpid()}} {{child}}\\n')\n"
        "while True: pass"
    )


def test_kill_ends_the_whole_group_from_another_thread(kernels: Kernels, tmp_path: Path) -> None:
    with kernels.start() as kernel, ThreadPoolExecutor(1) as pool:
        future = pool.submit(execute, kernel, start_endless(tmp_path))
        pid, child = wait_for_line(tmp_path / "pids")
        assert kernel.pid == pid
        assert kernel.status is None
        kernel.kill()
        with pytest.raises(DeadKernelError):
            future.result(WATCHDOG_S)
        assert kernel.ending == "killed by SIGKILL"
        assert eventually(lambda: dead(pid) and dead(child))
        kernel.kill()


def test_kill_right_after_the_start(kernels: Kernels) -> None:
    with kernels.start() as kernel:
        kernel.kill()
        with pytest.raises((RuntimeError, DeadKernelError), match="Kernel died"):
            execute(kernel, "1")
    assert dead(kernel.pid)


def test_what_a_cell_started_ends_with_its_kernel(kernels: Kernels) -> None:
    child = printed(
        run(kernels, "import os; print(os.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '600'))")
    )
    assert eventually(lambda: dead(child))


# --- the driver

DRIVER = """
import os, signal, sys, time
from pathlib import Path
from mm.pipeline.kernels import open_kernels
from mm.pipeline.kernels.papermill_import import import_lean
import_lean()
import nbformat.v4 as v4
import papermill
kind, folder, cell = sys.argv[1:]
with open_kernels(kind, ("numpy", "matplotlib.pyplot")) as kernels, kernels.start() as kernel:
    if "forks" in folder and os.fork() == 0:
        time.sleep(600)  # holds the driver's end of the server's socket
    signal.signal(signal.SIGINT, lambda *_: Path(folder, "interrupted").touch())
    Path(folder, "server").write_text(f"{kernels._server.process.pid}\\n")
    Path(folder, "directory").write_text(str(Path(kernel.stem).parent))
    papermill.execute_notebook(
        v4.new_notebook(cells=[v4.new_code_cell(cell)]), f"{folder}/done.ipynb",
        language="python", **kernel.options
    )
"""


@pytest.fixture
def drive() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", DRIVER, *arguments]
        started.append(subprocess.Popen(command, cwd=ROOT, start_new_session=True))
        return started[-1]

    yield start
    for driver in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()


@pytest.mark.parametrize("folder", ["alone", "forks"])
@pytest.mark.parametrize("kind", ["warm", "stock"])
def test_sigkill_of_the_driver_leaves_nothing(
    kind: str, folder: str, drive: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    here = tmp_path / folder
    here.mkdir()
    driver = drive(kind, str(here), start_endless(here))
    pid, child = wait_for_line(here / "pids")
    (server,) = wait_for_line(here / "server")
    driver.kill()
    driver.wait()
    assert eventually(lambda: all(map(dead, (pid, child, server))))
    assert eventually(lambda: not Path((here / "directory").read_text()).exists())


def test_a_driver_that_died_before_the_server_was_ready(tmp_path: Path) -> None:
    directory = tmp_path / "mmk-1"
    directory.mkdir()
    owner = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
    server = subprocess.run(
        [sys.executable, "-m", "mm.pipeline.kernels.fork_server", "0", owner.stdout, directory],
        cwd=ROOT,
        timeout=WATCHDOG_S,
    )
    assert server.returncode == 0
    assert not directory.exists()


def test_ctrl_c_reaches_the_driver_only(
    drive: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    cell = (
        "import pathlib, time\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "(folder / 'pids').write_text('0\\n')\n"
        "while not (folder / 'interrupted').exists(): time.sleep(0.01)\n"
        "time.sleep(0.2)"
    )
    driver = drive("warm", str(tmp_path), cell)
    wait_for_line(tmp_path / "pids")
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.wait(WATCHDOG_S) == 0
    assert not Path((tmp_path / "directory").read_text()).exists()


def test_after_many_runs_nothing_is_left(warm: Kernels) -> None:
    me = psutil.Process()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: run(warm, "1"), range(4)))
        before = me.num_fds(), threading.active_count()
        list(pool.map(lambda _: run(warm, "1"), range(16)))
        assert (me.num_fds(), threading.active_count()) <= before
    (server,) = (p for p in me.children() if "pandas" in p.cmdline())
    assert server.children() == []


def run_afresh(code: str) -> None:
    """Run statements in an interpreter of their own; raises if they do."""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=WATCHDOG_S)


def test_papermill_is_imported_lean_and_again_as_it_is_installed() -> None:
    code = (
        "import gc, sys; from mm.pipeline.kernels.papermill_import import forget, import_lean\n"
        "assert 'jupyter_client' not in sys.modules\n"
        "import_lean()\n"
        "assert 'rfc3987_syntax' not in sys.modules and 'papermill' in sys.modules\n"
        "kept = gc.get_freeze_count()\n"
        "import_lean()\n"
        "assert kept == gc.get_freeze_count() and gc.isenabled()\n"
        "forget()\n"
        "import papermill, rfc3987_syntax\n"
        "from jsonschema import FormatChecker; assert 'iri' in FormatChecker.checkers"
    )
    run_afresh(code)


@pytest.mark.parametrize(
    ("cell", "error", "saved"),
    [
        ("2", None, ["", "1", "2"]),
        ("1 / 0", papermill.PapermillExecutionError, ["", "1", "ZeroDivisionError"]),
        ("import os; os._exit(3)", DeadKernelError, ["", "1", ""]),
    ],
)
def test_a_notebook_is_saved_once_however_it_ends(
    warm: Kernels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cell: str,
    error: type[Exception] | None,
    saved: list[str],
) -> None:
    written = []
    handler = type(papermill.iorw.LocalHandler())
    monkeypatch.setattr(
        handler, "write", lambda _, text, path: written.append(Path(path).write_text(text))
    )
    target = tmp_path / "done.ipynb"
    expected = pytest.raises(error) if error else contextlib.nullcontext()
    with expected, warm.start() as kernel:
        papermill.execute_notebook(notebook("", "1", cell), target, **kernel.options)
    document = nbformat.read(target, as_version=4)
    found = [
        "".join(o.get("ename") or o["data"]["text/plain"] for o in c.outputs)
        for c in document.cells
        if c.cell_type == "code"
    ]
    assert found == saved
    assert len(written) <= 3, "before the first cell, at the end, with an error's banner"
