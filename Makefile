# `make demo` and `make test` need Python 3.11 or newer and nothing else: they make .venv themselves.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
# Where torch publishes its CPU wheels.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

BIN := $(VENV)/bin
DEVICE_VENV := .venv-device-$(notdir $(PYTHON))
DEMO_READY := $(VENV)/.demo-ready
TEST_READY := $(VENV)/.test-ready

.PHONY: demo test device lint types contracts footprint tflite-bench age-bench fault-bench \
	fallback-bench flash-bench board-kill-bench board-test \
	isa-test slow-test cost-bench latency-bench screenshot clean
.DEFAULT_GOAL := demo

demo: $(DEMO_READY)
	$(BIN)/edge-sdk demo

# Those on emulated devices as well, which skip where QEMU is absent; what is built for them (some
# 130 MB are fetched) is kept. Without them: make test TESTS='not emulated'
TESTS ?= emulated or not emulated
test: export EDGE_SDK_CACHE ?= $(CURDIR)/.edge-cache
# Compiled once, not in every process that a test starts.
test: export PYTHONDONTWRITEBYTECODE :=
# In the order of the folders: short files come last, so that no worker ends with a long one.
test: lint types contracts
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder \
		-m '$(TESTS)'

# The device side alone, as a device installs it; any Python from 3.10: make device PYTHON=python3.10
device:
	$(PYTHON) -m venv $(DEVICE_VENV)
	$(DEVICE_VENV)/bin/python -m pip install --quiet --editable '.[onnx,tflite,camera]' pytest
	$(DEVICE_VENV)/bin/python -m pytest tests/device_profiles tests/runtime

lint: $(TEST_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(TEST_READY)
	$(BIN)/mypy

contracts: $(TEST_READY)
	$(BIN)/lint-imports

# Size, cold start and memory of the device side, beside a plain script that uses the same engine.
footprint: BUNDLE ?= edge-demo/digits-generic-x86.edge
footprint: IMAGE ?= edge-demo/digits/heldout/0/0001.png
footprint: demo
	$(BIN)/python tests/bench/footprint.py $(BUNDLE) $(IMAGE)

# Our TFLite files beside those of the nets' authors; EDGE_SDK_MODELS names the model pack.
tflite-bench: $(DEMO_READY)
	$(BIN)/python tests/bench/tflite.py

# Age of results behind real RTSP and MJPEG servers, beside other readers; and 200 faults of cameras.
# The servers need what .ci/run installs. An hour: make fault-bench FAULTS='--faults 200 --hour'
SECONDS_EACH ?= 600
FAULTS ?= --faults 200
age-bench: $(TEST_READY)
	$(BIN)/python tests/bench/age.py --seconds $(SECONDS_EACH)

fault-bench: $(TEST_READY)
	$(BIN)/python tests/bench/faults.py $(FAULTS)

# Rungs that crash, hang, lie and die, and the real onnxruntime-gpu on a machine without a GPU; makes
# an environment of its own, with 300 MB of packages.
fallback-bench: $(TEST_READY)
	$(BIN)/python tests/bench/fallbacks.py

# What a flash sends and takes, a rollback's gap, and 200 kills in mid-flash, over a real sshd.
# EDGE_SDK_MODELS names the model pack; some ten minutes, and as many at first for the bundles.
FLASHES ?= --kills 200
flash-bench: $(TEST_READY)
	$(BIN)/python -m tests.bench.flash $(FLASHES)

# A real boot of a virtual board, a power cut and a reboot: some minutes, 60 MB of packages at first.
# EDGE_SDK_BOARD may be a folder that keeps what was fetched.
board-test: EDGE_SDK_BOARD ?= 1
board-test: $(TEST_READY)
	EDGE_SDK_BOARD=$(EDGE_SDK_BOARD) $(BIN)/python -m pytest -m 'emulated and slow and network' \
		tests/edge_sdk/board

# Twelve power cuts of that board in mid-flash: half an hour.
KILLS ?= --kills 12
board-kill-bench: $(TEST_READY)
	$(BIN)/python -m tests.bench.board_kills $(KILLS)

# Releases of onnxruntime that a CPU runs and one that it does not, found by an emulator.
isa-test: export EDGE_SDK_CACHE ?= $(CURDIR)/.edge-cache
isa-test: $(TEST_READY)
	$(BIN)/python -m pytest -m 'emulated and slow and not network' tests/edge_sdk/test_emulated.py

# What takes long and is like what make test runs: VDSR at each of its scales against its published
# figures, larger nets, another process for each comparison. EDGE_SDK_MODELS names the model pack.
slow-test: $(TEST_READY)
	$(BIN)/python -m pytest -m 'slow and not (emulated or network or gpu or device)' tests

# What the rungs of a bundle cost on five emulated devices, in instructions, three times each.
cost-bench: BUNDLE ?= edge-demo/digits-raspberry-pi-5.edge
cost-bench: demo
	$(BIN)/python tests/bench/cost.py $(BUNDLE)

# How far estimates of latency are off on this machine; twenty minutes of CPU time at first.
latency-bench: $(TEST_READY)
	$(BIN)/python -m tests.bench.latency

# docs/preview.png, from a real run in Chromium.
screenshot: demo
	$(BIN)/python -m tests.bench.screenshot

clean:
	rm -rf $(VENV) .venv-device-* build dist *.egg-info .hypothesis .mypy_cache .ruff_cache .pytest_cache \
		.import_linter_cache .edge-cache edge-demo

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is missing or older than 3.11; name another: make PYTHON=python3.12" >&2; \
		exit 3; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make environments; install them: apt-get install python3-venv" >&2; \
		exit 3; }
	$(PYTHON) -m venv $(VENV)

# torch comes first, alone and pinned, from the index of CPU wheels: left to the resolver, a looser
# pin takes the default build for Linux, which pulls gigabytes of CUDA libraries that nothing here
# uses. Few retries, because pip goes on to its other indexes where this one cannot be reached.
$(DEMO_READY): pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV); the first time takes some minutes"
	$(BIN)/python -m pip install --quiet --retries 1 --extra-index-url $(TORCH_INDEX) torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable '.[all]'
	@touch $@

$(TEST_READY): $(DEMO_READY)
	$(BIN)/python -m pip install --quiet --editable '.[all,dev]'
	@touch $@
