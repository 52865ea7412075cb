"""Students: one family of light networks per file."""
