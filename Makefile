# Everything from nothing: each target makes the environment it needs, once.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: mnist test lint bench

mnist: .venv/plot.installed  ## the main job: train, evaluate, two pictures
	$(BIN)/python examples/mnist.py $(ARGS)

test: .venv/test.installed  ## the tests and every example in the docstrings
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

lint: .venv/dev.installed  ## formatting, linting, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/plot.installed  ## seconds an epoch beside a raw jitted loop
	$(BIN)/python bench/headline.py

.venv/%.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv .venv
