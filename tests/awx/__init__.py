# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Jobs as AWX runs them, and what AWX is told of them."""
