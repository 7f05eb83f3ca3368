"""Shared foundations: errors, argument checks, static values and trees."""
