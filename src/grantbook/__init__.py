"""Grantbook."""
