# Two commands on a fresh machine: `make run` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One lock for all systems and Pythons: packages for some of them only have a marker. It names no index.
LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url \
	--custom-compile-command 'make lock' pyproject.toml requirements/build.in
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help install run test workers coverage lint generate lock docs dist soak stress bench micro instructions picture terminal clean

help: ## This list
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 14

install: $(VENV)/.run ## Install roomcast into .venv, and start nothing

run: $(VENV)/.run ## Run the server on port 8080, its page on port 3000
	@exec $(BIN)/roomcast serve $(ARGS)

test: $(VENV)/.dev ## Run all checks and tests, after installing what they need
	@tests/setup.sh
	$(MAKE) --no-print-directory lint
	tests/run.sh $(ARGS)

# The fewest folders that reach every part of the core. pyproject.toml lists the code that is left out, with the reasons.
COVERING := $(addprefix tests/,model log delivery api auth http client server rights serve mongodb postgresql)
coverage: $(VENV)/.dev ## Measure which branches of the core its tests take, those in processes of their own included
	@tests/setup.sh
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -n $$((2 * $$(getconf _NPROCESSORS_ONLN))) --dist worksteal $(COVERING) $(ARGS); \
	failed=$$?; $(BIN)/python -m coverage combine --quiet && $(BIN)/python -m coverage report && exit $$failed

workers: $(VENV)/.dev ## Run the tests of kills, drain, rights, limits and the attacker with --workers 2
	@tests/setup.sh
	ROOMCAST_TEST_WORKERS=2 $(BIN)/pytest -n $$(getconf _NPROCESSORS_ONLN) tests/rights \
		$(addprefix tests/hardening/test_,$(addsuffix .py,kill kill_rules signals slow churn limits torture)) $(ARGS)

lint: $(VENV)/.dev ## Check style, types and which module imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

generate: $(VENV)/.dev ## Generate the blocking half of the client from the asynchronous one
	$(BIN)/python -m tools.blocking

# The packages of the tests come first; the other locks use the same versions of packages that they share.
lock: $(VENV)/.dev ## Update the locks: version and hash of each package for run, test, docs, bench and the image
	$(LOCK) --extra dev --output-file requirements/dev.txt
	$(LOCK) --constraints requirements/dev.txt --output-file requirements/run.txt
	$(LOCK) --constraints requirements/dev.txt --extra mongodb --extra postgresql --extra jwt --output-file requirements/image.txt
	$(LOCK) --constraints requirements/dev.txt --extra docs --output-file requirements/docs.txt
	$(LOCK) --constraints requirements/dev.txt --extra bench --output-file requirements/bench.txt

docs: $(VENV)/.docs ## Build the site of the docs into docs/_build/html
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo docs/_build/html/index.html

dist: $(VENV)/.dev ## Build the sdist, the wheel and the npm package, with their hashes, into dist/
	@tests/setup.sh
	rm -rf dist
	$(BIN)/uv build --quiet --no-build-isolation --out-dir dist
	$(BIN)/python js/build.py dist/js && mv dist/js/*.tgz dist && rm -rf dist/js
	cd dist && sha256sum *.tar.gz *.whl *.tgz > SHA256SUMS && cat SHA256SUMS

soak: $(VENV)/.dev ## Look for leaks: 2,000 followers come and go for 20 minutes. ARGS=--minutes=5
	$(BIN)/python -m tests.hardening.soak $(ARGS)

stress: $(VENV)/.dev ## Attack a server in 256 MB with 5,000 followers for a minute, in every way that strangers can
	@tests/setup.sh
	$(BIN)/python -m tests.hardening.stress $(ARGS)

bench: $(VENV)/.bench ## Measure roomcast beside its peers: half an hour; with ARGS=--quick a minute
	@benchmarks/setup.sh
	$(BIN)/python -m benchmarks $(ARGS)

micro: $(VENV)/.dev $(VENV)/.bench ## Time each step of the hot path by itself: encode, append, hub, write
	$(BIN)/pytest benchmarks/micro.py --benchmark-sort=name --benchmark-columns=min,median,iqr,rounds $(ARGS)

instructions: $(VENV)/.dev ## Count the instructions of each step, and store the counts that the tests expect
	@tests/setup.sh
	$(BIN)/python -m benchmarks.instructions

picture: $(VENV)/.dev ## Take the README's picture of the page
	$(BIN)/python -m docs.img.take

terminal: $(VENV)/.dev ## Take the pictures of the command line
	$(BIN)/python -m docs.img.terminal

clean: ## Remove what the other commands made
	rm -rf $(VENV) build dist docs/_build docs/reference .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

# The lock includes setuptools, so that building uses no package without a hash. The lock of dev includes that of run.
$(VENV)/.run $(VENV)/.dev $(VENV)/.docs $(VENV)/.bench: $(VENV)/.%: requirements/%.txt pyproject.toml $(VENV)/bin/pip
	$(BIN)/pip install --quiet --require-hashes --requirement $<
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@ $(if $(filter %.dev,$@),$(VENV)/.run $(VENV)/.docs)
