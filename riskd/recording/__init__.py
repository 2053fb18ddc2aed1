"""Recording a daemon's inputs, and replaying them, exactly or under other limits."""
