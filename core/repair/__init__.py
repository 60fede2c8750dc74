"""From a finding to a classifier without it: changed pictures to learn from, a last layer re-fit, both compared."""
