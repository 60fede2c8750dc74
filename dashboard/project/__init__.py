"""What a visitor works on, chosen once for every tab: a model and a data set, the demo's or one's own."""
