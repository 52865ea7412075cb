"""The KVQ challenge (NTIRE 2024 and 2025): its score from files, and submissions to it."""
