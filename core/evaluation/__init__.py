"""Which explainer to trust on these pictures: every metric over every explainer, with intervals, beside controls."""
