# Everything runs in .venv, set up from constraints.txt; only python3 (3.11 or later) is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: setup demo test test-slow test-tf test-ecosystem test-all lint docs bench bench-peers bench-servers bench-tf clean

setup: $(VENV)/.ready
	@cat $(VENV)/.ready

# where there is a C++ compiler, a native decoder that does not build is an error
$(VENV)/.ready: pyproject.toml constraints.txt setup.py $(wildcard src/ogpt/decoding/native/csrc/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: Python 3.11 or later is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1)"; \
	  echo "hint: name another one, for example: make setup PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: $(PYTHON) lacks the venv module"; \
	  echo "hint: on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "setting up $(VENV); this takes minutes where PyTorch is still to be fetched"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -c constraints.txt setuptools wheel
	OGPT_REQUIRE_NATIVE=$$(command -v $${CXX:-g++} >/dev/null && echo 1) \
	  $(PIP) install --quiet -c constraints.txt --no-build-isolation -e '.[dev]'
	@$(BIN)/python -c 'import sys, torch; print(f"torch {torch.__version__}, Python {sys.version.split()[0]}, in $(VENV)")' > $@.tmp
	@mv $@.tmp $@

demo: setup
	$(BIN)/ogpt demo

test: setup
	$(BIN)/pytest -n auto --dist loadfile -m "not slow and not gpu" --cov --cov-report=term:skip-covered --cov-report=json
	$(BIN)/python tests/contracts/every_raise.py coverage.json

test-slow: setup
	$(BIN)/pytest -n auto --dist loadfile -m "slow and not gpu"

# TensorFlow in an environment of its own: the ordinary one stays light
TF_VENV := .venv-tf
TF_TESTS := tests/tf $(addprefix tests/contracts/test_,door.py examples.py guides.py)

$(TF_VENV)/.ready: pyproject.toml constraints.txt
	@echo "setting up $(TF_VENV); this takes minutes where TensorFlow is still to be fetched"
	$(PYTHON) -m venv $(TF_VENV)
	$(TF_VENV)/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt \
	  numpy tokenizers huggingface_hub filelock typer rich h5py torch tensorflow-cpu keras scikit-learn scipy \
	  fastapi uvicorn httptools prometheus-client sqlalchemy alembic \
	  pytest pytest-cov pytest-timeout pytest-xdist
	@touch $@

test-tf: $(TF_VENV)/.ready
	PYTHONPATH=src:. TF_CPP_MIN_LOG_LEVEL=2 $(TF_VENV)/bin/pytest -n auto --dist loadfile $(TF_TESTS) \
	  -k "tf or TF or tensorflow" --cov --cov-config=tests/tf/coverage.ini --cov-report=json:coverage-tf.json
	$(TF_VENV)/bin/python tests/contracts/every_raise.py coverage-tf.json tf

# Trainer, PEFT, accelerate, lm-eval and bitsandbytes with two versions of transformers. Each
# environment adds to .venv; the results become the table in docs/guides/from-transformers.md.
ECOSYSTEMS := 4.57.6 5.23.0
SITE := -c 'import site; print(site.getsitepackages()[0])'

.venv-transformers-%/.ready: tests/ecosystem/transformers-%.txt tests/ecosystem/packages.txt $(VENV)/.ready
	@echo "setting up .venv-transformers-$*"
	$(PYTHON) -m venv .venv-transformers-$*
	$(BIN)/python $(SITE) > $$(.venv-transformers-$*/bin/python $(SITE))/zz_setup.pth
	.venv-transformers-$*/bin/python -m pip --disable-pip-version-check install --quiet --no-deps \
	  --only-binary :all: -r $<
	@touch $@

test-ecosystem: $(ECOSYSTEMS:%=.venv-transformers-%/.ready)
	for version in $(ECOSYSTEMS); do PYTHONPATH=src HF_HUB_OFFLINE=1 \
	  .venv-transformers-$$version/bin/python -m pytest -q -n 0 -W ignore::FutureWarning \
	  tests/ecosystem tests/integrations || exit 1; done
	$(BIN)/python -m tests.ecosystem.table

test-all: test test-slow test-tf test-ecosystem

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# build/docs/index.html is the first page
docs: setup
	$(BIN)/python -W error docs/api/build.py build/docs

bench: setup
	$(BIN)/python -m benchmarks.run

# environments of the baselines that the project does not install; `make bench` uses them
bench-peers: setup
	$(BIN)/python -m benchmarks.peers.environments

# `ogpt serve` beside vLLM, llama.cpp and OpenVINO GenAI, in environments of their own
bench-servers: setup
	$(BIN)/python -m benchmarks.peers.environments servers
	$(BIN)/python -m benchmarks.peers.servers

# benchmarks of TensorFlow, in its environment
bench-tf: $(TF_VENV)/.ready
	PYTHONPATH=src TF_CPP_MIN_LOG_LEVEL=2 $(TF_VENV)/bin/python -m benchmarks.tf_generation
	PYTHONPATH=src TF_CPP_MIN_LOG_LEVEL=2 $(TF_VENV)/bin/python -m benchmarks.tf_training

clean:
	rm -rf $(VENV) $(TF_VENV) .venv-transformers-* build dist src/ogpt/decoding/native/libogpt.* .coverage coverage.json coverage-tf.json .pytest_cache .mypy_cache .ruff_cache
