"""What a model sees of a session: values, plans, pages and the view that keeps them in step with the store."""
