"""One file per command: ``run(cfg) -> result``."""
