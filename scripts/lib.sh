# Shared by the set-up scripts: install what is missing, and say clearly what cannot be.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo -- "$@"
  else return 127; fi
}

installed() { dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^.i'; }

# install_packages NAME...: installs those of the Debian packages that are missing, nothing else.
install_packages() {
  command -v dpkg-query >/dev/null || die "this machine does not use Debian packages; install by hand: $*"
  local missing=() package
  for package in "$@"; do installed "$package" || missing+=("$package"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${missing[*]}"
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0)
  local log; log=$(mktemp)
  if { as_root "${apt[@]}" install --no-install-recommends "${missing[@]}" ||
       { as_root "${apt[@]}" update &&
         as_root "${apt[@]}" install --no-install-recommends "${missing[@]}"; }; } >"$log" 2>&1 </dev/null
  then rm -f "$log"; return 0; fi
  tail -n 20 "$log" >&2; rm -f "$log"
  die "could not install them; as root, run: apt-get update && apt-get install ${missing[*]}"
}
