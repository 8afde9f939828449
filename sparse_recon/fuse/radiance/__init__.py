"""Geometry from pictures without depth, or from what judges pictures: a radiance field that renders like them."""
