"""`python -m seqgan` is `seqgan`: the current folder does not lead the import path here either."""

import os
import sys

if sys.path[0] in ("", os.getcwd()):
    del sys.path[0]  # a queue.py of the current folder would stand for Python's own

from seqgan.cli import main

main()
