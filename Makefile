# The front door: `make demo` and `make test` set everything up, build and run. `make help` lists the rest.
.DEFAULT_GOAL := help
.PHONY: help setup configure program build test demo demo-clean check lint sanitize fuzz site deb wheel format clean

# With the CUDA compiler present, the program hypenet-cuda is linked too; it is never needed without a GPU.
NVCC := $(firstword $(shell command -v nvcc) $(wildcard $(CUDA_HOME)/bin/nvcc /usr/local/cuda/bin/nvcc))
PRESET := $(if $(NVCC),cuda,cpu)
BUILD := build-cpu

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup:  ## system packages and .venv, when something is missing
	@scripts/setup

configure: setup
	@cmake --preset $(PRESET) >/dev/null
	@ln -sfn $(BUILD) build

program: configure  ## build/hypenet
	@ninja -C $(BUILD) hypenet $(if $(NVCC),hypenet-cuda)

build: configure  ## build/hypenet, the tests and the benchmarks
	@ninja -C $(BUILD)

test: build  ## all tests
	@scripts/setup --tests
	@ctest --preset cpu

demo: program  ## convert the embedded teacher into a HypeNet: table and report; goes on where it was interrupted
	@build/hypenet convert --recipe recipes/tiny.json --out out/tiny
	@echo "(make demo-clean and make demo again would start anew)"
	@printf '\nIt goes on with what you write (it was taught prose, no roles):\n%s\n%s\n%s\n' \
	  '  build/hypenet chat out/tiny/model --template none --tokens 60' \
	  '  build/hypenet generate out/tiny/model --prompt "The sun" --tokens 60 --temperature 0.7' \
	  '  build/hypenet serve out/tiny/model --template none     (a page to chat on, and an API: docs/serving.md)'

demo-clean:  ## remove what make demo wrote
	rm -rf out/tiny

check: setup  ## format, layers, links and style
	@scripts/format --check
	@tools/check_layers
	@tools/check_links
	@tools/check_style

lint: configure  ## clang-tidy
	@scripts/lint

sanitize: setup  ## tests and fuzz targets under the address and undefined-behaviour sanitizers
	@scripts/sanitize

fuzz: setup  ## every reader's fuzz target, ten minutes each
	@scripts/fuzz

site:  ## docs/ as a web site in out/site
	@scripts/setup --site
	@NO_MKDOCS_2_WARNING=1 .venv/site/bin/mkdocs build --strict
	@echo "site: out/site/index.html"

deb: configure  ## build-cpu/package/: a .deb and a .tar.gz that need nothing but a torch wheel (docs/install.md)
	@ninja -C $(BUILD) hypenet portable
	@cd $(BUILD) && cpack

# The compiler by the name that `make build` gives it: for another name ccache would compile all anew.
wheel: setup  ## dist/: the Python package, for the Python of .venv (docs/python.md)
	@CXX=$${CXX:-c++} .venv/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@tools/check_wheel dist/*.whl

format:  ## clang-format over all C++ files
	@scripts/format

clean:  ## remove the builds; .venv and out stay
	rm -rf build build-cpu build-sanitize build-wheel
