"""The rules: what may not be, and what is to be done about it."""
