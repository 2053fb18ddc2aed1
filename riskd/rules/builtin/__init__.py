"""The twelve rules of riskd, a module each."""
