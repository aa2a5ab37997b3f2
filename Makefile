# make figures   install, then draw every figure and judge every claim into figures/
# make test      install, then lint, types and tests
# make bench     what training and analysis cost: ratios in one run, each with its floor, and seconds;
#                two public grid scorers beside ours, as in `make scorers`
# make scorers   compare grid scores with two public packages, in a throw-away environment
# make clean     remove what these made
#
# Both make .venv and install into it once; a second run installs nothing. `make figures TORCH=` leaves the torch pin
# out, for GPU users: the newest build, with its CUDA packages, is then installed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH ?= torch==2.13.0
EXTRAS := dev,ratinabox,topology

.PHONY: figures test lint types bench scorers clean

figures: $(STAMP)
	$(BIN)/entorhinal figures --out figures
	$(BIN)/entorhinal table --out figures/leaderboard.md
	$(BIN)/entorhinal table --format tex --out figures/leaderboard.tex
	$(BIN)/entorhinal table --columns codes --out figures/codes.md
	$(BIN)/entorhinal table --columns codes --format tex --out figures/codes.tex

test: lint types
	$(BIN)/python -m pytest -q -n auto --dist loadfile --durations=15

bench: $(STAMP)
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m entorhinal.benchmarks.bench

scorers: $(STAMP)
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m entorhinal.benchmarks.public_scorers --out docs/validation.md

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "entorhinal needs Python 3.11 or newer; pass PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@{ grep -v '^torch==' constraints.txt; echo '$(TORCH)'; } > $(VENV)/constraints.txt
	@echo "installing into $(VENV) (once)"
	@links="$${UV_FIND_LINKS:-$${PIP_FIND_LINKS:-$$($(BIN)/python -m pip config get global.find-links 2>/dev/null)}}"; \
	uv=$$(command -v uv || true); \
	if [ -z "$$uv" ] && $(BIN)/python -m pip install -q --disable-pip-version-check uv 2>/dev/null; then uv=$(BIN)/uv; fi; \
	if [ -n "$$uv" ] && UV_FIND_LINKS="$$links" UV_SYSTEM_CERTS=1 $$uv pip install -q --python $(BIN)/python \
	  -c $(VENV)/constraints.txt -e '.[$(EXTRAS)]' 2>/dev/null; then :; \
	else echo "with pip, as uv could not"; \
	  $(BIN)/python -m pip install -q --disable-pip-version-check --use-pep517 -c $(VENV)/constraints.txt -e '.[$(EXTRAS)]'; fi
	@touch $(STAMP)

clean:
	rm -rf $(VENV) figures .pytest_cache .mypy_cache .ruff_cache .hypothesis
