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
import psutil
import pytest
from nbclient.exceptions import CellTimeoutError, DeadKernelError

import mm
from mm.pipeline.kernels import (
    Execution,
    Kernels,
    WarmKernelError,
    import_papermill,
    open_kernels,
    papermill_options,
    prove,
)
from mm.pipeline.kernels.protocol import SOCKET_PATH_MAX, make_directory

papermill = import_papermill()
logging.getLogger("papermill").setLevel(logging.CRITICAL)
pytestmark = pytest.mark.skipif(not Kernels.supported(), reason="there is no keeper here")

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
    "print({k: v for k, v in sorted(os.environ.items()) if k != 'JPY_PARENT_PID'})",
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


def execute(execution: Execution, *cells: str, **options: Any) -> Any:
    return papermill.execute_notebook(
        notebook(*cells), None, **papermill_options(execution) | options
    )


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


@pytest.fixture(scope="module")
def warm() -> Iterator[Kernels]:
    with Kernels() as kernels:
        yield kernels


@pytest.fixture(scope="module")
def stock() -> Iterator[Kernels]:
    with Kernels(()) as kernels:
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
    for name, kernels in (("warm", warm), ("stock", stock)):
        target = tmp_path / f"{name}.ipynb"
        env = kernels.env | {"MM_EXACT": "ä=\n;", "TZ": "Asia/Tokyo"}
        execution = kernels.execution(cwd=tmp_path, env=env)
        with pytest.raises(papermill.PapermillExecutionError, match="ZeroDivisionError"):
            papermill.execute_notebook(notebook(*FIGURES), target, **papermill_options(execution))
        assert execution.how == {"warm": "forked", "stock": "spawned"}[name]
        text = target.read_text().replace(f"ipykernel_{execution.pid}", "ipykernel_PID")
        cells = json.loads(text)["cells"]
        outputs[name] = [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]
    for source, from_warm, from_stock in zip(FIGURES, *outputs.values(), strict=True):
        assert from_warm == from_stock, source
    figures = [
        o["data"]["image/png"]
        for c in outputs["warm"]
        for o in c
        if "image/png" in o.get("data", {})
    ]
    assert len(figures) == 2


def test_random_numbers_differ_between_kernels(warm: Kernels) -> None:
    code = "import random, json, numpy; print(json.dumps([random.random(), numpy.random.rand()]))"
    first, second = (printed(execute(warm.execution(), code)) for _ in range(2))
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_many_threads_at_a_time(kernels: Kernels, tmp_path: Path) -> None:
    def run(number: int) -> int:
        execution = kernels.execution(cwd=tmp_path, env=kernels.env | {"MM_N": str(number)})
        return int(printed(execute(execution, "import os; print(os.environ['MM_N'])")))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(8))) == list(range(8))


# --- private


def test_nothing_listens_on_tcp(kernels: Kernels) -> None:
    code = (
        "import psutil, json, os\n"
        "print(json.dumps([[c.laddr.port for c in psutil.Process(p).net_connections('inet')\n"
        "                  if c.status == psutil.CONN_LISTEN]\n"
        f"                 for p in (os.getpid(), os.getppid(), {os.getpid()})]))"
    )
    assert printed(execute(kernels.execution(), code)) == [[], [], []]


def test_what_forked_processes_print_is_shown(kernels: Kernels) -> None:
    code = (
        "import multiprocessing\n"
        "process = multiprocessing.get_context('fork').Process(target=print, args=(42,), "
        "kwargs={'flush': True})\n"
        "process.start(); process.join()"
    )
    done = execute(kernels.execution(), code + "; import time; time.sleep(0.5)")
    assert printed(done) == 42


def test_sockets_are_private_and_their_paths_short(
    kernels: Kernels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = kernels.execution()
    directory = Path(execution.stem).parent
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "socket").stat().st_mode & 0o777 == 0o600
    assert len(f"{execution.stem}-99") <= SOCKET_PATH_MAX
    here = printed(execute(execution, "import tempfile; print(f'\"{tempfile.mkdtemp()}\"')"))
    assert Path(here).parent.parent == directory
    assert [path.name for path in directory.iterdir()] == ["socket"]

    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    made = Path(make_directory())
    assert len(str(made)) < SOCKET_PATH_MAX - 20
    made.rmdir()


# --- proof and fallback


def test_proof(warm: Kernels) -> None:
    prove(warm)


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
            "status 7 (its last words: libx.so: cannot open)",
        ),
    ],
)
def test_what_is_unsafe_to_fork_falls_back_with_one_line(
    body: str, reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "odd_module.py").write_text(body)
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    with open_kernels("warm", ["odd_module"], env) as kernels:
        execution = kernels.execution()
        execute(execution, "import json")
    assert execution.how == "spawned"
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("stock kernels instead of warm ones: ")
    assert reason in caplog.messages[0]


def test_a_figure_that_vanishes_is_no_proof(tmp_path: Path) -> None:
    (tmp_path / "odd_module.py").write_text(
        "import matplotlib.pyplot as plt\nplt.show = plt.close\n"
    )
    with (
        Kernels(["odd_module"], os.environ | {"PYTHONPATH": str(tmp_path)}) as kernels,
        pytest.raises(WarmKernelError, match="figure did not appear"),
    ):
        prove(kernels)


def test_a_function_named_with_its_module_is_called(tmp_path: Path) -> None:
    (tmp_path / "odd_module.py").write_text("def warm_up(): globals()['x'] = 5\n")
    with Kernels(["odd_module:warm_up"], os.environ | {"PYTHONPATH": str(tmp_path)}) as kernels:
        assert printed(execute(kernels.execution(), "import odd_module; print(odd_module.x)")) == 5


def test_elsewhere_kernels_are_plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Kernels, "supported", staticmethod(lambda: False))
    with open_kernels("warm") as kernels:
        execution = kernels.execution(cwd=tmp_path)
        directory = Path(execution.stem).parent
        code = "import os, json; print(json.dumps([os.getcwd(), os.getpid() == os.getsid(0)]))"
        assert printed(execute(execution, code)) == [str(tmp_path), True]
    assert execution.how == "plain"
    assert dead(execution.pid or 0)
    assert not directory.exists()


def test_after_the_keeper_died(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    code = (
        "import os, pathlib, time\n"
        "child = os.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '600')\n"
        f"pathlib.Path({str(tmp_path / 'pids')!r}).write_text(f'{{os.getppid()}} {{child}}\\n')\n"
        "time.sleep(600)"
    )
    (tmp_path / "odd_module.py").write_text("import os; os.write(2, b'no room\\n')")
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    with Kernels(["odd_module"], env) as kernels, ThreadPoolExecutor(1) as pool:
        execution = kernels.execution()
        future = pool.submit(execute, execution, code)
        keeper, child = wait_for_line(tmp_path / "pids")
        os.kill(keeper, signal.SIGKILL)
        with pytest.raises(DeadKernelError):
            future.result(WATCHDOG_S)
        assert eventually(lambda: dead(child) and dead(execution.pid or 0))
        for _ in range(2):
            after = kernels.execution()
            execute(after, "1")
            assert after.how == "plain"
        directory = Path(after.stem).parent
    assert [m for m in caplog.messages if "kernel server" in m] == [
        "the kernel server ended with status -9: plain kernels now (its last words: no room)"
    ]
    assert not directory.exists()


# --- ends

ENDS = {
    "import os; os._exit(3)": "exited with status 3",
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)": "killed by SIGKILL",
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": "killed by SIGSEGV",
}


@pytest.mark.parametrize("code", ENDS)
def test_a_dead_kernel_is_told_from_an_exception(kernels: Kernels, code: str) -> None:
    execution = kernels.execution()
    with pytest.raises(DeadKernelError):
        execute(execution, code)
    assert execution.obituary == ENDS[code]


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
        execute(kernels.execution(), code)


def test_a_cell_timeout_ends_the_kernel(kernels: Kernels) -> None:
    execution = kernels.execution()
    with pytest.raises(CellTimeoutError):
        execute(execution, "while True: pass", execution_timeout=1)
    assert dead(execution.pid or 0)


def start_endless(tmp_path: Path) -> str:
    """A cell that starts a process, writes its own and that one's pid, and never ends."""
    return (
        "import os, pathlib\n"
        "child = os.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '600')\n"
        f"pathlib.Path({str(tmp_path / 'pids')!r}).write_text(f'{{os.getpid()}} {{child}}\\n')\n"
        "while True: pass"
    )


def test_kill_ends_the_whole_group_from_another_thread(kernels: Kernels, tmp_path: Path) -> None:
    execution = kernels.execution()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(execute, execution, start_endless(tmp_path))
        pid, child = wait_for_line(tmp_path / "pids")
        assert execution.pid == pid
        assert execution.exit_status is None
        execution.kill()
        with pytest.raises(DeadKernelError):
            future.result(WATCHDOG_S)
    assert execution.obituary == "killed by SIGKILL"
    assert eventually(lambda: dead(pid) and dead(child))
    execution.kill()


def test_kill_before_the_start(kernels: Kernels) -> None:
    execution = kernels.execution()
    assert execution.obituary == "never started"
    execution.kill()
    with pytest.raises(RuntimeError, match="Kernel died"):
        execute(execution, "1")
    assert dead(execution.pid or 0)


def test_what_a_cell_started_ends_with_its_kernel(kernels: Kernels) -> None:
    code = "import os; print(os.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '600'))"
    child = printed(execute(kernels.execution(), code))
    assert eventually(lambda: dead(child))


# --- the driver

DRIVER = """
import os, signal, sys, threading, time
from pathlib import Path
from mm.pipeline.kernels import Kernels, WARM_MODULES, import_papermill, papermill_options
import nbformat.v4 as v4
kind, folder, cell = sys.argv[1:]
with Kernels(WARM_MODULES if kind == "warm" else ()) as kernels:
    execution = kernels.execution()
    keeper = kernels._keeper.pid
    if "forks" in folder and os.fork() == 0:
        time.sleep(600)  # holds the driver's end of the keeper's stdin
    signal.signal(signal.SIGINT, lambda *_: Path(folder, "interrupted").touch())
    Path(folder, "driver").write_text(f"{keeper}\\n")
    Path(folder, "directory").write_text(str(Path(execution.stem).parent))
    import_papermill().execute_notebook(
        v4.new_notebook(cells=[v4.new_code_cell(cell)]), f"{folder}/done.ipynb",
        language="python", **papermill_options(execution)
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
    (keeper,) = wait_for_line(here / "driver")
    driver.kill()
    driver.wait()
    assert eventually(lambda: all(map(dead, (pid, child, keeper))))
    assert eventually(lambda: not Path((here / "directory").read_text()).exists())


def test_a_driver_that_died_before_the_keeper_was_ready(tmp_path: Path) -> None:
    env = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "mm.pipeline.kernels.forkserver"]
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as keeper:
        assert keeper.stdin
        assert keeper.stdout
        keeper.stdin.close()
        keeper.stdout.close()
        assert keeper.wait(WATCHDOG_S) == 0
    assert list(tmp_path.iterdir()) == []


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

    def run(_: int) -> None:
        execute(warm.execution(), "1")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
        before = me.num_fds(), threading.active_count()
        list(pool.map(run, range(16)))
        assert (me.num_fds(), threading.active_count()) <= before
    (keeper,) = [
        p for p in me.children() if "forkserver" in " ".join(p.cmdline()) and p.cmdline()[3:]
    ]
    assert keeper.children() == []


def run_afresh(code: str) -> None:
    """Run statements in an interpreter of their own; raises if they do."""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=WATCHDOG_S)


def test_papermill_is_imported_without_its_slow_grammar() -> None:
    code = (
        "import sys; from mm.pipeline.kernels import import_papermill\n"
        "assert 'jupyter_client' not in sys.modules\n"
        "import_papermill()\n"
        "assert 'rfc3987_syntax' not in sys.modules and 'jsonschema' in sys.modules\n"
        "import rfc3987_syntax"
    )
    run_afresh(code)


def test_threads_that_ask_for_papermill_at_once_all_get_the_whole_of_it() -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from mm.pipeline.kernels import import_papermill\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    asked = [pool.submit(lambda: import_papermill().execute_notebook) for _ in range(8)]\n"
        "assert len({one.result() for one in asked}) == 1\n"
        "import gc; assert gc.isenabled()"
    )
    run_afresh(code)


def test_papermill_is_asked_for_again_without_keeping_garbage() -> None:
    code = (
        "import gc; from mm.pipeline.kernels import import_papermill\n"
        "import_papermill()\n"
        "kept = gc.get_freeze_count()\n"
        "assert kept and gc.isenabled()\n"
        "for _ in range(3): import_papermill()\n"
        "assert gc.get_freeze_count() == kept and gc.isenabled()"
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
    with expected:
        papermill.execute_notebook(
            notebook("", "1", cell), target, **papermill_options(warm.execution())
        )
    document = nbformat.read(target, as_version=4)
    found = [
        "".join(o.get("ename") or o["data"]["text/plain"] for o in c.outputs)
        for c in document.cells
        if c.cell_type == "code"
    ]
    assert found == saved
    assert len(written) <= 3, "before the first cell, at the end, with an error's banner"
