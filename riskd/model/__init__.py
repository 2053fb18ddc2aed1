"""The state of accounts, the events that change it and their wire format: values and pure functions."""
