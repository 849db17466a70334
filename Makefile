# `make demo` and `make test` set up all they need on a fresh Debian or Ubuntu machine (Python 3.11+).
PYTHON ?= python3
BIN := .venv/bin
GPU := $(shell command -v nvidia-smi 2>/dev/null)
# Without a GPU the CPU build of PyTorch is taken: 200 MB instead of several GB.
TORCH := $(if $(GPU),torch>=2.4,torch==2.13.0 --extra-index-url https://download.pytorch.org/whl/cpu --retries 1 --timeout 10)
# Frameworks that live in one environment; the others have environments of their own: make test-adapters.
FRAMEWORKS := langchain,openai-agents,pydantic-ai,mcp,llama-index,haystack,agent-framework
EXTRAS := chromium,redis,rapidocr,model,transformers,endpoint,service,pages,ray,$(FRAMEWORKS)

.PHONY: demo test test-adapters test-slow check format bench clean

demo: .venv/.demo
	$(BIN)/optical-memory demo

test: .venv/.test check
	$(BIN)/pytest -m "not slow" -n 2 --dist loadfile

# Frameworks whose requirements contradict the others' have an environment each, with what their tests need alone.
APART := google-adk crewai

test-adapters: $(APART:%=.venv-%/.test)
	for name in $(APART); do \
		timeout 300 .venv-$$name/bin/python -m pytest -q tests/adapters/test_$$(echo $$name | tr - _).py \
			"tests/adapters/test_adapter_docs.py" || exit 1; \
	done

.venv-%/.test: pyproject.toml
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/pip install -q -e '.[$*]' pytest pytest-asyncio pytest-timeout hypothesis
	touch $@

test-slow: .venv/.test
	$(BIN)/pytest -m slow

check: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# `make bench` lists the benchmarks, `make bench NAME=dense ARGS="--pages 5"` runs one.
bench: .venv/.test
	$(BIN)/python -m benchmarks $(NAME) $(ARGS)

.venv/.torch:
	scripts/system_packages.sh
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --upgrade pip
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/pip install -q $(TORCH) || $(BIN)/pip install -q torch==2.13.0
	touch $@

.venv/.demo: .venv/.torch pyproject.toml
	$(BIN)/pip install -q -e '.[chromium,rapidocr,model,demo]'
	$(BIN)/python -m compileall -q optical_memory
	touch $@

.venv/.test: .venv/.torch pyproject.toml
	scripts/system_packages.sh --test
	$(BIN)/pip install -q -e '.[$(EXTRAS),demo,dev]'
	$(BIN)/python -m compileall -q optical_memory
	touch $@ .venv/.demo

clean:
	rm -rf .venv .venv-* demo-report .pytest_cache .mypy_cache .ruff_cache
