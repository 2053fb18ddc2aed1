"""The broker: the interface of a gateway, and the mapping of its payloads to riskd's events."""
