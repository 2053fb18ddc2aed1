"""The console's pages on a loopback port: who may see them, and what is served.

It knows nothing of what a page shows.
"""
