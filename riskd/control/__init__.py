"""The operator's Unix socket: commands to a running daemon, and their answers."""
