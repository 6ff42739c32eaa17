# The JavaScript package. Needs common.sh, rust.sh and wasm-opt.sh.

js_target=wasm32-unknown-unknown
js_folder=$root/target/js
js_package=$js_folder/invoker.tgz

# build_js: packs it into $js_package.
build_js() {
  ensure_rust "$js_target"
  require npm "It packs the JavaScript package: install Node.js from https://nodejs.org/ and try again."
  say "Building the JavaScript package ..."
  local folder=$js_folder/package
  # Stripping is wasm-opt's: wasm-bindgen reads what would be gone.
  CARGO_PROFILE_MODULE_STRIP=none build_wasm "$js_target"
  (cd "$root/scripts/lib/wasm-bindgen" && cargo build --locked --target-dir "$root/target/wasm-bindgen") >&2
  rm -rf "$folder"
  mkdir -p "$folder"
  cp -R "$root"/js/{entry,src,index.d.ts,package.json,README.md} "$root/LICENSE" "$folder"
  "$root/target/wasm-bindgen/debug/wasm-bindgen-for-invoker" \
    "$root/target/$js_target/module/invoker.wasm" "$folder/core"
  wasm_opt "$folder/core/core_bg.wasm" "$js_folder/core.wasm"
  cp "$js_folder/core.wasm" "$folder/core/core_bg.wasm"
  (cd "$folder" && npm pack --silent --pack-destination "$js_folder") >/dev/null
  mv "$js_folder"/invoker-*.tgz "$js_package"
}
