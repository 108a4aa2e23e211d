"""How far campaigns are, and what is wrong with them, as people are shown it; plain numbers, no layout."""
