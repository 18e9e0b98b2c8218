"""People vote on blind pairs of pictures of a report."""
