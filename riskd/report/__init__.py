"""The report of trading days: one page for a person, from what the journal keeps.

Nothing here needs a daemon, writes to a journal or loads anything from a network.
"""
