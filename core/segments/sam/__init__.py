"""Segment Anything: what it answers, where its weights come from, and the small one that comes with Satchel."""
