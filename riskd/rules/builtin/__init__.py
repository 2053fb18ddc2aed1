"""The rules of riskd, a module each."""
