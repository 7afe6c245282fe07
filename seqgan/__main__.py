"""`python -m seqgan` is `seqgan`."""

from seqgan.cli import main

main()
