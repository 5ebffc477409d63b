"""Labels of a data set, whatever file they are in."""
