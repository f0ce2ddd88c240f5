"""The command line: one command for each thing a person asks; all of it through `Client`."""
