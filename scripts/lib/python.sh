# Virtual environments under .tools: nothing is installed outside of the repository. Needs common.sh.

python=${PYTHON:-python3}

ensure_python() {
  require "$python" "Install Python 3.10 or newer, or name one: PYTHON=/path/to/python3 $this_script"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    die "$("$python" --version) is too old: 3.10 or newer is needed." \
      "Name another one: PYTHON=/path/to/python3 $this_script"
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    die "this Python can't make virtual environments." \
      "On Debian and Ubuntu: apt-get install python3-venv"
}

# make_venv FOLDER WHAT PIP-ARGUMENTS...: installs once, and again when WHAT (what a person would
# call the contents, with its version or checksum) has changed. The stamp is written last, so that
# an installation that was interrupted is started anew.
make_venv() {
  local folder=$1 what=$2
  shift 2
  [[ $(cat "$folder/.installed" 2>/dev/null) == "$what" ]] && return
  ensure_python
  say "Installing $what into $(short_path "$folder") ..."
  rm -rf "$folder"
  mkdir -p "$(dirname "$folder")"
  "$python" -m venv "$folder" >&2 || die "$python could not make a virtual environment."
  "$folder/bin/python" -m pip install --disable-pip-version-check --no-input "$@" >&2 ||
    die "pip could not install $what; its own message stands above."
  printf '%s' "$what" >"$folder/.installed"
}

# What the end-to-end tests import, pinned in tests/e2e/requirements.txt.
ensure_test_venv() {
  local requirements=$root/tests/e2e/requirements.txt
  make_venv "$tools/venv" "the tests' requirements ($(cksum <"$requirements" | cut -d' ' -f1))" \
    --requirement "$requirements"
}

# The same, with what makes pictures: for the benchmark and the soak.
ensure_plotting_venv() {
  make_venv "$tools/venv-bench" "the benchmark's requirements ($(cat "$root"/tests/{bench,e2e}/requirements.txt | cksum | cut -d' ' -f1))" \
    --requirement "$root/tests/bench/requirements.txt"
}
