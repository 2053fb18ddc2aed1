"""The interface of a broker's gateway, and the mapping of its payloads to events."""
