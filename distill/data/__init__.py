"""From files to tensors: manifest, readers, sampling, views, dataset."""
