# `make` lists what can be made. demo and test need root: they run hosts of their own, in namespaces on this machine.
SHELL := /bin/bash
# rustup puts cargo where not every shell looks.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

.PHONY: help demo demo-down test histories all-but-histories faults soak fuzz bench build release lint deny clean

ROOT = [ "$$(id -u)" = 0 ] || { echo "make $@ needs root for the lab's hosts; \`cargo test\` runs all that needs none" >&2; exit 1; }

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: ## three hosts on this machine, and a real etcd cluster deployed to them (root)
	@tests/lab/demo up

demo-down: ## remove the demo's hosts, cluster and certificates (root)
	@tests/lab/demo down

test: ## all tests: unit, hermetic, and on lab hosts with real etcd (root)
	@$(ROOT)
	@tests/lab/install-needs lab build test
	@tests/lab/lab rootfs >/dev/null
	@tests/lab/lab releases >/dev/null
	cargo test --locked --no-run
	@# Lab tests wait most of the time, for which the simulation has use.
	@$(MAKE) --no-print-directory -j2 histories all-but-histories

# What it says is kept together, for the end.
HISTORIES = $${CARGO_TARGET_DIR:-target}/histories.log
histories:
	@mkdir -p "$${CARGO_TARGET_DIR:-target}"
	@echo "the simulation plays beside the other tests, and is heard of when it has ended"
	@nice -n 19 cargo test --locked --test sim no_history -- --nocapture >$(HISTORIES) 2>&1; \
	  status=$$?; cat $(HISTORIES); exit $$status

all-but-histories:
	ETCD_HA_LAB=1 cargo test --locked -- --skip no_history

faults: ## every fault of the catalogue on lab hosts, and docs/faults.md, the table of what came of it (root)
	@$(ROOT)
	@tests/lab/install-needs lab build test
	ETCD_HA_LAB=1 ETCD_HA_LAB_FAULTS_PAGE=docs/faults.md cargo test --locked --test lab faults:: -- --nocapture

# `make soak N=20 SEED=7`: so many rounds, and those of that seed.
N ?= 200
soak: ## N=200 controllers killed at random moments, and a million simulated histories; writes docs/soak.md (root)
	@$(ROOT)
	@tests/lab/install-needs lab build test
	ETCD_HA_SIM_HISTORIES=1000000 cargo test --locked --test sim no_history -- --nocapture
	ETCD_HA_LAB=1 ETCD_HA_SOAK_LABS=2 ETCD_HA_SOAK_ROUNDS=$(N) $(if $(SEED),ETCD_HA_SOAK_SEED=$(SEED)) \
	  ETCD_HA_SOAK_REPORT=docs/soak.md cargo test --locked --test lab soak::killed

fuzz: ## whatever reads files and answers of hosts, fuzzed, FUZZ_SECONDS=60 for each of the targets in fuzz/
	@tests/lab/install-needs build fuzz
	@rustup toolchain list | grep -q ^nightly || rustup toolchain install nightly --profile minimal
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	fuzz/run

bench: ## our SSH beside ssh and scp, on this machine: log-in, uploads, memory
	@tests/lab/install-needs build bench
	sshd=$$(benches/openssh) && ETCD_HA_SSHD=$$sshd cargo bench --locked --bench ssh

build: ## the release binary, target/release/etcd-ha
	@tests/lab/install-needs build
	cargo build --release --locked

release: ## the binary to give away, in target/dist: static, built twice to one digest, with a list of what is in it
	@tests/lab/install-needs build release
	@rustup target add "$$(uname -m)-unknown-linux-musl"
	@command -v cargo-cyclonedx >/dev/null || cargo install --locked --quiet --version '^0.5' cargo-cyclonedx
	packaging/release

deny: ## the crates' licences, sources and duplicates; known holes, too, where a database of them is at hand
	@tests/lab/install-needs build
	@# Not optimized, it is built in a third of the time.
	@command -v cargo-deny >/dev/null || cargo install --locked --quiet --debug --version '^0.20' cargo-deny
	cargo deny --locked check licenses bans sources
	@if ls "$${CARGO_HOME:-$$HOME/.cargo}"/advisory-db* >/dev/null 2>&1; then cargo deny --locked --offline check advisories; \
	else echo "advisories: not checked, since there is no database of them here (\`cargo deny fetch\` gets it)"; fi

lint: ## formatting, clippy, shellcheck
	@tests/lab/install-needs build lint
	cargo fmt --check
	@# A macro declares these, where cargo fmt does not look.
	rustfmt --check --edition 2024 src/tasks/*.rs
	cargo clippy --all-targets --locked -- -D warnings
	shellcheck -x .ci/run benches/openssh fuzz/run packaging/release tests/lab/{baseline,bench,debian.sh,demo,install-needs,lab,record,releases,rootfs}

clean: ## what was built here, and the lab's base images and release archives
	tests/lab/lab clean
	cargo clean
