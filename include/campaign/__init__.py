"""What a campaign is: the spec as written, the plan as resolved, names and states."""
