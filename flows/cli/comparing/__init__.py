"""Two policies side by side: by the scores of their runs, and by what a judge says of them."""
