"""riskd guards futures accounts and broadcasts their events to this machine."""

import os

__version__ = "0.1.0"

# Autobahn reads this when it is imported.  Its C code for UTF-8 and masks brings a parser of C, which takes a tenth of
# a program's start and 3 MB; Python's own decoder is as fast, and riskd masks and unmasks only control frames.
os.environ.setdefault("AUTOBAHN_USE_NVX", "0")
