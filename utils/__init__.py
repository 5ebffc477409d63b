"""Helpers that know neither the data nor the network."""
