"""What survives the daemon: its private journal, and the copy of it that consoles read."""
