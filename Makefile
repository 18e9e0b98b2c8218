# Both `make demo` and `make test` do all their own set-up; they need Python 3.11 to 3.13 and the package registry.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO := demo
COUNT ?= 24
COMPARISON ?= comparison
SHOW ?=
THREADS ?= 1
SIZE ?= 128
REPORT ?= reports/comparison$(if $(filter-out 128,$(SIZE)),-$(SIZE))
STUDY ?= reports/comparison/study.toml
JOBS ?= 0
LEVELS := 0,0.25,0.5,0.75,1
METHODS := dps,dps-g,deepfillv2,deepfillv2-guided,scfegan,mean-color,telea,navier-stokes

.DEFAULT_GOAL := help
.PHONY: help install demo compare comparison test lint types unit bench figure recipes page clean

help: ## Show this list.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# uv installs several times faster than pip; where it cannot be had, pip does the same job. On a machine without a
# desktop's libGL, OpenCV's wheel cannot be loaded; its headless twin is the same module without windows.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "error: Python 3.11 to 3.13 is needed; run: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv || true
	@if [ -x $(BIN)/uv ] && $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
		then :; else $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'; fi
	@$(BIN)/python -c 'import cv2' 2>/dev/null || { \
		$(BIN)/python -m pip uninstall --quiet --yes opencv-python && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check 'opencv-python-headless>=4.10,<6'; }
	@touch $@

install: $(INSTALLED) ## Make the virtual environment and install the project into it.

# What another version made there cannot be continued, so it is made again.
demo: $(INSTALLED) ## Build a dataset from sample photos, edit a face at five levels, score methods, name a page to open.
	@mkdir -p $(DEMO); new=$$(cat pyproject.toml models/bundled/*/*.safetensors | sha256sum); old=$$(cat $(DEMO)/made-by 2>/dev/null); \
	if [ "$$old" != "$$new" ] && { [ -n "$$old" ] || [ "$(DEMO)" = demo ]; }; then \
		rm -rf $(addprefix $(DEMO)/,built edit small outputs report guided scfegan trained compare); fi; \
	echo "$$new" >$(DEMO)/made-by
	$(BIN)/dpsdata sample $(DEMO)/faces --count $(COUNT)
	$(BIN)/dpsdata build $(DEMO)/faces $(DEMO)/built --masks dps --masks deepfillv2 --masks lama-medium
	$(BIN)/dpsdata verify $(DEMO)/built
	$(BIN)/dpsdata preview $(DEMO)/built
	$(BIN)/dps edit $(DEMO)/built/images/face_0001.png --mask $(DEMO)/built/masks/dps/face_0001.png \
		--sketch $(DEMO)/built/sketches/face_0001.png --align none --levels $(LEVELS) -o $(DEMO)/edit
	$(BIN)/dpsdata build $(DEMO)/faces $(DEMO)/small --size 64 --masks dps
	$(BIN)/dpseval run $(DEMO)/small \
		--methods $(METHODS) \
		--masks dps --split all --levels $(LEVELS) --outputs $(DEMO)/outputs -o $(DEMO)/report

compare: demo ## Train small baselines for about a minute each and score them instead of the bundled ones.
	$(BIN)/dps train tiny-deepfillv2-guided --data $(DEMO)/small --out $(DEMO)/guided --device cpu
	$(BIN)/dps train tiny-scfegan --data $(DEMO)/small --out $(DEMO)/scfegan --device cpu
	$(BIN)/dpseval run $(DEMO)/small --methods $(METHODS) --masks dps --split all --levels $(LEVELS) \
		--weights deepfillv2-guided=$(DEMO)/guided --weights scfegan=$(DEMO)/scfegan \
		--outputs $(DEMO)/trained -o $(DEMO)/compare

# The comparison of reports/comparison. DATA holds aligned faces in folders train, val and test, and SHOW names those of
# test that may be shown. SIZE is the side that photos are built at. STUDY holds methods, conditions and questions; fewer
# take less time. JOBS conditions run at once, 0 for one a core. Run again with more, it does only what is missing.
comparison: $(INSTALLED) ## Remake the comparison of the bundled networks: make comparison DATA=FACES.
	test -d "$(DATA)" || { echo "error: DATA: no such folder; run: make comparison DATA=FACES"; exit 5; }
	$(BIN)/dpsdata build $(DATA) $(COMPARISON)/built-$(SIZE) --size $(SIZE) --masks dps --masks center
	$(BIN)/dpseval study $(COMPARISON)/built-$(SIZE) $(STUDY) --show "$(SHOW)" --jobs $(JOBS) \
		--work $(COMPARISON)/work-$(SIZE) -o $(REPORT)

# THREADS are those of each test process: two processes of one thread, or else one process.
test: lint types unit ## Lint, check types and run all tests; the last lines name every skip and why.

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/pytest tests/test_style.py

types: $(INSTALLED)
	$(BIN)/mypy

unit: $(INSTALLED)
	OMP_NUM_THREADS=$(THREADS) $(BIN)/pytest -n $(if $(filter 1,$(THREADS)),2,0) -rfEs

bench: $(INSTALLED) ## Measure the speeds that reports/benchmarks/README.md quotes; writes reports/benchmarks/*.json.
	for script in tests/benchmarks/*_speed.py; do $(BIN)/python $$script || exit 1; done

figure: $(INSTALLED) ## Make the picture of dpsdata/README.md.
	$(BIN)/dpsdata sample $(DEMO)/figure_faces --count 6
	$(BIN)/dpsdata build $(DEMO)/figure_faces $(DEMO)/figure --masks dps --masks deepfillv2 --masks lama-medium
	mkdir -p reports/figures
	$(BIN)/dpsdata preview $(DEMO)/figure --sheet reports/figures/dataset.jpg

recipes: $(INSTALLED) ## Make the recipes of docs/recipes.md and their pictures.
	$(BIN)/dps recipes $(DEMO)/recipes
	mkdir -p reports/figures/recipes
	for figure in $(DEMO)/recipes/*/figure.jpg; do \
		cp $$figure reports/figures/recipes/$$(basename $$(dirname $$figure)).jpg || exit 1; done

page: $(INSTALLED) ## Write the editor as a static folder, demo/page; needs npm (Node 20).
	$(BIN)/dps page $(DEMO)/page

clean: ## Remove what the demo and the tests made; the virtual environment stays.
	rm -rf $(DEMO) .pytest_cache .mypy_cache .ruff_cache
