# Two commands: `make serve` and `make test`. `make help` lists them all.
PYTHON ?= python3
PORT ?= $(or $(DIGITS_PORT),8000)
RECIPE ?= best
RUN = .venv/bin/python
COMPOSE ?= $(shell docker compose version 2>/dev/null | grep -q Compose && echo docker compose || echo docker-compose)

serve: .venv/serve      ## serve the newest version on 127.0.0.1:$(PORT)
	@DIGITS_PORT=$(PORT) exec $(RUN) -m gunicorn --config service/gunicorn.conf.py

test: lint              ## ruff, mypy --strict, pytest
	@$(RUN) -m pytest

train: .venv/all        ## run RECIPE and publish the result
	@$(RUN) -m training train --recipe $(RECIPE) $(ARGS)

lint: .venv/all         ## ruff and mypy --strict
	@$(RUN) -m ruff check . && $(RUN) -m ruff format --check . && $(RUN) -m mypy

bench: .venv/all        ## time the service against a server that does nothing
	@$(RUN) -m bench.serving $(ARGS)

bench-training: .venv/all  ## time the training loop against one session.run a step
	@$(RUN) -m bench.tf1_baseline

pictures: .venv/all     ## read test images in scenes, and digits in handwriting fonts
	@$(RUN) -m bench.picture_accuracy $(ARGS)

fuzz: .venv/all         ## send changed files of every format for ten minutes
	@$(RUN) -m bench.fuzz $(ARGS)

# mutmut runs only the tests that reach the changed function: 1 to 4 seconds a mutant, 4,000 mutants, about two hours on
# two idle cores. `make mutants MUTANTS='service.imaging.ink*'` takes some of them; `.venv/bin/mutmut browse` shows them.
mutants: .venv/all      ## change imaging, inference and prediction at one place each, and count the changes that tests notice
	@DIGITS_DATA=$(abspath $(or $(DIGITS_DATA),data/mnist)) $(RUN) -m mutmut run $(MUTANTS)

stack:                  ## build and start service, proxy, Prometheus and Grafana in containers
	@$(COMPOSE) up --build -d && $(COMPOSE) ps

stack-roll:             ## build the service anew and replace every replica, with no request lost
	@$(COMPOSE) build service && sh deploy/rolling_restart.sh $(COMPOSE)

stack-test: .venv/all   ## run the stack for real, and print what happened when
	@$(RUN) -m pytest tests/system/test_stack.py tests/deploy

clean:                  ## remove .venv and caches; models, data and runs stay
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis mutants && find . -name __pycache__ -prune -exec rm -rf {} +

help:                   ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST)

# A stamp for each set of requirements, newer than the file that it was installed from.
INSTALL = $(RUN) -m pip install -qq --disable-pip-version-check
COMPILE = { $(INSTALL) -r service/requirements-native.txt >/dev/null 2>&1 || echo "no C compiler: gunicorn parses HTTP in Python"; }

.venv/serve: service/requirements.txt service/requirements-native.txt constraints.txt .venv/made
	@echo "installing $<" && $(INSTALL) -r $< && $(COMPILE) && touch $@

.venv/all: requirements.txt training/requirements.txt service/requirements.txt service/requirements-native.txt constraints.txt .venv/made
	@echo "installing $<" && $(INSTALL) -r $< && $(COMPILE) && touch $@ .venv/serve

.venv/made:
	@sh tools/create_venv.sh "$(PYTHON)" && touch $@

.PHONY: serve test train lint bench bench-training pictures fuzz mutants stack stack-roll stack-test clean help
