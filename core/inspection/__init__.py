"""Looking into weight files: summary, statistics, differences."""
