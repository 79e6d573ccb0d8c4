"""Convolutional trunks; each declares the channels and strides of the maps that it emits."""
