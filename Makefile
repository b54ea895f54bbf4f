# The two commands of the README: `make demo` and `make test`. Each makes its own virtual environment.
PYTHON ?= python3
# Windows in Git Bash keeps its programs elsewhere.
BIN := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
DEMO := .venv-demo
BENCH := .venv-bench
ITKIT := .venv-bench-itkit
SLICER := .venv-slicer
TEST := .venv-test
# MkDocs Material tells at each start that it ends in May 2027. Its successor, Zensical, is not used yet: the --strict
# of version 0.0.73, the one that was tried, finds broken links between pages, but passes over missing images and missing
# pages of the navigation.
export NO_MKDOCS_2_WARNING := 1
# Empty is unset. The tests start some hundred processes, and without bytecode each of them compiles all that it imports:
# half a second for SimpleITK, several for torch and MONAI.
export PYTHONDONTWRITEBYTECODE :=
PIP := -m pip --disable-pip-version-check install --quiet --no-compile --constraint constraints.txt

.PHONY: demo test test-slicer check check-types check-rest docs tables bench clean

demo: $(DEMO)/installed
	$(DEMO)/$(BIN)/itk_infer demo

test: $(TEST)/installed check
	$(TEST)/$(BIN)/coverage erase
	$(TEST)/$(BIN)/coverage run -m pytest --numprocesses 2 --dist worksteal
	$(TEST)/$(BIN)/python tests/support/coverage_report.py

# The Slicer extension against Slicer's real libraries and a real Qt; make test skips what needs them.
test-slicer: $(SLICER)/installed
	QT_QPA_PLATFORM=offscreen $(SLICER)/$(BIN)/python -m pytest tests/slicer_extension --numprocesses 2

# mypy beside the others: on two cores, it takes as long as they do.
check: $(TEST)/installed
	+$(MAKE) --no-print-directory --jobs=2 check-types check-rest
	$(TEST)/$(BIN)/python tests/support/collect_twice.py

check-types: $(TEST)/installed
	$(TEST)/$(BIN)/mypy

check-rest: $(TEST)/installed
	$(TEST)/$(BIN)/ruff check
	$(TEST)/$(BIN)/ruff format --check
	$(TEST)/$(BIN)/lint-imports
	$(TEST)/$(BIN)/mkdocs build --strict --quiet

docs: $(TEST)/installed
	$(TEST)/$(BIN)/mkdocs serve

# The tables of options in docs/, after a change of itk_infer/options.py; a test compares them.
tables: $(TEST)/installed
	$(TEST)/$(BIN)/python tests/support/option_tables.py
	$(TEST)/$(BIN)/python tests/support/api_page.py

# The parts of the bench in which itkit is a contender; its environment is made for no others.
comma := ,
WITH_ITKIT := $(if $(ONLY),$(filter folder start,$(subst $(comma), ,$(ONLY))),all)

# make bench DATA=folder of images and models, ONLY=parts of it, ROUNDS=of each, THREADS=cores used
bench: $(TEST)/installed $(BENCH)/installed $(if $(WITH_ITKIT),$(ITKIT)/tried)
	$(TEST)/$(BIN)/python benchmarks/bench.py --peers $(BENCH)/$(BIN)/python --itkit $(ITKIT)/$(BIN)/python \
	  $(if $(DATA),--data $(DATA)) $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	  $(if $(THREADS),--threads $(THREADS))

$(DEMO)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/$(BIN)/python $(PIP) --editable ".[onnx]"
	touch $@

# torch first and by its exact version: a range would take the newest build and its CUDA packages.
$(TEST)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(TEST)
	$(TEST)/$(BIN)/python $(PIP) torch
	$(TEST)/$(BIN)/python $(PIP) --editable ".[onnx,openvino,mmengine,monai-torch,cluster,dicom,evaluate,images,quality,server,docs,test]"
	# nnU-Net's own networks, to compare ours with; what it requires besides torch and NumPy replaces torch.
	$(TEST)/$(BIN)/python $(PIP) --no-deps dynamic-network-architectures
	# Gradients of ONNX networks; torchvision, which it requires, is not needed.
	$(TEST)/$(BIN)/python $(PIP) --no-deps onnx2torch
	# The client in Slicer's MONAI Label plugin; without it, its test is skipped.
	-$(TEST)/$(BIN)/python tests/support/slicer_client.py
	touch $@

$(SLICER)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(SLICER)
	$(SLICER)/$(BIN)/python $(PIP) --editable ".[onnx,server,test,slicer]"
	touch $@

$(BENCH)/installed:
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BENCH)/$(BIN)/python -m pip install --quiet torch==2.13.0 nnunetv2==2.8.1 monai==1.6.1 pytorch-ignite pyyaml fire matplotlib onnx onnxscript surface-distance==0.1
	touch $@

# Without what it declares, 206 packages, and with what its itk_infer imports. The bench does without it, too.
$(ITKIT)/tried:
	$(PYTHON) -m venv $(ITKIT)
	-$(ITKIT)/$(BIN)/python -m pip install --quiet torch==2.13.0 numpy pandas scipy SimpleITK openpyxl pydantic tqdm \
	  zarr onnxruntime mmengine "setuptools<81"
	-$(ITKIT)/$(BIN)/python -m pip install --quiet --no-deps itkit==4.0.0
	touch $@

clean:
	rm -rf $(DEMO) $(TEST) $(BENCH) $(ITKIT) $(SLICER) benchmarks/scratch demo_output site build *.egg-info
