"""The broker as values: the interface of a gateway, and what all gateways share.

- :mod:`.interface` is what a gateway provides and reports; :mod:`.commands` are the commands that it takes.
- :mod:`.mapping` makes values of ProjectX payloads (:mod:`.fields` reads them), and request bodies of commands.
- :mod:`.quote_book` merges quotes, :mod:`.broker_clock` estimates the broker's time.
- :mod:`.projectx` is the client of the ProjectX API.
"""
