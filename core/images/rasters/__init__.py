"""Read images of any number of bands without silent losses. Uses Pillow and numpy; other formats are extras."""
