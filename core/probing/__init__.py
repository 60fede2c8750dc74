"""What is found out about a model by watching it once, when it is loaded."""
