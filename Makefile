# Needs Python 3.11 or newer and make; everything else goes into .venv.
PYTHON ?= python3
RUN ?= runs/quickstart
BIN := .venv/bin
READY := .venv/.ready

# Images for containers often set it: then each process would compile torch and Ray once more, and
# whatever starts more processes would look slower than it is.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: quickstart install test test-slow pictures test-cluster gpu-check check format schema docs tensorboard benchmark benchmark-search requirements clean

quickstart: $(READY)  ## a first sweep on pictures that are drawn by code
	$(BIN)/python -m inat_ray.sweep experiments/quickstart.yaml --out runs/quickstart --overwrite

install: $(READY)

$(READY): pyproject.toml requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "inat_ray needs Python 3.11 or newer; choose one with make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --requirement requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

test: $(READY)  ## the default suite
	$(BIN)/python -m pytest

test-slow: $(READY)  ## workers that are killed, pages in a real browser; needs chromium
	$(BIN)/python -m pytest -m slow

gpu-check: $(READY)  ## make gpu-check DATA=folder; does it run on this GPU, how fast, where does time go
	$(BIN)/python -m tests.gpu_check --data $(or $(DATA),$(error photographs are needed: make gpu-check DATA=folder))

TOOLS := openssh-server iproute2 rsync nftables nmap
test-cluster: $(READY)  ## hosts of its own, `ray up`, faults, doors; root on Debian or Ubuntu; 25 minutes
	@for tool in sshd ip rsync nft nmap; do PATH=$$PATH:/usr/sbin command -v $$tool > /dev/null || \
		{ apt-get update --quiet && apt-get install --yes --quiet $(TOOLS); break; }; done
	DATA=$(DATA) $(BIN)/python -m pytest -m cluster tests/cluster

check: $(READY)  ## lint, format, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(READY)  ## the JSON Schema of experiments, and docs/settings.md, from inat_ray/config
	$(BIN)/python -m tests.docs.settings_page

docs: $(READY)  ## the pages, with strict links, into site/
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[docs]'
	$(BIN)/mkdocs build --strict

tensorboard: $(READY)  ## make tensorboard RUN=runs/mine
	$(BIN)/tensorboard --logdir $(RUN)/tensorboard --host 127.0.0.1

pictures: $(READY)  ## the README's picture, from a quickstart; needs chromium
	$(BIN)/python -m tests.pictures

# All modules are compiled before, so that no tool waits for that because it has the first turn.
benchmark: $(READY)  ## make benchmark DATA=folder [PART=epoch]; the figures of docs/benchmarks.md
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable '.[benchmark]'
	$(BIN)/python -m tests.benchmarks $(if $(PART),--part "$(PART)") \
		--data $(or $(DATA),$(error photographs are needed: make benchmark DATA=folder))

benchmark-search: $(READY)  ## searches, ours and others', side by side; TABLES=folder of TaskSet's
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[benchmark]'
	$(BIN)/python -m tests.benchmarks.search $(if $(TABLES),--tables $(TABLES)) --out runs/search.json --plot docs/images/searches.svg
	$(BIN)/python -m tests.benchmarks.scale --out runs/scale.json

# Exact versions of everything, without the address that they came from.
requirements: $(READY)
	$(BIN)/uv pip compile --quiet --universal --extra dev --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links --upgrade --output-file requirements.txt pyproject.toml

clean:
	rm -rf .venv runs site .pytest_cache .mypy_cache .ruff_cache *.egg-info
