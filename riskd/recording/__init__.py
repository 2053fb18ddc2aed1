"""Recording all that comes in to a daemon, and playing it again."""
