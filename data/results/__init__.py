"""What the network found, and every way to write it."""
