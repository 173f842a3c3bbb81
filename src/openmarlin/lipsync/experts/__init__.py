"""Lip-sync experts: published networks, and own ones."""
