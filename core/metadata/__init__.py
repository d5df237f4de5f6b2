"""What a file says of itself, and the configuration that timm writes beside one."""
