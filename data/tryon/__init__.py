"""Masks and folders for virtual try-on."""
