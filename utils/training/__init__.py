"""A training run: its steps, its state, its log, its end."""
