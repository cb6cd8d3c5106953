"""`python -m pipeline` is `cl-lsg`."""

import sys

from pipeline.cli import main

sys.exit(main())
