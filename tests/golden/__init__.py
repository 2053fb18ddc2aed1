"""Golden screens: states of the console from event files, captured, compared, and made again on purpose.

``python -m tests.golden`` makes all captures and the pictures of the documentation again.
"""
