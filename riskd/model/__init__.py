"""What is known of an account, its orders and its contracts, and how each event changes it: pure values."""
