"""What leaves the store: models and data in the forms that other tools read, each with a card."""
