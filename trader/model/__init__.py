"""What the console shows, as values: no network and no terminal."""
