"""The running daemon: each account's state, its rules at work, and enforcement."""
