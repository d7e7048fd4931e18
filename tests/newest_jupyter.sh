#!/usr/bin/env bash
# The notebook and kernel tests against the newest Jupyter packages, pre-releases too, beside the
# other packages as they are locked. For a schedule: it exits as pytest does.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
"${PYTHON:-python3}" -m venv "$venv"
pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" -r requirements-dev.lock
"${pip[@]}" --pre --upgrade papermill jupyter_client jupyter_core ipykernel nbclient nbconvert nbformat
"$venv/bin/python" -m pip list 2>/dev/null | grep -iE '^(papermill|jupyter|ipykernel|nb)'
"$venv/bin/python" -m pytest tests/test_notebook.py tests/pipeline/test_kernels.py tests/pipeline/test_batch.py "$@"
