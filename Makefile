# Every target sets up .venv by itself; nothing but Python 3.11+ is needed.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test test-slow check bench clean

demo: $(READY)  ## features of the example clips with a report, and what the model sees in a masked face
	$(BIN)/openmarlin extract examples/clips --out demo-out/features --faces all --overwrite
	$(BIN)/openmarlin reconstruct examples/clips/single_face.mp4 --out demo-out/reconstruction --overwrite

test: $(READY)  ## the fast suite (within 12 minutes on two cores)
	$(BIN)/python -m pytest

test-slow: $(READY)  ## the rest: large models, long runs
	$(BIN)/python -m pytest -m slow

check: $(READY)  ## format, lint, types, direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## measure against the peers, and write the table in docs/speed.md
	$(BIN)/python -m benchmarks.run

# marlin-pytorch is the peer of the parity tests; its own pins (torchvision, ffmpeg) are not wanted.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps marlin-pytorch==0.3.4
	touch $(READY)

clean:
	rm -rf .venv demo-out
