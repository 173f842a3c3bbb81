# Every target sets up .venv by itself; nothing but Python 3.11+ is needed.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test test-slow test-wheel test-lowest check docs reference licences sbom audit bench clean

demo: $(READY)  ## features of the example clips with a report, faces in numbers, expressions, and what the model sees in a masked face
	$(BIN)/openmarlin extract examples/clips --out demo-out/features --faces all --overwrite
	$(BIN)/openmarlin faces examples/clips --out demo-out/faces --overwrite
	$(BIN)/openmarlin predict examples/clips --out demo-out/expressions --overwrite
	$(BIN)/openmarlin reconstruct examples/clips/single_face.mp4 --out demo-out/reconstruction --overwrite

test: $(READY)  ## the fast suite (about 15 to 20 minutes on two cores)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-slow: $(READY)  ## the rest: large models, long runs
	$(BIN)/python -m pytest -m slow

test-wheel: $(READY)  ## a wheel in an empty environment, outside the checkout: does `extract` run there?
	rm -rf build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(PYTHON) -m venv build/wheel/env
	build/wheel/env/bin/python -m pip install --quiet --constraint constraints.txt build/wheel/*.whl
	cp examples/clips/single_face.mp4 build/wheel/
	cd build/wheel && env -u PYTHONPATH env/bin/openmarlin extract single_face.mp4 --out features
	test -s build/wheel/features/features.parquet -a -s build/wheel/features/report.html

test-lowest:  ## the fast suite with the oldest dependencies that pyproject.toml allows (downloads gigabytes)
	$(PYTHON) -m venv --clear build/lowest
	$(PYTHON) tests/lowest.py > build/lowest/constraints.txt
	build/lowest/bin/python -m pip install --quiet --constraint build/lowest/constraints.txt --editable '.[dev]'
	build/lowest/bin/python -m pip install --quiet --no-deps marlin-pytorch==0.3.4
	build/lowest/bin/python -m pytest

check: docs $(READY)  ## format, lint, types, direction of imports, documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)  ## the documentation as a site, build/docs/index.html; a warning, as of a dead link, is an error
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs

reference: $(READY)  ## write docs/reference.md from the settings classes
	$(BIN)/python docs/make_reference.py

licences: $(READY)  ## write docs/licences.md from what the installed packages state
	$(BIN)/python docs/make_licences.py

sbom: $(READY) build/tools/ready  ## everything that is installed, as CycloneDX: build/sbom.json
	build/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file build/sbom.json $(BIN)/python

audit: build/tools/ready  ## known vulnerabilities of the versions in constraints.txt (asks PyPI)
	build/tools/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

bench: $(READY)  ## measure against the peers, and write the table in docs/lab/speed.md
	$(BIN)/python -m benchmarks.run

# marlin-pytorch is the peer of the parity tests; its own pins (torchvision, ffmpeg) are not wanted.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,peers,docs]'
	$(BIN)/python -m pip install --quiet --no-deps marlin-pytorch==0.3.4
	touch $(READY)

# Programs that look at the environment must not be part of it.
build/tools/ready:
	$(PYTHON) -m venv build/tools
	build/tools/bin/python -m pip install --quiet 'cyclonedx-bom>=7.5' 'pip-audit>=2.10'
	touch build/tools/ready

clean:
	rm -rf .venv demo-out build
