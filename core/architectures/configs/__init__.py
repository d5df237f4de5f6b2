"""One file per family: its spec dataclass, VARIANTS (name -> spec) and WEIGHTS (`name.tag` -> Weights)."""
