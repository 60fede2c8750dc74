"""How what is computed lies on disk."""
