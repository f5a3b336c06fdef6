"""Recipes of published trainings, and what their authors trained with, as YAML files."""
