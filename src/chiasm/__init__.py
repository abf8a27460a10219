"""Chiasm gives language models eyes."""

__version__ = "0.1.0"
