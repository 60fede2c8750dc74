"""The demo world: rendered birds with exact masks, shortcuts planted on request, and classifiers trained on them."""
