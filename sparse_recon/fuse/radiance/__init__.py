"""Geometry from images without depth, or from what judges images: a radiance field that renders like them."""
