"""The configuration that a weight file states, and the one that timm writes in its folder."""
