"""The broker's side of riskd: what a gateway is, and its payloads put into riskd's terms."""
