"""Trading paper: an exchange, a market that moves, traders, and all of it as a gateway."""
