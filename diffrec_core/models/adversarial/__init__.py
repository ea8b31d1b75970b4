"""A generator and a discriminator of items that train each other."""
