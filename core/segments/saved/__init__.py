"""What people and programs made of a data set's segments, kept version by version."""
