"""Search spaces and published networks, as YAML files."""
