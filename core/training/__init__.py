"""Training of explainers: interrupted at any moment, it goes on where it was, with the same numbers."""
