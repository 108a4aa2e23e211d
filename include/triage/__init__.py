"""Why jobs failed, what they have in common, and what to do."""
