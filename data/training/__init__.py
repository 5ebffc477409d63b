"""Samples to train on and photographs to compare with the truth."""
