#!/usr/bin/env bash
# Everything that must hold, in the order of what fails fastest. Goes on after a failure, and ends with
# one line that counts the tests; exits 0 only if every step held.
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
failed=()

# run NAME COMMAND...: one step, its output shown and kept.
run() {
  local name=$1 begin=$SECONDS status=ok; shift
  printf '\n== %s: %s\n' "$name" "$*"
  "$@" 2>&1 | tee "$log/$name"
  [ "${PIPESTATUS[0]}" = 0 ] || { status=FAILED; failed+=("$name"); }
  printf '== %s: %s, %d s\n' "$name" "$status" $((SECONDS - begin))
}

run setup scripts/setup-system.sh build guests clients
run python scripts/setup-python.sh
run fmt cargo fmt --all --check
run clippy cargo clippy -q --workspace --all-targets --locked -- -D warnings
run tidy cargo xtask tidy
run coverage cargo xtask coverage --check
run rust cargo test --workspace --locked --no-fail-fast
run prove cargo xtask prove --seconds 60
run binary cargo build -q --locked -p katagami
run clients target/venv/bin/python -m pytest -q --color=no tests/clients

# count WORD: how often cargo's and pytest's summaries say that tests ended so.
count() {
  grep -hE '^test result:|^(=+ )?[0-9]+ (passed|failed|error)' "$log/rust" "$log/clients" 2>/dev/null |
    grep -oE "[0-9]+ $1" | awk '{ sum += $1 } END { print sum + 0 }'
}

for name in "${failed[@]}"; do printf 'step failed: %s\n' "$name"; done
passed=$(count passed)
printf 'tests: %d passed, %d failed\n' "$passed" $(($(count failed) + $(count error) + ${#failed[@]}))
[ ${#failed[@]} = 0 ] && [ "$passed" -gt 0 ]
