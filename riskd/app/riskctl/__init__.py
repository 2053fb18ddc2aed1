"""riskctl: the operator's program."""
