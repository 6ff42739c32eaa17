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

# wasm_opt MODULE OUTPUT: does nothing if this module has become this output before. The output appears in one piece. An Envoy that starts meanwhile must not read half
# of it; one that reads an empty file fails to load the plugin, and says nothing of why.
wasm_opt() {
  local source=$root/scripts/lib/wasm-opt folder=$tools/wasm-opt
  if [[ -f $2 && $(cat "$2.made" 2>/dev/null) == "$(how_made "$1" "$2")" ]]; then return; fi
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
  how_made "$1" "$2" >"$2.made"
}

# Of what, by what, and what it became: a module that Cargo has put in the same place meanwhile is no output.
how_made() {
  cksum <"$1"
  printf '%s\n' "${wasm_features[@]}"
  cksum <"$root/scripts/lib/wasm-opt/package-lock.json"
  cksum <"$2"
}
