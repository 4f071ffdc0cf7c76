"""Reading the world's preference data: files or hub sets, in the forms in which it is published."""
