# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
#
# Common to the shell scripts beside it; each sources this first. Works from any current directory.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
BUILD=$ROOT/.build
# shellcheck disable=SC2034 # for those who source this
VENV=$BUILD/venv

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

# The collection's copy, brought up to date; prints its path.
tree() { "$VENV/bin/python" "$ROOT/scripts/tree.py"; }

# locked NAME COMMAND...: runs COMMAND while nobody else runs one under the same NAME in this checkout.
# The lock is the kernel's, so it dies with its holder.
locked() {
  local name=$1
  shift
  mkdir -p "$BUILD/locks"
  (
    flock 9
    "$@" 9>&-
  ) 9>"$BUILD/locks/$name"
}
