#!/usr/bin/env bash
# Installs what demo/make-disk.sh needs to make a Debian disk.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
packages=(mmdebstrap fdisk e2fsprogs mtools debian-archive-keyring)
[ "$(id -u)" = 0 ] || packages+=(uidmap)
install_packages "${packages[@]}"
