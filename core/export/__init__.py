"""Features of many images: engine, writers, shards that can be resumed."""
