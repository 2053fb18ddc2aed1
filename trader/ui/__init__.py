"""Widgets that draw a session's view; they know neither sockets nor each other."""
