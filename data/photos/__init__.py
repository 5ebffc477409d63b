"""Photographs: opened, listed, and made the input of the network."""
