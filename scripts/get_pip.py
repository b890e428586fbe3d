# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 emqx.fleet contributors
"""Does for ansible-test what the get-pip.py does that it would download.

The download is from a host that a machine with only a package index cannot reach. Python brings a pip of its own; with
that one, the wanted version comes from the configured index. Arguments are get-pip.py's: requirements and options.
Every Python from 3.6 on must be able to run this.
"""

import subprocess
import sys

# What get-pip.py would install beside pip unless told otherwise. ensurepip of the old Pythons brings it anyway.
OPTIONS_OF_GET_PIP_ALONE = ("--no-setuptools", "--no-wheel")


def main() -> None:
    """Install pip, then the requirements of the command line."""
    arguments = [argument for argument in sys.argv[1:] if argument not in OPTIONS_OF_GET_PIP_ALONE]
    python = [sys.executable, "-m"]
    subprocess.check_call(python + ["ensurepip"], stdout=subprocess.DEVNULL)
    subprocess.check_call(python + ["pip", "install", "--quiet", "--upgrade"] + arguments)


if __name__ == "__main__":
    main()
