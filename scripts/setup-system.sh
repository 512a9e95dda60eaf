#!/usr/bin/env bash
# setup-system.sh [build|guests|clients]...: installs the Debian packages that building, running guests or
# testing with clients needs, and checks that there is a Rust toolchain. Without arguments: all of them.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

packages=()
for part in "${@:-all}"; do
  case $part in
    build | all)
      command -v cargo >/dev/null || die "no Rust toolchain: install one with rustup (its version is in rust-toolchain.toml)"
      command -v cc >/dev/null || packages+=(gcc libc6-dev)
      packages+=(strace) ;;&
    guests | all) packages+=(qemu-system-x86 ovmf openssh-client e2fsprogs) ;;&
    clients | all) packages+=(awscli curl jq openssh-client qemu-utils libnbd-bin fio) ;;&
    bench | all) packages+=(qemu-utils nbdkit libnbd-bin restic casync borgbackup zstd) ;;&
    build | guests | clients | bench | all) ;;
    *) die "unknown part: $part" ;;
  esac
done
[ ${#packages[@]} = 0 ] || install_packages "${packages[@]}"
