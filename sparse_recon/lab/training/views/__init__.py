"""The ground on which view models are trained: posed pictures of objects, a small autoencoder, one trainer."""
