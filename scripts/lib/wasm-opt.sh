# Binaryen's optimiser for WebAssembly, under .tools. Needs common.sh.

# What rustc's wasm32-wasip1 has on by itself. Under --all-features wasm-opt uses what Envoy's V8 refuses.
wasm_features=(
  --enable-bulk-memory
  --enable-multivalue
  --enable-mutable-globals
  --enable-nontrapping-float-to-int
  --enable-reference-types
  --enable-sign-ext
)

# wasm_opt MODULE OUTPUT: the output appears in one piece. An Envoy that starts meanwhile must not read half
# of it; one that reads an empty file fails to load the plugin, and says nothing of why.
wasm_opt() {
  local source=$root/scripts/lib/wasm-opt folder=$tools/wasm-opt
  if ! cmp -s "$source/package-lock.json" "$folder/.installed"; then
    require npm "It installs wasm-opt: install Node.js from https://nodejs.org/ and try again."
    say "Installing wasm-opt into $(short_path "$folder") ..."
    rm -rf "$folder"
    mkdir -p "$folder"
    cp "$source"/{package.json,package-lock.json} "$folder"
    npm ci --prefix "$folder" --silent --no-audit --no-fund >&2 ||
      die "npm could not install wasm-opt; its own message stands above."
    cp "$source/package-lock.json" "$folder/.installed"
  fi
  say "Making it small ..."
  "$folder/node_modules/.bin/wasm-opt" -Oz "${wasm_features[@]}" "$1" --output "$2.$$" ||
    die "wasm-opt refused $(short_path "$1"); its own message stands above."
  mv "$2.$$" "$2"
}
