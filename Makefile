# Two commands do all their own set-up: make calibrate, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# --no-compile: Python compiles what is used when it is; all of it takes pip 24 s.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

.PHONY: help calibrate scale test lint newest lock notebook pictures clean

help:
	@echo "make calibrate   calibrate every symbol in data/ into out/ (ARGS='--jobs 4 ...' adds options)"
	@echo "make scale       add what other machines and s3:// folders need (docs/scale.md)"
	@echo "make test        lint, types and all tests"
	@echo "make newest      notebook and kernel tests against the newest Jupyter packages"
	@echo "make notebook    open the template in JupyterLab"
	@echo "make pictures    make the pictures of the README from the demo (needs chromium)"
	@echo "make lock        resolve requirements*.txt into the lock files"
	@echo "make clean       remove the virtual environment and the results"

calibrate: $(VENV)/.run
	$(BIN)/python run_calibration.py $(ARGS)

scale: $(VENV)/.scale

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict mm tests benchmarks run_calibration.py

newest:
	PYTHON=$(PYTHON) tests/newest_jupyter.sh $(ARGS)

# In a container one is root, whom Jupyter turns away unless told.
notebook: AS_ROOT = $(if $(filter 0,$(shell id -u)),--allow-root)
notebook: $(VENV)/.run
	$(BIN)/jupyter lab --ServerApp.root_dir="$(CURDIR)" $(AS_ROOT) $(ARGS) notebooks/poisson_fill_calibration.ipynb

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0] + "; name another: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.lock | $(VENV)/bin/python
	$(INSTALL) -r requirements.lock
	@touch $@

$(VENV)/.scale: requirements-scale.lock | $(VENV)/bin/python
	$(INSTALL) -r requirements-scale.lock
	@touch $@ $(VENV)/.run

$(VENV)/.dev: requirements-dev.lock | $(VENV)/bin/python
	$(INSTALL) -r requirements-dev.lock
	@touch $@ $(VENV)/.run $(VENV)/.scale

pictures: $(VENV)/.run
	$(BIN)/python docs/make_pictures.py

lock:
	uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" requirements.txt -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" requirements-scale.txt -o requirements-scale.lock
	uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" requirements-dev.txt -o requirements-dev.lock

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
	find out -mindepth 1 ! -path out/README.md -delete
