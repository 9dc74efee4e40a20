"""Where data comes from: LightningDataModules, one a format."""
