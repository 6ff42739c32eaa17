# Servers in the background, each with a log of its own, ended by their ids. Needs common.sh.

logs=
pids=()
names=()

# start NAME COMMAND...
start() {
  local name=$1
  shift
  keep_company "$@" >"$logs/$name.log" 2>&1 </dev/null &
  pids+=($!)
  names+=("$name")
}

# A server's parent that outlives the script: Envoy ends by itself when its parent does (since 1.40 it
# asks the kernel for a SIGTERM then), and --keep is to leave it running.
keep_company() {
  "$@" &
  local server=$!
  # shellcheck disable=SC2064 # now is when the number is known
  trap "kill $server 2>/dev/null" TERM
  trap '' INT
  # The first one ends with the signal, the second one with the server.
  wait "$server" || wait "$server"
}

# Ends everything that start has started, the last one first, and waits for it.
stop_all() {
  local i
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do kill "${pids[i]}" 2>/dev/null || true; done
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do wait "${pids[i]}" 2>/dev/null || true; done
  pids=()
}

# A server that has ended is named, with the end of its log.
expect_all_running() {
  local i
  for i in "${!pids[@]}"; do
    kill -0 "${pids[i]}" 2>/dev/null && continue
    say "--- the end of $(short_path "$logs/${names[i]}.log"):"
    tail -n 15 "$logs/${names[i]}.log" >&2
    die "${names[i]} has ended. The end of its log stands above."
  done
}

# wait_until WHAT COMMAND...: for 30 seconds at most.
wait_until() {
  local what=$1 deadline=$((SECONDS + 30))
  shift
  until "$@" >/dev/null 2>&1; do
    expect_all_running
    ((SECONDS < deadline)) || die "waited 30 s in vain for $what; logs are in $(short_path "$logs")."
    sleep 0.1
  done
}

is_port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
