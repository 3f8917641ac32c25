"""What is solved: tasks as data, and the environments that step through them."""
