# Each target does its own set-up: it installs what is missing and nothing else.

.PHONY: help demo test bench tidy fmt clippy install-deps

help:            ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

demo:            ## the whole life of an image, with guests that boot
	demo/run.sh

test:            ## every check and every test
	scripts/test.sh

bench:           ## what is measured, against whom
	scripts/setup-system.sh build guests bench
	scripts/setup-python.sh
	cargo xtask bench

tidy:            ## the rules that the compiler does not know
	cargo xtask tidy

fmt:
	cargo fmt --all

clippy:
	cargo clippy --workspace --all-targets -- -D warnings

install-deps:    ## what every other target would install
	scripts/setup-system.sh
	scripts/setup-disk.sh
	scripts/setup-python.sh
