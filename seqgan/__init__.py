"""seqgan: train text generators with reinforcement learning and adversaries.

Importing this package imports nothing else; take what you need from its modules.
"""

__version__ = "0.1.0"
