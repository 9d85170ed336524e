"""MNIST and everything a batch is made of: download, augmentation, outliers."""
