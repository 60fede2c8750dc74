"""Segmenters that name what they find. Importing this puts them on the list."""
