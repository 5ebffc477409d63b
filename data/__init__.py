"""Photographs, labels and results, as they are read and written; no data lies here."""
