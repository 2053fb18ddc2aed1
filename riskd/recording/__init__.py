"""Recording everything a daemon receives, and replaying it, exactly or under other limits."""
