"""The data set and the input pipeline: download, augmentation, outliers, batches."""
