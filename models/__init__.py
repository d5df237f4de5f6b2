"""One file per family of nn.Modules; attribute names are the keys of published checkpoints."""
