# The OCI image that meshes pull. Needs common.sh, python.sh and rust.sh.

image=$root/target/image

# build_image: prints the image's digest.
build_image() {
  require "$python" "Install Python 3.11 or newer, or name one: PYTHON=/path/to/python3 $this_script"
  "$python" -c 'import tomllib' 2>/dev/null ||
    die "$("$python" --version) is too old to make the image: 3.11 or newer is needed." \
      "Name another one: PYTHON=/path/to/python3 $this_script"
  build_module
  say "Making the image ..."
  (cd "$root" && PYTHONDONTWRITEBYTECODE=1 "$python" scripts/lib/image.py "$module" "$image") ||
    die "the image could not be made; the reason stands above."
}
