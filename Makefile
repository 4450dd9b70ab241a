# `make` lists what can be made. demo and test need root: they run hosts of their own, in namespaces on this machine.
SHELL := /bin/bash
# rustup puts cargo where not every shell looks.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

.PHONY: help demo demo-down test faults soak bench build lint clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: ## three hosts on this machine, and a real etcd cluster deployed to them (root)
	@tests/lab/demo up

demo-down: ## remove the demo's hosts, cluster and certificates (root)
	@tests/lab/demo down

test: ## all tests: unit, hermetic, and on lab hosts with real etcd (root)
	@[ "$$(id -u)" = 0 ] || { echo "make test needs root for the lab's hosts; \`cargo test\` runs all the others without" >&2; exit 1; }
	@tests/lab/install-needs lab build test
	@tests/lab/lab rootfs >/dev/null
	@tests/lab/lab releases >/dev/null
	ETCD_HA_LAB=1 cargo test --locked

faults: ## every fault of the catalogue on lab hosts, and docs/faults.md, the table of what came of it (root)
	@tests/lab/install-needs lab build test
	ETCD_HA_LAB=1 ETCD_HA_LAB_FAULTS_PAGE=docs/faults.md cargo test --locked --test lab faults:: -- --nocapture

soak: ## the long sweeps: a million simulated histories, and controllers killed after every line that they say (root)
	@tests/lab/install-needs lab build test
	ETCD_HA_SIM_HISTORIES=1000000 cargo test --locked --test sim no_history -- --nocapture
	ETCD_HA_LAB=1 ETCD_HA_LAB_KILLS=30 ETCD_HA_LAB_EVERY=1 cargo test --locked --test lab broken:: -- --nocapture

bench: ## our SSH beside ssh and scp, on this machine: log-in, uploads, memory
	@tests/lab/install-needs build bench
	sshd=$$(benches/openssh) && ETCD_HA_SSHD=$$sshd cargo bench --locked --bench ssh

build: ## the release binary, target/release/etcd-ha
	@tests/lab/install-needs build
	cargo build --release --locked

lint: ## formatting, clippy, shellcheck
	@tests/lab/install-needs build lint
	cargo fmt --check
	@# A macro declares these, where cargo fmt does not look.
	rustfmt --check --edition 2024 src/tasks/*.rs
	cargo clippy --all-targets --locked -- -D warnings
	shellcheck -x .ci/run benches/openssh tests/lab/{baseline,bench,debian.sh,demo,install-needs,lab,record,releases,rootfs}

clean: ## what was built here, and the lab's base images and release archives
	tests/lab/lab clean
	cargo clean
