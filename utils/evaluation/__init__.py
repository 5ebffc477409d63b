"""Predictions compared with the truth."""
