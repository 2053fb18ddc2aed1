"""This machine: loopback sockets and their Host/Origin check, WebSocket options, time, disk thread.

Nothing here knows riskd's events, accounts or files.
"""
