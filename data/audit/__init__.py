"""The audit of a data set: python -m data.audit."""
