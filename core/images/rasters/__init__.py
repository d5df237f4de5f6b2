"""Reading images of any number of bands without losing anything quietly. Pillow and numpy; other formats are extras."""
