"""What the programs share beside data and network."""
