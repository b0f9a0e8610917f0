#!/bin/sh
# Has Go's golang.org/x/mod/sumdb check what we sign and prove. Argument: the tlog_emit program.
# Exit 77: cannot run here (no Go, or its one module cannot be fetched), which CI=true counts as failed.
set -eu

emitter=$1
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

not_run() {
  echo "not run: $1"
  [ "${CI:-}" = true ] && exit 1
  exit 77
}

command -v go >/dev/null 2>&1 || not_run "Go absent"
"$emitter" >"$scratch/logs.json"
cd "$here/tlog"
go mod download >"$scratch/download" 2>&1 || { cat "$scratch/download"; not_run "golang.org/x/mod cannot be fetched"; }
go build -o "$scratch/check" .
"$scratch/check" <"$scratch/logs.json"
