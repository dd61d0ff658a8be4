"""Trainers that make a model forget."""
