"""The Segments tab."""
