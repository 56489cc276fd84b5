"""What lies on disk: model folders, run folders and the card; builds no model."""
