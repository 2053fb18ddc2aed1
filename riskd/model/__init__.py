"""Pure values and functions: accounts, their events, and the wire format."""
