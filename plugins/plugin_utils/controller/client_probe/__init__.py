# Copyright (c) 2026 emqx.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client probe: a process of its own with MQTT clients on every node, and how a run talks to it.

``asking.py`` starts it and asks it; ``entry.py`` is the script of the process, ``loop.py`` what it does all the time.
"""
