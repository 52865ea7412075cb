"""Students out of training: exported graphs, and what runs them with torch or without."""
