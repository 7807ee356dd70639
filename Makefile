# Two verbs for a newcomer: `make demo` and `make test`. Both set everything up by themselves.

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
# What tests and benchmarks compare us with, or look at our work with.
TEST_PACKAGES := gcc libc6-dev qemu-utils libnbd-bin qemu-system-common e2fsprogs dosfstools fusefat openssh-server postgresql strace golang-go golang-github-vmware-govmomi-dev \
	qemu-system-x86 ovmf syslinux syslinux-common syslinux-efi mtools busybox-static \
	libvirt-clients libvirt-daemon-driver-qemu libxml2-utils \
	lvm2 fdisk thin-provisioning-tools btrfs-progs cryptsetup-bin exfatprogs ntfs-3g xfsprogs clamav-daemon chromium jq xxd zstd b3sum
BENCH_PACKAGES := $(TEST_PACKAGES) restic borgbackup libzstd-dev libllvm16
LINTED := include plugins dags tests demo bench

.PHONY: help setup demo demo-stop test test-fast soak fidelity exports lint format bench bench-scale bench-recovery \
	requirements clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup:
	@PYTHON=$(PYTHON) scripts/setup.sh

demo: setup ## Back up and restore a VM of a simulated vSphere in a real Airflow (ARGS=--once stops by itself)
	@$(BIN)/python -m demo $(ARGS)

demo-stop: setup ## Stop a demo that was left running
	@$(BIN)/python -m demo --stop

test: setup ## Run all tests
	@scripts/debian.sh $(TEST_PACKAGES)
	@# Two more processes than cores, because many tests wait for a server or a disk.
	@# Compiled tests are kept, because each process would compile all of them again, which takes it 6 seconds.
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -n $$(($$(nproc) + 2)) --dist loadfile --no-loadscope-reorder $(ARGS)

test-fast: setup ## Run the tests that take seconds
	$(BIN)/pytest -m "not slow and not airflow and not soak" $(ARGS)

soak: setup ## Every case of some kinds; ten minutes of processes killed and stopped (ARGS="--seconds 60 --seed 7")
	@scripts/debian.sh $(TEST_PACKAGES) redis-server debootstrap
	$(BIN)/pytest -n auto -m soak
	$(BIN)/python -m tests.soak $(ARGS)

fidelity: setup ## Back up, destroy, restore and compare 220 kinds of VMs, and write the page with the table
	$(BIN)/python -m tests.fidelity --page docs/architecture/fidelity.md $(ARGS)

exports: setup ## Export every kind of disk in every format, and compare them by QEMU's tools and by an import
	@scripts/debian.sh $(TEST_PACKAGES)
	$(BIN)/pytest -n auto -m "" tests/exports $(ARGS)

lint: setup ## ruff, mypy, import-linter
	$(BIN)/ruff check $(LINTED)
	$(BIN)/ruff format --check $(LINTED)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## Format the code
	$(BIN)/ruff format $(LINTED)
	$(BIN)/ruff check --fix $(LINTED)

bench: setup ## Measure against the limit and the peers, in one run
	@scripts/debian.sh $(BENCH_PACKAGES)
	$(BIN)/python -m bench.run $(ARGS)

bench-scale: setup ## Back up a thousand small VMs in one window of Airflow (ARGS="--vms 100 --out DIR")
	@scripts/debian.sh postgresql
	$(BIN)/python -m bench.scale $(ARGS)

bench-recovery: setup ## Recover twenty VMs to a second simulated vSphere, and keep the report (ARGS="--out DIR")
	$(BIN)/python -m bench.recovery $(ARGS)

requirements: setup ## Export requirements.txt from uv.lock
	$(BIN)/uv export --quiet --frozen --extra all --no-dev --group test --no-emit-project --output-file requirements.txt
	$(BIN)/uv export --quiet --frozen --extra all --no-dev --no-emit-project --output-file requirements-site.txt

clean: ## Remove what set-up, tests and the demo made
	rm -rf .venv var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
