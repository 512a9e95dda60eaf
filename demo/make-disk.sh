#!/usr/bin/env bash
# make-disk.sh [DISK]: makes a Debian disk that boots as an EC2 image, and prints its path.
#
# What comes out: a sparse raw disk, GPT, bootable by BIOS and by UEFI, with an ext4 root, the cloud
# kernel, cloud-init with its EC2 data source and nothing else, and sshd. It holds no password, no key
# and no machine id. The disk is kept in the cache and made again only when this script or one of its
# inputs changes; with DISK given, a sparse copy is put there.
#
# It runs as root or as an ordinary user: there is no loop device and nothing is mounted.
# mmdebstrap unpacks the packages, mke2fs fills the file system from a folder, and GRUB is written by hand.
#
# SUITE (bookworm), SIZE (3G), MIRROR, SECURITY_MIRROR (taken from this machine's apt), CACHE (target/demo)
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../scripts/lib.sh"

SUITE=${SUITE:-bookworm} SIZE=${SIZE:-3G} CACHE=${CACHE:-$here/../target/demo}
PACKAGES=systemd-sysv,systemd-resolved,udev,dbus,libpam-systemd,linux-image-cloud-amd64,initramfs-tools,lz4
PACKAGES+=,e2fsprogs,kmod,iproute2,iputils-ping,netbase,ca-certificates,curl,less,procps,sudo,openssh-server
PACKAGES+=,cloud-init,cloud-guest-utils,grub2-common,grub-pc-bin,grub-efi-amd64-bin,util-linux-extra
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
SECTOR=512 BIOS_START=2048 ESP_START=4096 ESP_SECTORS=16384 ROOT_START=20480
started=$SECONDS

step() { printf '%4ds  %s\n' $((SECONDS - started)) "$*" >&2; }

# The first address that this machine's own apt has for a suite.
mirror_of() {
  apt-get indextargets --format '$(SITE) $(RELEASE)' 2>/dev/null |
    awk -v suite="$1" '$2 == suite { print $1; exit }'
}

# sources: the apt lines of the disk.
sources() {
  local mirror=${MIRROR:-$(mirror_of "$SUITE")} security=${SECURITY_MIRROR:-$(mirror_of "$SUITE-security")}
  [ -n "$mirror" ] || die "apt knows no mirror of Debian $SUITE: set MIRROR to one"
  echo "deb [signed-by=$KEYRING] $mirror $SUITE main"
  echo "deb [signed-by=$KEYRING] $mirror $SUITE-updates main"
  [ -z "$security" ] || echo "deb [signed-by=$KEYRING] $security $SUITE-security main"
}

# Runs a command as root, or as the root of a user namespace.
in_namespace() {
  if [ "$(id -u)" = 0 ]; then "$@"; else mmdebstrap --unshare-helper "$@"; fi
}

# packages_tar FILE: the packages, configured, as one archive.
packages_tar() {
  local mode=unshare; [ "$(id -u)" != 0 ] || mode=root
  sources | mmdebstrap --quiet --mode="$mode" --variant=minbase --architectures=amd64 \
    --keyring="$KEYRING" --include="$PACKAGES" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*/LC_MESSAGES/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools"' \
    --essential-hook="sync-in '$here/guest/etc/initramfs-tools' /etc/initramfs-tools" \
    --dpkgopt='force-confold' \
    "$SUITE" "$1" - >&2
}

# Everything below `build_root` runs in the namespace, on a tree that root owns.

# tune TREE: our files, fewer services, and no trace of where it was made.
tune() {
  local tree=$1 unit
  cp -r --no-preserve=ownership,timestamps "$here/guest/." "$tree/"
  for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer getty@tty1.service systemd-pstore.service cloud-init-hotplugd.socket cloud-init-hotplugd.service; do
    ln -sfn /dev/null "$tree/etc/systemd/system/$unit"
  done
  chroot "$tree" systemctl -q enable systemd-networkd.service systemd-resolved.service ssh.service serial-getty@ttyS0.service 2>/dev/null
  ln -sfn ../run/systemd/resolve/stub-resolv.conf "$tree/etc/resolv.conf"
  echo "UUID=$ROOT_UUID / ext4 defaults,errors=remount-ro 0 1" > "$tree/etc/fstab"
  echo localhost > "$tree/etc/hostname"
  printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' > "$tree/etc/hosts"
  : > "$tree/etc/machine-id"
  rm -f "$tree"/etc/ssh/ssh_host_* "$tree/var/lib/dbus/machine-id" "$tree/var/lib/systemd/random-seed"
  rm -rf "$tree"/var/lib/apt/lists/* "$tree"/var/cache/apt/* "$tree"/var/cache/debconf/*-old "$tree"/var/lib/cloud
  find "$tree/var/log" -type f -delete
  passwd --root "$tree" -q -l root 2>/dev/null || chroot "$tree" passwd -q -l root
}

# grub_modules: what both of GRUB's images carry, so that a boot reads no module file.
grub_modules() { echo normal configfile linux part_gpt ext2 search search_fs_uuid serial terminal echo test true minicmd gzio; }

# boot_loader TREE: GRUB's modules, its menu, and its two images (in TREE/tmp).
boot_loader() {
  local tree=$1 kernel platform
  for platform in i386-pc x86_64-efi; do
    mkdir -p "$tree/boot/grub/$platform"
    cp "$tree/usr/lib/grub/$platform"/*.{mod,lst} "$tree/boot/grub/$platform/"
  done
  # shellcheck disable=SC2046
  chroot "$tree" grub-mkimage -O i386-pc -p '(,gpt3)/boot/grub' -o /tmp/core.img biosdisk $(grub_modules)
  # shellcheck disable=SC2046
  chroot "$tree" grub-mkimage -O x86_64-efi -p '(,gpt3)/boot/grub' -o /tmp/BOOTX64.EFI $(grub_modules)
  cp "$tree/usr/lib/grub/i386-pc/boot.img" "$tree/tmp/boot.img"
  kernel=$(cd "$tree/boot" && ls vmlinuz-* | sort -V | tail -n 1)
  cat > "$tree/boot/grub/grub.cfg" <<MENU
# The first menu; update-grub writes the next one from /etc/default/grub.d/serial.cfg.
serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
set timeout=0
menuentry "Debian GNU/Linux" {
  linux /boot/$kernel root=UUID=$ROOT_UUID ro $(. "$tree/etc/default/grub.d/serial.cfg"; echo "$GRUB_CMDLINE_LINUX")
  initrd /boot/${kernel/vmlinuz/initrd.img}
}
MENU
}

# build_root WORK: WORK/rootfs.tar becomes the root file system WORK/root.ext4, beside the boot images.
build_root() {
  local work=$1 tree=$1/tree
  mkdir "$tree"
  tar -C "$tree" --numeric-owner --xattrs --xattrs-include='*' --exclude='./dev/*' -xf "$work/rootfs.tar"
  tune "$tree"
  boot_loader "$tree"
  mv "$tree"/tmp/{core.img,BOOTX64.EFI,boot.img} "$work/"
  mke2fs -q -t ext4 -L root -U "$ROOT_UUID" -d "$tree" -E lazy_itable_init=0,lazy_journal_init=0,nodiscard \
    "$work/root.ext4" "$((ROOT_SECTORS / 2))k" >/dev/null 2>&1
  rm -rf "$tree"
  chmod a+rw "$work"/{core.img,BOOTX64.EFI,boot.img,root.ext4}
}

# little_endian VALUE BYTES
little_endian() {
  local value=$1 count=$2 i
  for ((i = 0; i < count; i++)); do printf "\\x$(printf %02x $(((value >> (8 * i)) & 255)))"; done
}

# poke FILE OFFSET BYTES...: the bytes come on standard input.
poke() { dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

# install_bios DISK WORK: what grub-bios-setup does, for a disk that is a file.
# boot.img at 0x5c holds the first sector of core.img; the last 12 bytes of core.img's first sector hold
# where the rest of it lies, how long it is, and the segment to load it to.
install_bios() {
  local disk=$1 work=$2 size
  size=$((($(stat -c %s "$work/core.img") + SECTOR - 1) / SECTOR))
  [ "$size" -le $((ESP_START - BIOS_START)) ] || die "GRUB's core image is too large: $size sectors"
  little_endian "$BIOS_START" 8 | poke "$work/boot.img" $((0x5c))
  printf '\x90\x90' | poke "$work/boot.img" $((0x66))
  { little_endian $((BIOS_START + 1)) 8; little_endian $((size - 1)) 2; little_endian $((0x820)) 2; } |
    poke "$work/core.img" $((SECTOR - 12))
  dd if="$work/boot.img" of="$disk" bs=440 count=1 conv=notrunc status=none
  dd if="$work/core.img" of="$disk" bs=$SECTOR seek=$BIOS_START conv=notrunc status=none
}

# install_efi DISK WORK: an EFI system partition with GRUB under the name that firmware looks for by itself.
install_efi() {
  local disk=$1 work=$2
  truncate -s $((ESP_SECTORS * SECTOR)) "$work/esp"
  mformat -i "$work/esp" -v ESP -T $ESP_SECTORS -h 16 -s 32 ::
  mmd -i "$work/esp" ::/EFI ::/EFI/BOOT
  mcopy -i "$work/esp" "$work/BOOTX64.EFI" ::/EFI/BOOT/BOOTX64.EFI
  dd if="$work/esp" of="$disk" bs=1M seek=$((ESP_START * SECTOR / 1048576)) conv=notrunc,sparse status=none
}

# assemble DISK WORK: partition table, boot loaders, root.
assemble() {
  local disk=$1 work=$2
  truncate -s "$SIZE" "$disk"
  sfdisk -q "$disk" <<TABLE
label: gpt
start=$BIOS_START, size=$((ESP_START - BIOS_START)), type=21686148-6449-6E6F-744E-656564454649, name=bios
start=$ESP_START, size=$ESP_SECTORS, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=efi
start=$ROOT_START, size=$ROOT_SECTORS, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=root
TABLE
  install_bios "$disk" "$work"
  install_efi "$disk" "$work"
  dd if="$work/root.ext4" of="$disk" bs=1M seek=$((ROOT_START * SECTOR / 1048576)) conv=notrunc,sparse status=none
}

# verify DISK WORK: the table, the file systems and the boot files are readable where they should be.
verify() {
  local disk=$1 work=$2
  sfdisk -q --verify "$disk" >/dev/null || die "bad partition table"
  e2fsck -fn "$work/root.ext4" >/dev/null 2>&1 || die "bad root file system"
  debugfs -R 'stat /boot/grub/grub.cfg' "$disk?offset=$((ROOT_START * SECTOR))" 2>/dev/null |
    grep -q 'Type: regular' || die "no boot menu on the root file system"
  mdir -b -i "$disk@@$((ESP_START * SECTOR))" ::/EFI/BOOT/BOOTX64.EFI >/dev/null || die "no EFI boot file"
  [ "$(dd if="$disk" bs=1 skip=510 count=2 status=none | od -An -tx1 | tr -d ' ')" = 55aa ] || die "no boot sector"
}

digest() { sha256sum | cut -c1-16; }

# make DISK: the packages come from the cache when the list of them has not changed.
make() {
  local disk=$1 archive
  archive=$CACHE/packages-$( { declare -f packages_tar; echo "$PACKAGES $SUITE"; cat "$here"/guest/etc/initramfs-tools/{modules,conf.d/machine}; } | digest).tar
  work=$(mktemp -d "$CACHE/work.XXXXXX")
  trap 'in_namespace find "$work" -mindepth 1 -delete; rm -rf "$work"' EXIT
  if [ ! -s "$archive" ]; then
    step "fetching and unpacking the packages of Debian $SUITE"
    rm -f "$CACHE"/packages-*.tar
    packages_tar "$work/packages.tar"
    mv "$work/packages.tar" "$archive"
  fi
  ln -s "$archive" "$work/rootfs.tar"
  [ "$(id -u)" = 0 ] || chmod 777 "$work"
  step "filling the root file system"
  in_namespace env ROOT_UUID="$ROOT_UUID" ROOT_SECTORS="$ROOT_SECTORS" "$0" --build-root "$work"
  step "writing partitions and boot loaders"
  assemble "$work/disk" "$work"
  step "checking the disk"
  verify "$work/disk" "$work"
  mv "$work/disk" "$disk"
}

main() {
  local cached
  "$here/../scripts/setup-disk.sh"
  mkdir -p "$CACHE"
  CACHE=$(cd "$CACHE" && pwd)
  ROOT_SECTORS=$(($(numfmt --from=iec "$SIZE") / SECTOR - ROOT_START - 2048))
  ROOT_UUID=$(cat /proc/sys/kernel/random/uuid)
  cached=$CACHE/debian-$SUITE-$( { cat "$0"; cd "$here" && find guest -type f | sort | xargs cat; echo "$SIZE"; } | digest).raw
  if [ -s "$cached" ]; then step "the disk is in the cache"
  else rm -f "$CACHE/debian-$SUITE"-*.raw; make "$cached"; step "made a disk of $SIZE, $(du -h "$cached" | cut -f1) of it used"; fi
  if [ $# -gt 0 ]; then cp --sparse=always --reflink=auto "$cached" "$1"; cached=$1; fi
  printf '%s\n' "$cached"
}

case ${1:-} in
  --build-root) build_root "$2" ;;
  --help) sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//p}' "$0" ;;
  *) main "$@" ;;
esac
