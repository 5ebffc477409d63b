"""Photographs, labels and everything between a label table and a tensor pair."""
