"""The twelve rules, a module each."""
