"""The command line: options, exit codes, and what a person reads."""
