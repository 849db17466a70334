"""What a context keeps of a conversation: the task, exact values, and the room there is."""
