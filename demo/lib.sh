# What the demo's steps share: showing commands, timing, checking.
# shellcheck shell=bash

bold=; plain=
if [ -t 1 ]; then bold=$(tput bold 2>/dev/null || true); plain=$(tput sgr0 2>/dev/null || true); fi

now_ms() { date +%s%3N; }
since() { awk -v from="$1" -v to="$(now_ms)" 'BEGIN { printf "%.1f", (to - from) / 1000 }'; }

TIMINGS=()
step_name='' step_begin=0

# step NAME: ends the step before, and says what comes now.
step() {
  end_step
  step_name=$1 step_begin=$(now_ms)
  printf '\n%s== %s ==%s\n' "$bold" "$1" "$plain"
}

end_step() {
  [ -z "$step_name" ] || TIMINGS+=("$(since "$step_begin")|$step_name")
  step_name=
}

fail() {
  printf '\n%sFAILED%s in "%s": %s\n' "$bold" "$plain" "$step_name" "$*" >&2
  exit 1
}

# check WHAT COMMAND...: the demo ends here when the command fails.
check() {
  local what=$1; shift
  "$@" || fail "$what"
  printf '   ok: %s\n' "$what"
}

quoted() { local word; for word in "$@"; do printf '%s ' "$(printf '%q' "$word" | sed "s/\\\\,/,/g; s/\\\\=/=/g")"; done; }

# show COMMAND...: prints the command, runs it, prints what came back and how long it took. The answer is in $ANSWER.
show() {
  local begin status=0
  printf '\n%s$ %s%s\n' "$bold" "$(quoted "$@")" "$plain"
  begin=$(now_ms)
  ANSWER=$("$@" 2>&1) || status=$?
  printf '%s\n' "$ANSWER" | head -n "${SHOW_LINES:-14}" | sed 's/^/   /'
  [ "$(printf '%s\n' "$ANSWER" | wc -l)" -le "${SHOW_LINES:-14}" ] || printf '   ...\n'
  printf '   (%s s)\n' "$(since "$begin")"
  return $status
}

# run COMMAND...: show, and the demo ends when it fails.
run() { show "$@" || fail "$(quoted "$@")"; }

# refused CODE COMMAND...: the command must fail with that error code.
refused() {
  local code=$1; shift
  if show "$@"; then fail "this should have been refused with $code"; fi
  case $ANSWER in *"$code"*) printf '   ok: refused with %s\n' "$code" ;; *) fail "refused, but not with $code" ;; esac
}

# answer FILTER: what jq finds in the last answer.
answer() { printf '%s' "$ANSWER" | jq -r "$1"; }

# until_true SECONDS WHAT COMMAND...
until_true() {
  local limit=$1 what=$2 begin; shift 2
  begin=$(now_ms)
  until "$@"; do
    [ $(($(now_ms) - begin)) -lt $((limit * 1000)) ] || fail "waited $limit s for $what"
    sleep 0.5
  done
  printf '   ok: %s after %s s\n' "$what" "$(since "$begin")"
}

table() {
  end_step
  printf '\n%s%10s  %s%s\n' "$bold" seconds step "$plain"
  local row
  for row in "${TIMINGS[@]}"; do printf '%10s  %s\n' "${row%%|*}" "${row#*|}"; done
}
