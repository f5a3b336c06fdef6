"""One module per command: from a configuration to a finished folder."""
