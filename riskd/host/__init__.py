"""This machine: loopback sockets and their Host/Origin check, WebSocket clients, time, disk thread.

Nothing here knows riskd's events, accounts or files.
"""
