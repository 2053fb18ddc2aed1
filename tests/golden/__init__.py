"""Golden screens: the console in a dozen states, captured and compared.

``python -m tests.golden`` makes all captures, and the pictures of the documentation, again.  Look at each
capture that changes before you commit it: the comparison only tells that something changed, not whether it
is right.  The difference belongs into the commit that causes it.
"""
