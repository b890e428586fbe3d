#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
# Usage: enter.sh GROUP COMMAND...   Moves itself into a control group, so that COMMAND and all it starts belong to it.
set -e
echo $$ > "$1/cgroup.procs"
shift
exec "$@"
