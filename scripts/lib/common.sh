# What every script shares: where things are, and how to talk to the person who runs them.
# Sourced, never run. Progress goes to stderr, so that a script's stdout stays its result.

# A failure inside $( ) counts too, where bash knows how (4.4 and newer).
shopt -s inherit_errexit 2>/dev/null || true

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tools=$root/.tools
this_script=scripts/$(basename "$0")

say() { printf '%s\n' "$*" >&2; }

die() {
  say "$this_script: error: $1"
  shift
  local hint
  for hint in "$@"; do say "  $hint"; done
  exit 1
}

# A wrong flag is the caller's mistake, not a failure of the work: 2, as most tools have it.
usage_error() {
  say "$this_script: $1"
  say "Try '$this_script --help'."
  exit 2
}

# The comment block at the top of a script is its help.
print_help() {
  awk 'NR == 1 { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' "$1"
}

require() {
  command -v "$1" >/dev/null 2>&1 || die "$1 is needed and was not found." "$2"
}

# Paths in messages read better from the repository's root.
short_path() { printf '%s' "${1#"$root"/}"; }

elapsed_since() {
  local seconds=$((SECONDS - $1))
  if ((seconds < 60)); then
    printf '%d s' "$seconds"
  else
    printf '%d min %02d s' $((seconds / 60)) $((seconds % 60))
  fi
}

invoker_version() { sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1; }
