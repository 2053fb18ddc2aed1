"""What a trader runs beside riskd: the client library and the terminal console."""
