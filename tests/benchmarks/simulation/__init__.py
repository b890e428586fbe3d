# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""A simulation of many EMQX nodes on one machine, for figures of load alone: nothing in it is an EMQX."""
