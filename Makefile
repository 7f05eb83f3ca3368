# Everything from nothing: each target makes the environment it needs, once.

PYTHON ?= python3
BIN := .venv/bin
HURRY := --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false \
	--xla_llvm_disable_expensive_passes=true --xla_cpu_parallel_codegen_split_count=1

.PHONY: mnist examples distributed test soak lint dist bench accelerators docs docs-serve

mnist: .venv/plot.installed  ## the main job: train, evaluate, two pictures
	$(BIN)/python examples/mnist.py $(ARGS)

examples: .venv/test.installed  ## every program, its pictures, and the pages that list them
	cd examples/gallery && for program in ../*.py index.py; do \
		echo "$$program"; ../../$(BIN)/python "$$program" || exit 1; \
	done

distributed: .venv/plot.installed  ## the main job on one process, then on two that share it
	$(BIN)/python examples/distributed.py $(ARGS)
	for process in 1 0; do \
		$(BIN)/python examples/distributed.py \
			--coordinator 127.0.0.1:7654 --processes 2 --process $$process $(ARGS) & \
	done; wait

test: .venv/test.installed  ## the tests and every example in the docstrings, compiled in a hurry
	XLA_FLAGS="$(HURRY)" $(BIN)/python -m pytest -n 2 --dist worksteal \
		-m "not soak and not bits and not accelerators" $(ARGS)

soak: .venv/test.installed  ## the long tests, and those of equal bits, compiled as for users; writes docs/reliability.md
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "soak or bits" --reliability=docs/reliability.md $(ARGS)

lint: .venv/dev.installed  ## formatting, linting, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" VIRTUAL_ENV="$(CURDIR)/.venv" $(BIN)/pyright --verifytypes fnet --ignoreexternal

dist: .venv-dist/tools.installed  ## wheel and source distribution, installed and run apart
	rm -rf dist
	.venv-dist/bin/python -m build --quiet
	.venv-dist/bin/twine check --strict dist/*
	.venv-dist/bin/python tests/distributions.py dist

bench: .venv-bench/plot,bench.installed  ## everything beside its peers, into bench/README.md
	.venv-bench/bin/python -m bench $(ARGS)

docs: .venv-docs/docs.installed  ## the site, every page executed, into docs/_build/html
	.venv-docs/bin/python -m sphinx -q -b html -j 4 -W --keep-going docs docs/_build/html $(ARGS)

docs-serve: docs  ## the site on http://127.0.0.1:8000
	.venv-docs/bin/python -m http.server 8000 --bind 127.0.0.1 --directory docs/_build/html

ACCELERATORS := .venv-accelerators/plot,accelerators,iree.installed

accelerators:  ## compiles for TPU and GPU, without one, and for IREE; ARGS=record writes what there is anew
	@if ! $(MAKE) --no-print-directory $(ACCELERATORS); then \
		echo "Skipped: what compiles for TPU and GPU could not be installed."; \
	elif [ "$(ARGS)" = record ]; then \
		.venv-accelerators/bin/python -m bench accelerators scale; \
	else \
		JAX_PLATFORMS=cpu JAX_ENABLE_COMPILATION_CACHE=false .venv-accelerators/bin/python -m pytest \
			-n 2 --dist worksteal -m accelerators tests/test_accelerator*.py $(ARGS); \
	fi

.venv/%.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	touch $@

.venv-bench/%.installed: pyproject.toml | .venv-bench/bin/python
	.venv-bench/bin/python -m pip install --quiet --editable ".[$*]"
	touch $@

.venv-docs/%.installed: pyproject.toml | .venv-docs/bin/python
	.venv-docs/bin/python -m pip install --quiet --editable ".[$*]"
	touch $@

.venv-accelerators/%.installed: pyproject.toml | .venv-accelerators/bin/python
	.venv-accelerators/bin/python -m pip install --quiet --editable ".[$*]" pytest pytest-xdist
	touch $@

.venv-dist/tools.installed: | .venv-dist/bin/python
	.venv-dist/bin/python -m pip install --quiet build twine
	touch $@

ENVIRONMENTS := .venv .venv-bench .venv-docs .venv-accelerators .venv-dist

$(ENVIRONMENTS:=/bin/python):
	$(PYTHON) -m venv $(@D:/bin=)
