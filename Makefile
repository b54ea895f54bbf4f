# The two commands of the README: `make demo` and `make test`. Each makes its own virtual environment.
PYTHON ?= python3
# Windows in Git Bash keeps its programs elsewhere.
BIN := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
DEMO := .venv-demo
TEST := .venv-test
PIP := -m pip --disable-pip-version-check install --quiet --no-compile --constraint constraints.txt

.PHONY: demo test check docs clean

demo: $(DEMO)/installed
	$(DEMO)/$(BIN)/itk_infer demo

test: $(TEST)/installed check
	$(TEST)/$(BIN)/python -m pytest --numprocesses 2

check: $(TEST)/installed
	$(TEST)/$(BIN)/ruff check
	$(TEST)/$(BIN)/ruff format --check
	$(TEST)/$(BIN)/mypy
	$(TEST)/$(BIN)/lint-imports
	$(TEST)/$(BIN)/mkdocs build --strict --quiet

docs: $(TEST)/installed
	$(TEST)/$(BIN)/mkdocs serve

$(DEMO)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/$(BIN)/python $(PIP) --editable ".[onnx]"
	touch $@

# torch first and by its exact version: a range would take the newest build and its CUDA packages.
$(TEST)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(TEST)
	$(TEST)/$(BIN)/python $(PIP) torch
	$(TEST)/$(BIN)/python $(PIP) --editable ".[onnx,openvino,mmengine,monai,cluster,docs,test]"
	touch $@

clean:
	rm -rf $(DEMO) $(TEST) demo_output site build *.egg-info
