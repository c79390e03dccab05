"""wouldblock: an admission webhook that never blocks, and the tools that read what it said."""

__version__ = "0.1.0"
