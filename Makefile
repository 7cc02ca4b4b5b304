# Set-up is part of every target: a machine with Python 3.11 or newer and make is enough.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test rounding browser lint docs bench torture wheels clean

# Train VGrow on 5,000 real digits and show where the pictures are (minutes on 2 cores).
demo: .venv/ready
	$(BIN)/gflow run recipes/vgrow_mnist5k.toml

# Every test of the core and the plugins, a process a core: one thread each.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal
test: .venv/ready
	$(PYTEST)

# The tests that compare what products give, as other processors round them: without AVX-512, in MKL's one way for all,
# and each row in its own way.
COMPARING := tests/scores tests/nn tests/encoders $(wildcard plugins/*/tests/test_networks.py) \
	plugins/dcgan/tests/test_latent_walk.py plugins/rmt/tests/test_representation.py
rounding: .venv/ready
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 $(PYTEST) $(COMPARING)
	MKL_CBWR=COMPATIBLE $(PYTEST) $(COMPARING)
	$(PYTEST) $(COMPARING) --own-rounding

# What tests look at report pages with, on Debian and its kin; as root.
browser:
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium chromium-driver

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The site, in site/: any warning of the build is an error. (Material's notice of another mkdocs is none of ours.)
docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Ratios against plain implementations, measured here.
bench: .venv/ready
	$(BIN)/python benchmarks/vgrow_outer_loop.py
	$(BIN)/python benchmarks/far_cifar_step.py
	$(BIN)/python benchmarks/far_replicas.py
	$(BIN)/python benchmarks/flow_replicas.py
	$(BIN)/python benchmarks/dcgan_step.py
	$(BIN)/python benchmarks/dcgan_features.py
	$(BIN)/python benchmarks/cgan_step.py
	$(BIN)/python benchmarks/rmt.py
	$(BIN)/python benchmarks/kernels.py

# Kills, damage, hostile files, broken plugins and odd machines, as docs/reliability.md tells; an hour.
torture: .venv/ready
	$(BIN)/python benchmarks/torture

# The seven distributions, to be installed anywhere: an sdist of each and, built from that, a wheel, in dist/.
wheels: .venv/ready
	for folder in . plugins/*; do $(BIN)/python -m build --no-isolation --outdir dist $$folder || exit 1; done

.venv/ready: requirements.txt constraints.txt pyproject.toml $(wildcard plugins/*/pyproject.toml)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gflow needs Python 3.11 or newer; try make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	touch $@

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist site
