"""riskd.toml and console.toml as checked settings."""
