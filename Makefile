# The two commands: `make up` runs this machine's node, `make test` runs every test.

SHELL      := /bin/bash
CARGO      ?= cargo
TARGET     := $(or $(CARGO_TARGET_DIR),target)
VENV       := $(abspath $(TARGET))/venv
RUN_TOOLS  := gcc:gcc nft:nftables ip:iproute2
TEST_TOOLS := $(RUN_TOOLS) curl:curl ping:iputils-ping tcpdump:tcpdump wireguard-go:wireguard-go wg:wireguard-tools \
              python3:python3 setpriv:util-linux sysctl:procps nats-server:nats-server \
              miniupnpd:miniupnpd-nftables tinyproxy:tinyproxy-bin conntrack:conntrack turnserver:coturn

# Two steps of `make test`: what NATs and faults do to paths, and everything else.
NETNS_TEST  = PILOT_TEST_PYTHON=$(abspath $(VENV))/bin/python $(CARGO) test --test netns -- --test-threads=1 --nocapture
NETNS_PATHS := matrix:: roaming::

.PHONY: up down demo test soak soak-speed nat-matrix sim-long lint tools test-tools build bench bench-events bench-dataplane bench-relay instructions

## up: build, start this machine's node in the background, say what to type next
up: build
	@$(TARGET)/release/pilotctl daemon start
	@echo
	@echo "Trust a second machine by running there:"
	@$(TARGET)/release/pilotctl invite

## down: stop this machine's node
down:
	@$(TARGET)/release/pilotctl daemon stop

## demo: two homes behind two NATs, two real daemons and a real curl across, in network namespaces
demo: build test-tools
	@$(CARGO) build --release --example demo
	@$(TARGET)/release/examples/demo

## test: every test, network-namespace tests included (root)
test: test-tools $(VENV)/ready
	$(CARGO) test --lib --bins --test cli --test generated --test streams
	$(CARGO) test --features sim --test sim --test memory
	$(CARGO) test --features sim --lib -- peer:: node::
	$(CARGO) build --examples
	$(VENV)/bin/python -m unittest discover -s clients/python/tests -t clients/python
	$(VENV)/bin/mypy --strict --cache-dir=$(abspath $(TARGET))/mypy clients/python/pilot
	$(NETNS_TEST) $(NETNS_PATHS)
	$(NETNS_TEST) $(addprefix --skip ,$(NETNS_PATHS))

## soak: ten minutes with idle gaps, ten without a packet, and 200 crashes of a receiver (root)
soak: test-tools
	$(CARGO) test --test netns -- --test-threads=1 --nocapture --ignored ten_minutes after_ten_idle_minutes
	PILOT_CRASH_ROUNDS=200 $(CARGO) test --test netns -- --test-threads=1 --nocapture acknowledged_messages

## soak-speed: half an hour at full speed, with the lane, without, and with one end that has none (root)
soak-speed: test-tools
	$(CARGO) test --release --test netns -- --test-threads=1 --nocapture --ignored half_an_hour_at_full_speed

## nat-matrix: every pair of networks, every fault five times, some 40 minutes (root); PILOT_MATRIX=WORD for rows with the word, PILOT_MATRIX_ROUNDS=N
nat-matrix: test-tools
	$(CARGO) test --test netns -- --test-threads=1 --nocapture --ignored the_whole_matrix hopeless five_times

## bench-events: events and inbox beside nats-server and redis, some 20 minutes (root); BENCH="veth --quick" for a part
bench-events:
	bench/events/run $(BENCH)

## bench-dataplane: the tunnel beside wireguard-go, boringtun-cli and nebula, some 40 minutes (root); BENCH="plain tcp pilot --quick" for a part
bench-dataplane:
	bench/dataplane/run $(BENCH)

## bench: the parts of the fast path in nanoseconds; BENCH="seal" for some of them
bench:
	$(CARGO) bench --bench fast_path -- $(BENCH)

## instructions: how many instructions those parts take, beside what is recorded; BENCH=--record records them anew
instructions:
	bench/instructions/run $(BENCH)

## bench-relay: the relay beside a bare UDP GSO forwarder, two minutes (root); BENCH="--rounds 5" for more
bench-relay:
	bench/relay/run $(BENCH)

## sim-long: a thousand random networks; PILOT_SIM_SEED=N starts elsewhere
sim-long:
	$(CARGO) test --release --features sim --test sim -- --nocapture --ignored a_night

## lint: everything that CI checks beside the tests
lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --all-targets --features sim -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items
	$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install cargo-deny --locked --debug
	$(CARGO) deny check bans licenses sources
	$(CARGO) machete --version >/dev/null 2>&1 || $(CARGO) install cargo-machete --locked --debug
	$(CARGO) machete

build: tools
	@$(CARGO) build --release --bins

tools:
	@$(call install,$(RUN_TOOLS))

test-tools:
	@$(call install,$(TEST_TOOLS))

$(VENV)/ready: examples/grpc/requirements.txt
	@python3 -c 'import ensurepip' 2>/dev/null || { apt-get update -q && apt-get install -y -q python3-venv; }
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install -q -r examples/grpc/requirements.txt mypy
	@touch $@

# $(call install,program:package …): installs the Debian packages whose program is missing.
define install
missing=; for pair in $(1); do \
  PATH="$$PATH:/usr/sbin:/sbin" command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair##*:}"; \
done; \
if [ -n "$$missing" ]; then \
  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; \
fi
endef
