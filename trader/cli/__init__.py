"""The trader-console program: command line, settings, plain output."""
