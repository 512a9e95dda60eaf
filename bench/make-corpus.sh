#!/usr/bin/env bash
# make-corpus.sh [FOLDER]: makes the five disks that store.py measures with, and prints the folder they are in.
#
#   v1   a Debian server: GPT, ext4, the cloud kernel, sshd, the packages of the release as it came out
#   v2   v1 with a web server, Python, an editor and git installed
#   v3   v1 upgraded: security fixes with a new kernel, some packages unpacked again, a new initrd
#   v4   v1 after a while: 24 MiB of logs, 400 pages rewritten in place, files removed, small ones added
#   v1b  v1 built once more from nothing: the same packages, another file system
#
# Each is 3 GiB and sparse. They are for storing, not for booting: there is no boot loader on them.
# It takes about ten minutes, once: the disks stay where they are until this script changes.
# It needs root, because the disks are mounted.
#
# SUITE (bookworm), SIZE (3G), MIRROR, SECURITY_MIRROR (taken from this machine's apt)
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../scripts/lib.sh"

SUITE=${SUITE:-bookworm} SIZE=${SIZE:-3G}
PACKAGES=systemd-sysv,udev,dbus,linux-image-cloud-amd64,grub-pc,initramfs-tools,e2fsprogs,kmod,iproute2,ifupdown
PACKAGES+=,isc-dhcp-client,openssh-server,ca-certificates,less,nano,procps,cron,logrotate,rsyslog,locales,man-db
PACKAGES+=,sudo,bash-completion,wget,gpgv,debian-archive-keyring
MORE_PACKAGES=(nginx python3 python3-requests vim git curl)
AGAIN=(coreutils bash perl-base dpkg tar libc-bin util-linux openssh-server openssh-client systemd udev locales sudo rsyslog)
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
SECTOR=512 ROOT_START=4096
started=$SECONDS tree='' device=''

step() { printf '%4ds  %s\n' $((SECONDS - started)) "$*" >&2; }

# The first address that this machine's own apt has for a suite.
mirror_of() {
  apt-get indextargets --format '$(SITE) $(RELEASE)' 2>/dev/null |
    awk -v suite="$1" '$2 == suite { print $1; exit }'
}

# attach DISK: mounts its root file system on $tree.
attach() {
  device=$(losetup -f --show -o $((ROOT_START * SECTOR)) "$1")
  tree=$(mktemp -d "$work/tree.XXXXXX")
}

# detach: what was deleted becomes holes in the disk.
detach() {
  sync -f "$tree"
  fstrim "$tree"
  release
}

# release: undoes attach and enter, however far they came.
release() {
  local part
  [ -n "$tree" ] || return 0
  for part in dev/pts dev proc sys run .; do
    if mountpoint -q "$tree/$part"; then umount "$tree/$part"; fi
  done
  rmdir "$tree"
  losetup -d "$device"
  tree='' device=''
}

# enter, leave: what packages want around them while they are installed.
enter() {
  mount --bind /dev "$tree/dev"
  mount --bind /dev/pts "$tree/dev/pts"
  mount -t proc proc "$tree/proc"
  mount -t sysfs sys "$tree/sys"
  mount -t tmpfs run "$tree/run"
  cp --remove-destination /etc/resolv.conf "$tree/etc/resolv.conf"
  printf '#!/bin/sh\nexit 101\n' > "$tree/usr/sbin/policy-rc.d"
  chmod +x "$tree/usr/sbin/policy-rc.d"
  find /etc/apt/apt.conf.d -name '*proxy*' -exec cp -t "$tree/etc/apt/apt.conf.d" {} +
}

leave() {
  rm -f "$tree/usr/sbin/policy-rc.d" "$tree/etc/resolv.conf"
  chroot "$tree" apt-get clean
  rm -rf "$tree"/var/lib/apt/lists/*_*
}

in_tree() { chroot "$tree" "$@" >> "$work/log" 2>&1; }

# packages_tar FILE
packages_tar() {
  mmdebstrap --quiet --mode=root --variant=important --architectures=amd64 --keyring="$KEYRING" --components=main \
    --aptopt='Acquire::Check-Valid-Until "false"' --include="$PACKAGES" "$SUITE" "$1" "$mirror" >&2
}

# fresh DISK: a disk with the packages on it, fetched for it alone.
fresh() {
  local archive=$work/packages.tar
  packages_tar "$archive"
  truncate -s "$SIZE" "$1"
  sfdisk -q "$1" <<TABLE
label: gpt
start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649
start=$ROOT_START, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709
TABLE
  attach "$1"
  mkfs.ext4 -q -L root -E lazy_itable_init=0,lazy_journal_init=0,nodiscard "$device" \
    $((($(stat -c %s "$1") - ROOT_START * SECTOR - 1048576) / 1024))k
  mount "$device" "$tree"
  tar -C "$tree" --numeric-owner --xattrs --xattrs-include='*' -xf "$archive"
  rm "$archive"
  echo "UUID=$(blkid -s UUID -o value "$device") / ext4 defaults,errors=remount-ro 0 1" > "$tree/etc/fstab"
  echo corpus > "$tree/etc/hostname"
  : > "$tree/etc/machine-id"
  cp -r "$tree/usr/lib/grub/i386-pc" "$tree/boot/grub/"
  rm -rf "$tree"/var/cache/apt/archives/*.deb "$tree"/var/lib/apt/lists/*_*
  detach
}

# from_v1 DISK: a copy of v1, mounted.
from_v1() {
  cp --sparse=always --reflink=auto "$corpus/v1.raw" "$1"
  attach "$1"
  mount "$device" "$tree"
}

installed() {
  from_v1 "$1"
  enter
  in_tree apt-get -qq update
  in_tree apt-get -qq -y --no-install-recommends install "${MORE_PACKAGES[@]}"
  leave
  detach
}

upgraded() {
  local list=etc/apt/sources.list.d/upgrade.list
  from_v1 "$1"
  enter
  {
    echo "deb $mirror $SUITE main"
    echo "deb $mirror $SUITE-updates main"
    [ -z "$security" ] || echo "deb $security $SUITE-security main"
  } > "$tree/$list"
  in_tree apt-get -qq update
  in_tree apt-get -qq -y -o Dpkg::Options::=--force-confold dist-upgrade
  in_tree apt-get -qq -y -o Dpkg::Options::=--force-confold install --reinstall "${AGAIN[@]}"
  in_tree update-initramfs -u -k all
  rm "$tree/$list"
  leave
  detach
}

edited() {
  from_v1 "$1"
  python3 - "$tree" <<'PYTHON'
import os
import random
import sys

root = sys.argv[1]
rng = random.Random(42)
words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9))) for _ in range(2000)]


def files(folder):
    return sorted(os.path.join(at, name) for at, _, names in os.walk(root + folder) for name in names)


def grow(log, size):
    with open(root + log, "a") as file:
        clock, written = 1_700_000_000, 0
        while written < size:
            clock += rng.randint(0, 3)
            text = " ".join(rng.choices(words, k=rng.randint(4, 14)))
            written += file.write(f"{clock} corpus app[{rng.randint(100, 9999)}]: {text}\n")


grow("/var/log/syslog", 16 << 20)
grow("/var/log/auth.log", 6 << 20)
grow("/var/log/daemon.log", 2 << 20)
large = [path for path in files("/usr") if not os.path.islink(path) and os.path.getsize(path) > 65536]
for path in rng.choices(large, k=400):
    with open(path, "r+b") as file:
        file.seek(rng.randrange(os.path.getsize(path) // 4096) * 4096)
        file.write(rng.randbytes(4096))
for path in rng.sample(files("/usr/share/doc"), 200):
    os.unlink(path)
for number in range(200):
    with open(f"{root}/etc/corpus-{number}.conf", "w") as file:
        file.write(f"key{number} = {rng.random() * 1e6}\n" * rng.randint(1, 30))
PYTHON
  detach
}

# disk NAME HOW: all or nothing.
disk() {
  [ ! -s "$corpus/$1.raw" ] || return 0
  step "making $1"
  rm -f "$work/disk"
  "$2" "$work/disk"
  mv "$work/disk" "$corpus/$1.raw"
}

main() {
  local folder=${1:-$here/../target/bench/corpus}
  corpus=$folder-$( { cat "$0"; echo "$SUITE $SIZE"; } | sha256sum | cut -c1-16)
  if [ ! -s "$corpus/v1b.raw" ]; then
    [ "$(id -u)" = 0 ] || die "the disks are mounted while they are made: run this as root, once"
    "$here/../scripts/setup-disk.sh"
    mirror=${MIRROR:-$(mirror_of "$SUITE")} security=${SECURITY_MIRROR:-$(mirror_of "$SUITE-security")}
    [ -n "$mirror" ] || die "apt knows no mirror of Debian $SUITE: set MIRROR to one"
    mkdir -p "$corpus"
    work=$(mktemp -d "$corpus/work.XXXXXX")
    trap 'release; rm -rf "$work"' EXIT
    disk v1 fresh
    disk v2 installed
    disk v3 upgraded
    disk v4 edited
    disk v1b fresh
    step "made the corpus"
  fi
  (cd "$corpus" && pwd)
}

main "$@"
