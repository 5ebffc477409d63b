"""What runs a network on normalised images."""
