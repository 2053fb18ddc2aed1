"""Trading days with everything that goes wrong, on a simulated clock."""
