"""``python -m nst_gluon``."""

from __future__ import annotations

import sys

from nst_gluon.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
