"""Rules: what an account may not do, and what riskd does about it."""
