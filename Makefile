# The two main targets are `make serve` and `make test`; `make help` lists all.
PYTHON ?= python3
PORT ?= $(or $(DIGITS_PORT),8000)
RECIPE ?= best
RUN = .venv/bin/python
SCRIPTS = $(wildcard service/web/static/*.js)
COMPOSE ?= $(shell docker compose version 2>/dev/null | grep -q Compose && echo docker compose || echo docker-compose)

serve: .venv/serve      ## serve the newest version on 127.0.0.1:$(PORT)
	@DIGITS_PORT=$(PORT) exec $(RUN) -m gunicorn --config service/gunicorn.conf.py

test: lint              ## lint, then all tests; ends with a summary and what was skipped
	@$(RUN) -m tools.run_tests $(ARGS)

test-fast: .venv/all    ## ruff and the fast tests, in about a minute
	@$(RUN) -m ruff check -q . && $(RUN) -m tools.run_tests --fast $(ARGS)

train: .venv/all        ## train RECIPE and publish the result as a new version
	@$(RUN) -m training train --recipe $(RECIPE) $(ARGS)

lint: .venv/all         ## check style, types, imports between packages, JavaScript, and the locks
	@$(RUN) -m ruff check . && $(RUN) -m ruff format --check . && $(RUN) -m mypy && $(RUN) -m tools.lock --check
	@.venv/bin/lint-imports --no-logo && .venv/bin/oxlint service/web/static && .venv/bin/oxfmt --check $(SCRIPTS)

format: .venv/all       ## format Python and JavaScript
	@$(RUN) -m ruff format . && .venv/bin/oxfmt $(SCRIPTS)

lock: .venv/all         ## compile pyproject.toml's dependency groups; ARGS=--upgrade takes newer versions
	@$(RUN) -m tools.lock $(ARGS)

bench: .venv/all        ## measure the service's speed beside servers that do nothing, and one that a tutorial shows
	@$(RUN) -m bench.serving $(ARGS)

bench-training: .venv/all  ## measure the training loop beside one with a session.run per step
	@$(RUN) -m bench.tf1_baseline

bench-pictures: .venv/all  ## measure the accuracy on synthetic photos and pages, and on digits in handwriting fonts
	@$(RUN) -m bench.picture_accuracy $(ARGS)
	@$(RUN) -m bench.page_accuracy --split test --pages 100

fuzz: .venv/all         ## fuzz the decoders with mutated files of every format for ten minutes
	@$(RUN) -m bench.fuzz $(ARGS)

chaos: .venv/all        ## attack a running service in every way at once for a minute, and count what a good client loses
	@$(RUN) -m bench.chaos $(ARGS)

# mutmut runs only the tests that reach the changed function: 1 to 4 seconds a mutant, 4,000 mutants, about two hours on
# two idle cores. `make mutants MUTANTS='service.imaging.ink*'` takes some of them; `.venv/bin/mutmut browse` shows them.
mutants: .venv/all      ## change imaging, inference and prediction at one place each, and count the changes that tests notice
	@DIGITS_DATA=$(abspath $(or $(DIGITS_DATA),data/mnist)) $(RUN) -m mutmut run $(MUTANTS)

stack:                  ## build and start the service, proxy, Prometheus and Grafana in containers
	@$(COMPOSE) up --build -d && $(COMPOSE) ps

stack-roll:             ## rebuild the service's image and replace the replicas one by one, without losing a request
	@$(COMPOSE) build service && sh deploy/rolling_restart.sh $(COMPOSE)

stack-test: .venv/all   ## test the stack in containers, and print a transcript with times
	@$(RUN) -m pytest tests/system/test_stack.py tests/deploy

clean:                  ## remove .venv and caches; keep models, data and runs
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis mutants build *.egg-info && find . -name __pycache__ -prune -exec rm -rf {} +

help:                   ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST)

# .venv/serve and .venv/all are stamps: each is newer than the locks that were installed.
INSTALL = $(RUN) -m pip install -qq --disable-pip-version-check --require-hashes
COMPILE = { $(INSTALL) -r service/requirements-native.txt >/dev/null 2>&1 || echo "no C compiler: gunicorn parses HTTP in Python"; }

.venv/serve: service/requirements.txt service/requirements-native.txt .venv/made
	@echo "installing $<" && $(INSTALL) -r $< && $(COMPILE) && touch $@

.venv/all: requirements.txt service/requirements-native.txt .venv/made
	@echo "installing $<" && $(INSTALL) -r $< && $(COMPILE) && touch $@ .venv/serve

.venv/made:
	@sh tools/create_venv.sh "$(PYTHON)" && touch $@

.PHONY: serve test test-fast train lint format lock bench bench-training bench-pictures fuzz chaos mutants stack stack-roll stack-test clean help
