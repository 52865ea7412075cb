"""Teachers: feature extractors, one per file, and the ensemble that fuses them."""
