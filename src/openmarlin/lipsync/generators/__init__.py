"""Generators: networks that draw a face whose lips fit other sound."""
