"""This machine: loopback sockets, Host/Origin check, WebSockets, time, disk.

Nothing here knows riskd's events, accounts or files.
"""
