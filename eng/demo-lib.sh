# shellcheck shell=bash
# What the demos share: how steps are shown and checked, and the life of a demo's sandboxer. Sourced after eng/lib.sh, never run.
# The demo sets bin (published executables), run_dir (the sandboxer's) and sandboxer (its program's name).

sandboxer_log=$KUASAR_TESTBED/sandboxer.log
sandboxer_pid=''
finished=''

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
show() { printf '$ %s\n' "$*"; }
ok() { printf '   ok: %s\n' "$*"; }

# expect WHAT WANTED GOT
expect() {
  [ "$2" = "$3" ] || die "$1: wanted '$2', got '$3'"
  ok "$1: $2"
}

# tell_logs: what a demo shows of its own when it has failed.
tell_logs() { :; }

clean_up() {
  local code=$?
  trap - EXIT
  if [ $code != 0 ] || [ -z "$finished" ]; then
    say "" "the demo failed; the sandboxer's log:"
    tail -n 20 "$sandboxer_log" >&2 2>/dev/null || true
    say "containerd's log:"
    tail -n 20 "$KUASAR_TESTBED_RUN/containerd.log" >&2 2>/dev/null || true
    tell_logs
    # containerd first: it removes containers through the sandboxer.
    eng/containerd.sh clean >&2 || true
    [ -z "$sandboxer_pid" ] || end_process "$sandboxer_pid"
  fi
  exit $code
}

# install_shim NAME: a copy, as the shim looks for its .conf beside its own file.
install_shim() {
  mkdir -p "$KUASAR_TESTBED/bin"
  install -m 755 "$bin/$1" "$KUASAR_TESTBED/bin/"
  echo "run-dir=$run_dir" >"$KUASAR_TESTBED/bin/$1.conf"
}

start_containerd() {
  eng/containerd.sh config
  eng/containerd.sh start
  eng/containerd.sh import 2>/dev/null
  eval "$(eng/containerd.sh env)"
}

sandboxer_listens() { [ -S "$run_dir/control.sock" ]; }
sandboxer_ready_or_dead() { sandboxer_listens || gone "$sandboxer_pid"; }

# start_sandboxer ARGUMENT...
start_sandboxer() {
  show "$sandboxer" --run-dir "$run_dir" "$@"
  mkdir -p "$run_dir"
  setsid "$bin/$sandboxer" --run-dir "$run_dir" "$@" >"$sandboxer_log" 2>&1 </dev/null &
  sandboxer_pid=$!
  wait_for 20 sandboxer_ready_or_dead && sandboxer_listens || die "the sandboxer does not listen in $run_dir"
  ok "pid $sandboxer_pid listens in $run_dir"
}

# demo_cri COMMAND ARGUMENT...
demo_cri() {
  show kuasar-demo-cri "$@"
  timeout 180 "$bin/kuasar-demo-cri" "$@" --address "$CONTAINERD_ADDRESS" --log-dir "$KUASAR_TESTBED/pod-logs"
}

# The keeper's other children are the containers.
kept_sandboxer() {
  local pid
  for pid in $(cat /proc/"$sandboxer_pid"/task/*/children); do
    [ "$(exe_of "$pid")" != "$(exe_of "$sandboxer_pid")" ] || echo "$pid"
  done
}
has_another() { [ -n "$(kept_sandboxer)" ] && [ "$(kept_sandboxer)" != "$1" ]; }

kill_kept_sandboxer() {
  local old
  old=$(kept_sandboxer)
  kill -KILL "$old"
  wait_for 10 has_another "$old" || die "the keeper starts no other sandboxer"
}

end_sandboxer() {
  end_process "$sandboxer_pid"
  wait "$sandboxer_pid" 2>/dev/null || true
}
