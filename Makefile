# All a fresh machine needs: python3 (3.11 or newer) and make. Everything lands in .venv and in the model folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt
# Packages that depend on another build of OpenCV overwrite its files; this puts the one without a window system back.
HEADLESS := $(PIP) install --quiet --force-reinstall --no-deps --constraint constraints.txt opencv-python-headless
DEMO := demo
TESTS ?= tests
# A process for each core, each with one share of the files (tests/parallel.py). JOBS=0: all in one process, in order.
JOBS ?= 2
PARALLEL := --numprocesses $(JOBS) --no-loadscope-reorder
MARKS := $(if $(SLOW),not gpu,not gpu and not slow)

.PHONY: help demo eval reproduce test lint format schemas bench gpu clean

help:
	@echo "make demo     install what a build needs, build real shards from packaged photos, draw them"
	@echo "make eval     run every evaluation protocol on small stand-ins with a tiny model, and write the report"
	@echo "make reproduce  train a small model on generated scenes and score it on others, a quarter of an hour (LONG=1: and at"
	@echo "                64 pixels, half an hour more)"
	@echo "make test     install what the tests need and run them (SLOW=1: the slow ones too; TESTS=tests/shards: some)"
	@echo "make lint     ruff and mypy"
	@echo "make schemas  write schemas/ from the typed records"
	@echo "make bench    ours beside peers, ratios in one run"
	@echo "make gpu      the tests that need a CUDA device"

$(VENV)/base:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python must be 3.11 or newer; set PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y python3-venv; } \
		|| { echo "venv is missing: install your system's python3-venv package"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip
	@touch $@

$(VENV)/demo: $(VENV)/base pyproject.toml constraints.txt
	@echo "installing core, Ray and webdataset (no torch), a minute or so ..."
	$(INSTALL) --editable '.[ray,demo]'
	@touch $@

$(VENV)/dev: $(VENV)/base pyproject.toml constraints.txt
	@echo "installing what the tests need, torch among it, a few minutes ..."
	$(INSTALL) --editable '.[dev,torch]'
	$(HEADLESS)
	@touch $@ $(VENV)/demo

demo: $(VENV)/demo
	$(BIN)/python -m onegen.demo.photos $(DEMO)/photos
	$(BIN)/onegen models fetch
	$(BIN)/onegen build quickstart $(DEMO)/dataset
	$(BIN)/onegen show $(DEMO)/dataset --out $(DEMO)/sheet.png
	@echo; echo "shards, for any WebDataset reader:"; ls -1 $(DEMO)/dataset/shards/*.tar
	@echo "picture of them: $(DEMO)/sheet.png"

# Two steps of a random model on 64 pixels: the code is what is tried here.
EVAL := eval
TINY = --model $(EVAL)/model --out $(EVAL)/results --steps 2
SMALL = $(TINY) --height 64 --width 64
TRUTH = --out $(EVAL)/results --name truth

eval: $(VENV)/dev
	$(BIN)/python -m onegen.demo.photos $(DEMO)/photos
	$(BIN)/onegen models fetch
	$(BIN)/onegen build quickstart $(DEMO)/dataset
	$(BIN)/python -m onegen.eval.synthetic $(EVAL) $(DEMO)/photos
	$(BIN)/onegen eval geneval $(SMALL) -O prompts=2 -O images=1
	$(BIN)/onegen eval nvs $(SMALL) --data $(EVAL)/data/objects
	$(BIN)/onegen eval nvs score $(EVAL)/truth/nvs $(TRUTH) --data $(EVAL)/data/objects
	$(BIN)/onegen eval identity $(SMALL) --data $(EVAL)/data/people -O images=1 -O clip_prompts=false
	$(BIN)/onegen eval identity score $(EVAL)/truth/identity $(TRUTH) --data $(EVAL)/data/people \
		-O images=1 -O clip_prompts=false
	$(BIN)/onegen eval depth $(TINY) --height 96 --width 128 --data $(EVAL)/data/nyuv2
	$(BIN)/onegen eval depth score $(EVAL)/truth/depth $(TRUTH) --data $(EVAL)/data/nyuv2
	$(BIN)/onegen eval depth $(TINY) --height 96 --width 128 --data $(EVAL)/data/diode -O dataset=diode
	$(BIN)/onegen eval cameras $(SMALL) --data $(EVAL)/data/objects
	$(BIN)/onegen eval cameras score $(EVAL)/truth/cameras $(TRUTH) --data $(EVAL)/data/objects
	$(BIN)/onegen eval pie $(TINY) --data $(EVAL)/data/pie
	$(BIN)/onegen eval pie score $(EVAL)/truth/pie $(TRUTH) --data $(EVAL)/data/pie
	$(BIN)/onegen eval dreambench $(SMALL) --data $(EVAL)/data/subjects -O images=1
	$(BIN)/onegen eval cycle $(SMALL) --data $(DEMO)/dataset -O samples=4
	$(BIN)/onegen eval report $(EVAL)/results
	@echo; echo "This proves the code: perfect answers (truth) score what they must, and every protocol runs from data to page."
	@echo "It says nothing about a model: this one is random, and the data stand in for the benchmarks'."

# What it runs, and with what it is compared, is told by the command itself and in docs/training.md.
reproduce: $(VENV)/dev
	$(BIN)/python -m onegen.eval.reproduce $(if $(LONG),--long)

test: $(VENV)/dev
	$(BIN)/onegen models fetch
	$(BIN)/onegen models fetch minilm
	$(BIN)/python -m onegen.demo.photos
	$(BIN)/python -m pytest $(TESTS) -m "$(MARKS)" $(PARALLEL) --durations=15 $(PYTEST)

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schemas: $(VENV)/demo
	$(BIN)/python -m onegen.cli.schemas schemas

bench: $(VENV)/dev
	$(BIN)/python -m benchmarks

gpu: $(VENV)/dev
	$(BIN)/python -m pytest $(TESTS) -m gpu $(PYTEST)

clean:
	rm -rf $(VENV) $(DEMO) $(EVAL) reproduce dist build
