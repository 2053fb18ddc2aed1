"""This machine: loopback sockets and who may connect to them, timeouts, loops, a clock nobody sets."""
