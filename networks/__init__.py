"""U2NET, its losses, and prediction with it."""
