"""Distances between sets of images: Inception features, Frechet distance, kernel distance, the cache of features."""
