"""A night's calibration as an Airflow DAG: one task, one call of the command.

For Airflow 3, or 2 with its standard provider: copy it into the DAGs folder and set the
paths. Prefect, cron or a Makefile take the same call and the same exit codes; `meaning` is all
there is to know of them.
"""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta
from importlib.util import find_spec

REPOSITORY = "/opt/fill-calibration"
DATA_DIR = "s3://desk/backtests/{{ ds }}"  # Airflow fills in the day
OUT_DIR = "s3://desk/calibrations/{{ ds }}"
REGISTRY = "/srv/fill-calibration/registry"  # a folder that the worker keeps
LIVE_DIR = "/srv/fill-calibration/live"


def command(data_dir: str, out_dir: str, scheduler: str = "local") -> list[str]:
    """The one call. What still holds of an earlier try is skipped, so a retry costs what is left.

    Credentials come from the worker's environment or role, never from here.
    """
    return [
        f"{REPOSITORY}/.venv/bin/python",
        f"{REPOSITORY}/run_calibration.py",
        "--data-dir",
        data_dir,
        "--out-dir",
        out_dir,
        "--scheduler",
        scheduler,
    ]


def meaning(exit_code: int) -> str:
    """What a flow does with an exit code: go on, try again, or call a person.

    0: all ok or warned. 3: none failed, but some symbols have no number to trust and no params
    file; trying again gives the same. 1: some failed; 130: interrupted, or the cluster was lost:
    the next try does what is left. 4: logs are missing or stale, and may only be late. 2: the
    command line, the folders or the workers are not as they should be; no try will help.
    """
    if exit_code in (0, 3):
        return "go on"
    return "call a person" if exit_code == 2 else "try again"


def afterwards(out_dir: str, registry: str, live_dir: str) -> list[list[str]]:
    """What follows a night: score what was live, promote what may go live, hand it over.

    Each ends with 0, or with 3 or 4 where its lines name a symbol that needs a person.
    """
    base = [f"{REPOSITORY}/.venv/bin/python", f"{REPOSITORY}/run_calibration.py"]
    told = ["--out-dir", out_dir, "--registry", registry]
    return [
        [*base, "score", *told],
        [*base, "promote", *told],
        [*base, "export", *told, "--to", live_dir],
    ]


def calibrate(data_dir: str, out_dir: str) -> int:
    """The task."""
    from airflow.exceptions import AirflowException, AirflowFailException

    code = subprocess.run(command(data_dir, out_dir), check=False).returncode  # noqa: S603
    if meaning(code) == "call a person":
        raise AirflowFailException(f"run_calibration.py ended with {code}; its log says why")
    if meaning(code) == "try again":
        raise AirflowException(f"run_calibration.py ended with {code}")
    return code


def hand_over(out_dir: str) -> None:
    """The task behind it."""
    from airflow.exceptions import AirflowFailException

    codes = [
        subprocess.run(words, check=False).returncode  # noqa: S603
        for words in afterwards(out_dir, REGISTRY, LIVE_DIR)
    ]
    if any(codes):
        raise AirflowFailException(f"score, promote, export ended with {codes}, see their lines")


def make_dag() -> object:
    """Every night at two, with two more tries."""
    from airflow import DAG
    from airflow.providers.standard.operators.python import PythonOperator

    with DAG(
        "fill_calibration",
        schedule="0 2 * * *",
        start_date=datetime(2026, 1, 1),
        catchup=False,
        max_active_runs=1,  # a results folder has one writer
    ) as made:
        night = PythonOperator(
            task_id="calibrate",
            python_callable=calibrate,
            op_kwargs={"data_dir": DATA_DIR, "out_dir": OUT_DIR},
            retries=2,
            retry_delay=timedelta(minutes=5),
        )
        night >> PythonOperator(
            task_id="hand_over", python_callable=hand_over, op_kwargs={"out_dir": OUT_DIR}
        )
    return made


# Airflow looks for it here; None where this is read, tested or linted without Airflow.
dag = make_dag() if find_spec("airflow") else None
