"""The operator's socket: what may be asked of a running daemon, and its answers."""
