"""U2NET, its loss, its weight files, and prediction with it."""
