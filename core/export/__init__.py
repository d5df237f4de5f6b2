"""Export features of many images: engine, writers, resumable shards."""
