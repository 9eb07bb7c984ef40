# Two commands do everything from a fresh clone: `make demo` and `make test`. Needs Python >= 3.11 and a package index.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint docs stress setup clean

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("scalesearch needs Python 3.11 or newer, not " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	@echo "Installing PyTorch and friends into .venv (one to three minutes) ..."
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

setup: .venv/ready

# The main job on images that come with the package: search, family, one trained member, report.
demo: .venv/ready
	$(BIN)/scalesearch grid --space mbconv_small --target-flops 3M --step 0.2 --images 3000 --epochs 8 --lr 0.005 --further 3 --yes --run runs/demo
	$(BIN)/scalesearch family --run runs/demo
	$(BIN)/scalesearch finetune --model b1 --epochs 8 --run runs/demo
	$(BIN)/scalesearch report runs/demo

# On all cores; a core that has nothing left takes half of what another one still has to do, in order, so that a file's
# tests, which share what is dear to make, mostly stay together.
test: .venv/ready
	$(BIN)/python -m pytest -n auto --dist worksteal

# Kills, signals, faults, and files that are broken or wrong at full size, with counts: hours on 2 cores.
stress: .venv/ready
	$(BIN)/python -m tests.stress.fuzz --inputs 12000 --seed 0
	$(BIN)/python -m tests.stress.fuzz --meaning --inputs 6000 --seed 0
	$(BIN)/python -m tests.stress.faults
	$(BIN)/python -m tests.stress.signals --interrupts 40 --kills 5 --life 15 --seed 0
	$(BIN)/python -m tests.stress.kills --kills 100 --seed 0
	$(BIN)/python -m tests.stress.kills --kills 40 --seed 1 --clock

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --strict tests/user_script.py
	$(BIN)/lint-imports

.venv/ready-docs: .venv/ready
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

# The documentation, into site/. Dead links, anchors and names are errors; nothing may be loaded from elsewhere.
docs: .venv/ready-docs
	$(BIN)/python docs/generate.py
	rm -rf site
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --conf-dir docs --doctree-dir site/.doctrees . site
	rm -rf site/.doctrees
	! grep -rEl --include='*.html' '<(script|link|img|iframe)[^>]* (src|href)="(https?:)?//' site
	@echo "Open site/index.html"

clean:
	rm -rf site .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis runs/demo
