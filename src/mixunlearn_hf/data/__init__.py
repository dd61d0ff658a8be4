"""Forget and retain sets: splitting them, reading their rows, pairing them."""
