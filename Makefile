# Every target works from a fresh clone: the environment is made when it is missing or the lock file changed.
HERE := $(realpath $(dir $(lastword $(MAKEFILE_LIST))))
ifneq ($(HERE),$(realpath $(CURDIR)))
$(error this Makefile works in its own directory: make -C $(HERE) $(MAKECMDGOALS))
endif
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

OLD_PYTHON := customer360 needs Python 3.11 or newer. Name one: make $(or $(firstword $(MAKECMDGOALS)),setup) PYTHON=python3.12

$(VENV)/.installed: requirements-dev.lock pyproject.toml $(wildcard verify/pyproject.toml clients/python/pyproject.toml)
	@command -v $(firstword $(PYTHON)) >/dev/null || { echo "there is no $(PYTHON). $(OLD_PYTHON)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1). $(OLD_PYTHON)" >&2; exit 1; }
	@echo "making the Python environment in $(VENV) (once; about a minute)"
	@$(PYTHON) -m venv $(VENV) || { echo "python3 lacks its venv module; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . -e ./verify -e ./clients/python
	@touch $@

.PHONY: setup
setup: $(VENV)/.installed ## Make the environment

.PHONY: lock
lock: setup ## Resolve the lock files anew
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra otel -c requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements-image.lock
	$(BIN)/uv pip compile pyproject.toml --extra bulk --extra embedded --extra train --extra lifetime --extra report --extra otel --extra dev -c requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements-dev.lock
	$(BIN)/uv pip compile pyproject.toml --extra bench -c requirements-dev.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements-bench.lock
	$(BIN)/uv pip compile requirements-audit.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements-audit.lock

# Run inside protos/; the argument is the folder for the generated code.
protoc = $(CURDIR)/$(BIN)/python -m grpc_tools.protoc -I. --plugin=protoc-gen-mypy=$(CURDIR)/$(BIN)/protoc-gen-mypy \
	--plugin=protoc-gen-mypy_grpc=$(CURDIR)/$(BIN)/protoc-gen-mypy_grpc \
	--python_out=$(1) --grpc_python_out=$(1) --mypy_out=quiet:$(1) --mypy_grpc_out=quiet:$(1) $$(find c360 -name '*.proto' | sort)

# What channel backends need of it, for their clients. The Python one has it under its own name, so that it may stand beside protos/gen.
CLIENT_GEN := clients/python/customer360_client/protos
CLIENT_PROTOS := $(addprefix c360/,common/v1/common profile/v1/disclosure profile/v1/profile profile/v1/rules consent/v1/consent \
	consent/v1/restriction ingest/v1/ingest ingest/v1/source) c360_client/status
client_sources = -Iprotos -Iclients/protos $(addsuffix .proto,$(CLIENT_PROTOS))
client_protoc = $(BIN)/python -m grpc_tools.protoc --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy \
	--python_out=$(1) --mypy_out=quiet:$(1) $(client_sources) \
	&& find $(1) -name '*_pb2.py*' -exec sed -i 's/^from c360\./from customer360_client.protos.c360./' {} +

# The TypeScript client is built by Node, which nothing else needs: without it the client is left out, and that is said loudly.
TS := clients/typescript
TS_GEN := $(TS)/src/gen
ts_protoc = $(BIN)/python -m grpc_tools.protoc --plugin=protoc-gen-es=$(TS)/node_modules/.bin/protoc-gen-es \
	--es_out=$(1) --es_opt=target=ts,import_extension=js $(client_sources)
has_node = command -v npm >/dev/null && node -e 'process.exit(Number(parseInt(process.versions.node) < 18))' 2>/dev/null
no_node = echo "*** Node 18 and npm are missing, so the TypeScript client was NOT $(1); on Debian: apt-get install nodejs npm ***" >&2

$(TS)/node_modules/.installed: $(wildcard $(TS)/package-lock.json)
	@echo "installing what the TypeScript client is built with (once)"
	@cd $(TS) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

$(TS)/node_modules/.built: $(TS)/node_modules/.installed $(shell find $(TS)/src $(TS)/*.json -type f 2>/dev/null)
	@cd $(TS) && rm -rf dist && node_modules/.bin/tsc -p tsconfig.build.json
	@touch $@

.PHONY: client-ts
client-ts: $(TS)/node_modules/.built ## Build the TypeScript client (needs Node 18 or newer, and npm)

$(TS)/node_modules/.tests-built: $(TS)/node_modules/.built $(shell find $(TS)/tests $(TS)/examples -type f 2>/dev/null)
	@cd $(TS) && rm -rf build && node_modules/.bin/tsc -p tsconfig.json
	@touch $@

.PHONY: client-ts-tests
client-ts-tests: $(TS)/node_modules/.tests-built

.PHONY: client-ts-gen
client-ts-gen: setup $(TS)/node_modules/.installed
	@mkdir -p $(TS_GEN) && find $(TS_GEN) -name '*_pb.ts' -delete && $(call ts_protoc,$(TS_GEN))

.PHONY: client-ts-checked
client-ts-checked: setup client-ts-tests
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && $(call ts_protoc,$$fresh) && diff -r $(TS_GEN) "$$fresh" \
		|| { echo "$(TS_GEN) is not what the protos say: run make gen" >&2; exit 1; }
	@cd $(TS) && npm run --silent check && npm test --silent

.PHONY: client-ts-check
client-ts-check: ## Check the TypeScript client: its format, habits, types, generated code and unit tests
	@if $(has_node); then $(MAKE) --no-print-directory client-ts-checked; else $(call no_node,checked); fi

.PHONY: gen
gen: setup ## Generate the code of the protos
	@find protos/gen $(wildcard $(CLIENT_GEN)) -name '*_pb2*' -delete
	@cd protos && $(call protoc,gen)
	@mkdir -p $(CLIENT_GEN) && $(call client_protoc,$(CLIENT_GEN))
	@if $(has_node); then $(MAKE) --no-print-directory client-ts-gen; else $(call no_node,generated); fi

DURATION_S ?= 60
TESTS ?=

.PHONY: run
run: setup ## Start everything on this machine; Ctrl-C stops it (data in .data, or C360_DATA_DIR)
	@$(BIN)/python -m services.stack

.PHONY: overload
overload: setup ## Offer twice what the door takes for DURATION_S seconds, and find each event that was answered 200
	@DURATION_S=$(DURATION_S) $(BIN)/python -m tests.e2e.overload

.PHONY: sdk-test
sdk-test: setup ## Send events with unmodified SDKs to a throw-away stack, and count what is found
	@$(BIN)/python -m tests.sdk

# As the service has it where `make run` keeps its data; elsewhere set the three variables yourself (docs/operations.md).
.PHONY: rebuild
rebuild: setup ## Make profile's views anew from its log, while `make run` runs
	@data=$${C360_DATA_DIR:-.data} \
		&& server=$$($(BIN)/python -c 'import json, sys; print(json.load(open(sys.argv[1]))["postgres"])' "$$data/endpoints.json") \
		&& role="postgresql://c360_profile:$$(cat "$$data/secrets/profile-password")@$$server" \
		&& C360_DATABASE_URL="$$role/c360" C360_VAULT_URL="$$role/c360_vault" C360_KEYRING_FILE="$$data/secrets/keyring.json" \
			$(BIN)/python -m services.profile.rebuild

MEND ?=

.PHONY: identity-rebuild
identity-rebuild: setup ## Hold identity's tables against its log, while `make run` runs (MEND=1 writes what the log tells over what differs)
	@data=$${C360_DATA_DIR:-.data} \
		&& server=$$($(BIN)/python -c 'import json, sys; print(json.load(open(sys.argv[1]))["postgres"])' "$$data/endpoints.json") \
		&& role="postgresql://c360_identity:$$(cat "$$data/secrets/identity-password")@$$server" \
		&& C360_DATABASE_URL="$$role/c360" C360_VAULT_URL="$$role/c360_vault" C360_KEYRING_FILE="$$data/secrets/keyring.json" \
			$(BIN)/python -m services.identity.rebuild $(if $(MEND),--mend)

.PHONY: demo
demo: setup ## Play the story of one customer against a throw-away stack
	@$(BIN)/python -m tests.e2e.demo

.PHONY: chaos
chaos: setup ## Send events for DURATION_S seconds while processes are killed, and count
	@DURATION_S=$(DURATION_S) $(BIN)/python -m tests.e2e.chaos

.PHONY: cluster-test
cluster-test: setup ## Send events over three brokers while one dies, hangs, or is cut off from the others or from everybody, and count
	@$(BIN)/python -m tests.e2e.cluster

.PHONY: compose-test
compose-test: setup ## Build docker-compose.yml's containers, start, kill, restart and upgrade them, and count (needs root, and Docker or Debian)
	@$(BIN)/python -m tests.compose

ROWS ?= 1000000

.PHONY: import-demo
import-demo: setup ## Import ROWS rows, interrupted and killed on the way, and count
	@ROWS=$(ROWS) $(BIN)/python -m tests.e2e.import_demo

.PHONY: test
test: setup ## Run the tests on real servers, in three processes, which wait more than they work (TESTS="tests/unit -k name" for some, in one)
	@$(BIN)/pytest $(if $(TESTS),$(TESTS),-n 3 --dist loadfile)

.PHONY: laws
laws: setup ## Run every property test with ten times the usual number of examples
	@C360_TEST_PROFILE=laws $(BIN)/pytest -n 2 --dist worksteal --timeout 1800 $$(grep -rlE "^@given|^ +@given|RuleBasedStateMachine|, seeds\(" tests)

.PHONY: check
check: format-check lint bad-habits types contracts protos-check events-check client-ts-check test ## Everything that has to hold before a push

.PHONY: format
format: setup ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --quiet --fix-only .

.PHONY: format-check
format-check: setup ## Check the format
	@$(BIN)/ruff format --check .

.PHONY: lint
lint: setup ## Look for mistakes and bad habits
	@$(BIN)/ruff check .

# In an environment of its own: what it takes to look at us is no part of us.
AUDIT := $(VENV)/audit

$(AUDIT)/.installed: $(VENV)/.installed requirements-audit.lock
	@echo "installing what make audit and make sbom run (once)"
	@$(PYTHON) -m venv $(AUDIT)
	@$(AUDIT)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-audit.lock
	@touch $@

.PHONY: bad-habits
bad-habits: $(AUDIT)/.installed ## Look for what is seldom safe (bandit)
	@$(AUDIT)/bin/bandit --quiet -c pyproject.toml -r services shared verify

.PHONY: audit
audit: bad-habits ## That, and known vulnerabilities of what it is built of (pip-audit, npm audit; they need data, and it says so where there is none)
	@$(BIN)/python -m tests.audit $(AUDIT)/bin/pip-audit requirements-image.lock
	@if $(has_node); then $(BIN)/python -m tests.audit_node $(TS); else $(call no_node,looked at); fi

.PHONY: sbom
sbom: $(AUDIT)/.installed ## Write what it is built of as CycloneDX: build/sbom.json, and of the TypeScript client build/sbom-client-typescript.json
	@mkdir -p build
	@PYTHONWARNINGS=ignore $(AUDIT)/bin/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --output-reproducible --of JSON -o build/sbom.json requirements-image.lock
	@echo build/sbom.json
	@if $(has_node) && npm sbom --help >/dev/null 2>&1; \
		then (cd $(TS) && npm sbom --omit=dev --package-lock-only --sbom-format=cyclonedx) >build/sbom-client-typescript.json \
			&& echo build/sbom-client-typescript.json; \
		else echo "*** npm 10 is missing, so what the TypeScript client is built of was NOT written ***" >&2; fi

.PHONY: types
types: setup ## Check the types
	@$(BIN)/mypy

.PHONY: contracts
contracts: setup ## Check who may import whom
	@$(BIN)/lint-imports

.PHONY: protos-check
protos-check: setup ## Check the protos, and that their generated code is current
	@cd protos && ../$(BIN)/buf lint
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && (cd protos && $(call protoc,$$fresh)) \
		&& diff -r -x __pycache__ protos/gen "$$fresh" \
		|| { echo "protos/gen is not what the protos say: run make gen" >&2; exit 1; }
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && $(call client_protoc,$$fresh) \
		&& diff -r -x __pycache__ $(CLIENT_GEN) "$$fresh" \
		|| { echo "$(CLIENT_GEN) is not what the protos say: run make gen" >&2; exit 1; }

.PHONY: events-doc
events-doc: setup ## Write docs/events.md from the catalogue
	@$(BIN)/python -m shared.events.document docs/events.md

.PHONY: events-check
events-check: setup ## Check that docs/events.md is current
	@fresh=$$(mktemp) && trap 'rm -f "$$fresh"' EXIT && $(BIN)/python -m shared.events.document "$$fresh" \
		&& diff docs/events.md "$$fresh" \
		|| { echo "docs/events.md is not what the catalogue says: run make events-doc" >&2; exit 1; }

.PHONY: docs
docs: setup ## Build the documentation as a site, site/, with the reference of gRPC; a link that leads nowhere ends it
	@$(BIN)/python -m docs_site

.PHONY: identity-page
identity-page: setup ## Play the commands of docs/identity.md on a throw-away stack, and write down what they answer
	@$(BIN)/python -m tests.e2e.identity_example

.PHONY: rights-page
rights-page: setup ## Play the commands of docs/rights.md on a throw-away stack, and write down what they answer
	@$(BIN)/python -m tests.e2e.rights_example

.PHONY: clean
clean: ## Remove the environment and the caches; the data stays
	@rm -rf $(VENV) tests/sdk/node/node_modules $(TS)/node_modules $(TS)/dist $(TS)/build build site dist *.egg-info verify/*.egg-info clients/python/*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find docs_site protos services shared tests verify clients -name __pycache__ -prune -exec rm -rf {} +

ONLY ?=

$(VENV)/.bench-installed: $(VENV)/.installed requirements-bench.lock
	@echo "installing the data sets that identity is measured on (once; about a minute)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@touch $@

.PHONY: bench
bench: setup $(if $(filter-out identity,$(ONLY)),,$(VENV)/.bench-installed) ## Measure against peers, interleaved (ONLY=log for one part); wants a quiet machine
	@ONLY=$(ONLY) $(BIN)/python -m benchmarks

.PHONY: soak
soak: setup ## Half an hour of the same traffic (SOAK_S=1800): freshness may not drift, memory may not grow
	@ONLY=soak $(BIN)/python -m benchmarks
